cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.fields cimport content_length, get
from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.http2 cimport frames, states
from dataplane.protocol.http2.connection cimport Http2Connection
from dataplane.protocol.http2.stream cimport Http2Stream
from dataplane.protocol.http2.streams cimport Streams

cdef tuple _STATUS
cdef int _HEADER_BYTES, _THEIR_END, _WE_SEND

cdef class Http2Server(Http2Connection):
    cdef int _concurrent
    cdef bint _going
    cdef bint _shut

    @cython.locals(entry=Http2Stream, length=bytes, encoder=Encoder)
    cpdef object send_response(self, long stream, int status, bytes reason, list headers, bint end)
    cpdef object goaway(self)
    cpdef object shutdown(self)
    @cython.locals(streams=Streams, entry=Http2Stream)
    cdef object _head(self, long stream, list fields, bint last, list events)
    cdef object _disorder(self, str reason, list events)
    @cython.locals(head=RequestHead)
    cdef object _open(self, Http2Stream entry, list fields, bint last, list events)
    cdef object _too_large(self, Http2Stream entry, list events)
