cimport cython

from dataplane.protocol.fields cimport content_length

cdef int _CHUNKED, _LENGTH, _NONE

cdef class MessageWriter:
    cdef readonly list out
    cdef readonly int mode
    cdef long long left
    cdef public bint open

    @cython.locals(field=tuple, name=bytes, n=cython.Py_ssize_t, length="long long", out=list)
    cpdef long long fields(self, list headers, bint trailers) except -2
    cpdef object start(self, int mode, long long length)
    @cython.locals(n=cython.Py_ssize_t, mode=int)
    cpdef object data(self, bytes data, bint end)
    cpdef object trailers(self, list headers)
    cpdef bint end(self) except -1
