cimport cython

from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.http2.flood cimport Flood
from dataplane.protocol.http2.stream cimport Http2Stream
from dataplane.protocol.http2.streams cimport Streams
from dataplane.protocol.http2.writer cimport FrameWriter

cdef int _HEADER_BYTES
cdef Py_ssize_t _MAX_FRAME
cdef long long _MAX_WINDOW

cdef class Outflow:
    cdef FrameWriter _writer
    cdef Flood _flood
    cdef Streams _streams
    cdef Py_ssize_t _low
    cdef Py_ssize_t _most
    cdef dict _blocked
    cdef Py_ssize_t _waiting
    cdef readonly long long window
    cdef readonly long long stream_window

    cpdef bint full(self, Http2Stream entry, Py_ssize_t most) except -1
    @cython.locals(n=cython.Py_ssize_t, ended=bint)
    cpdef bint send(self, Http2Stream entry, bytes data, bint end) except -1
    @cython.locals(encoder=Encoder)
    cpdef bint send_trailers(self, Http2Stream entry, list headers) except -1
    @cython.locals(data=bytes, p="const unsigned char*", room=cython.Py_ssize_t, start=cython.Py_ssize_t, left=cython.Py_ssize_t, last=bint)
    cpdef bint drain(self, Http2Stream entry) except -1
    cpdef bint unblocked(self, Http2Stream entry) except -1
    cpdef list blocked(self)
    cpdef object to_the_end(self, Http2Stream entry)
    cpdef bint opened(self, long long step) except -1
    cpdef bint opened_on(self, Http2Stream entry, long long step) except -1
    @cython.locals(step="long long", entry=Http2Stream, fits=bint)
    cpdef bint resize(self, long long size) except -1
    cpdef object closed(self, Http2Stream entry)
    cpdef object clear(self)
    cdef object _write(self, Http2Stream entry, bytes data, Py_ssize_t n, bint end)
