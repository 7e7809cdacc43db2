cimport cython

from dataplane.protocol.http2 cimport frames
from dataplane.protocol.http2.stream cimport Http2Stream
from dataplane.protocol.http2.writer cimport FrameWriter

cdef int _THEY_SEND

cdef class Inflow:
    cdef FrameWriter _writer
    cdef readonly Py_ssize_t stream_window
    cdef long long _window
    cdef Py_ssize_t _returned
    cdef Py_ssize_t _step
    cdef Py_ssize_t _widest
    cdef Py_ssize_t _spare

    cpdef object begin(self)
    cpdef bint arrived(self, Py_ssize_t size) except -1
    cpdef bint arrived_on(self, Http2Stream entry, Py_ssize_t size, Py_ssize_t body) except -1
    cpdef object kept(self, Http2Stream entry, Py_ssize_t body)
    cpdef object handed_on(self, Http2Stream entry, Py_ssize_t size)
    cpdef object closed(self, Http2Stream entry)
    cpdef object unwanted(self, Py_ssize_t size)
    cdef object _give_back(self)
    @cython.locals(step=cython.Py_ssize_t)
    cdef object _reopen(self, Http2Stream entry, Py_ssize_t size)
    @cython.locals(room=cython.Py_ssize_t)
    cdef Py_ssize_t _grow(self, Http2Stream entry) except -1
