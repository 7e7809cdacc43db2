cimport cython

from dataplane.protocol.http2 cimport frames
from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.fields cimport content_length, get
from dataplane.protocol.http2.connection cimport Http2Connection
from dataplane.protocol.http2.stream cimport Stream

cdef class Http2Server(Http2Connection):
    cdef int _concurrent
    cdef bint _going
    cdef long _ignored
    cdef bint _shut
    cdef long _skipped_after
    cdef long _skipped_before

    @cython.locals(entry=Stream, length=bytes, encoder=Encoder)
    cpdef object send_response(self, long stream, int status, bytes reason, list headers, bint end)
    cpdef object goaway(self)
    cpdef object shutdown(self)
    cdef bint _idle(self, long stream) except -1
    @cython.locals(entry=Stream)
    cdef object _section_read(self, long stream, list fields, bint last, list events)
    @cython.locals(head=RequestHead)
    cdef object _open(self, Stream entry, list fields, bint last, list events)
    cdef object _too_large(self, Stream entry, list events)
    cdef object _half_closed(self, Stream entry)
