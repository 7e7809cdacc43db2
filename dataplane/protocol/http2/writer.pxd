cimport cython

from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.http2 cimport frames

cdef int _CONTINUATION, _DATA, _END_HEADERS, _END_STREAM, _HEADERS, _HEADER_BYTES
cdef Py_ssize_t _MAX_FRAME

cdef class FrameWriter:
    cdef readonly Encoder encoder
    cdef list _out
    cdef Py_ssize_t _unread_frames
    cdef Py_ssize_t _written
    cdef Py_ssize_t _older
    cdef Py_ssize_t _passed
    cdef Py_ssize_t _mark

    cpdef object write(self, bytes frame)
    cpdef object answer(self, bytes frame)
    cpdef object data(self, long stream, bytes data, Py_ssize_t size, bint end)
    @cython.locals(buffer=bytearray, p="const unsigned char*", size=cython.Py_ssize_t, flags=int, whole=bytes, start=cython.Py_ssize_t, piece=bytes,
                   kind=int, last=int)
    cpdef object section(self, long stream, bint end)
    @cython.locals(out=list, joined=bytes)
    cpdef bytes output(self)
    cpdef bint unread(self, Py_ssize_t waiting) except -1
