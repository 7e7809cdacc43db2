cimport cython

from dataplane.proxy.connection cimport HttpConnection

cdef class Replay:
    cdef list _pieces
    cdef public Py_ssize_t size
    cdef public list trailers

    cpdef object keep(self, bytes data)
    cpdef bytes first(self, Py_ssize_t most)
    @cython.locals(pieces=list, last=Py_ssize_t, index=Py_ssize_t)
    cpdef object send(self, HttpConnection up, long stream, bint whole)
