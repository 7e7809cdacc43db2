cimport cython

from dataplane.protocol.events cimport RequestHead, ResponseHead
from dataplane.protocol.fields cimport content_length, get
from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.http2 cimport frames
from dataplane.protocol.http2.connection cimport Http2Connection
from dataplane.protocol.http2.stream cimport Http2Stream

cdef int _HEADER_BYTES, _IDLE, _THEY_SEND
cdef long _MAX_STREAM

cdef class Http2Client(Http2Connection):
    cdef long _next

    @cython.locals(entry=Http2Stream, length=bytes, encoder=Encoder, stream=long)
    cpdef long send_request(self, RequestHead head, bint end) except -1
    cpdef object expect(self, long streams)
    cpdef bint room(self, long most) except -1
    cpdef object goaway(self)
    cpdef object shutdown(self)
    @cython.locals(entry=Http2Stream)
    cdef object _head(self, long stream, list fields, bint last, list events)
    @cython.locals(head=ResponseHead)
    cdef object _response(self, Http2Stream entry, list fields, bint last, list events)
