cimport cython

from dataplane.protocol.http2 cimport frames
from dataplane.protocol.events cimport Goaway, RequestHead, Reset, ResponseHead
from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.fields cimport content_length, get
from dataplane.protocol.http2.connection cimport Http2Connection
from dataplane.protocol.http2.stream cimport Stream

cdef class Http2Client(Http2Connection):
    cdef long _next

    @cython.locals(entry=Stream, length=bytes, encoder=Encoder, stream=long)
    cpdef long send_request(self, RequestHead head, bint end) except -1
    cpdef object expect(self, long streams)
    cpdef object goaway(self)
    cpdef object shutdown(self)
    cdef bint _idle(self, long stream) except -1
    @cython.locals(entry=Stream, head=ResponseHead)
    cdef object _section_read(self, long stream, list fields, bint last, list events)
    cdef bint _data_allowed(self, Stream entry, Py_ssize_t size, bint last, list events) except -1
    cdef bint _costs(self, long code) except -1
    @cython.locals(last=long, entry=Stream)
    cdef object _goaway_frame(self, bytes payload, list events)
