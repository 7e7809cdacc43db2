cimport cython

from dataplane.net.poller cimport Pollable, Poller

cdef Py_ssize_t _HIGH
cdef Py_ssize_t _LOW

cdef class Bypass:
    cdef readonly Py_ssize_t held

    cpdef bint pull(self) except -1
    cpdef bint push(self) except -1
    cpdef object pushed(self)
    cpdef object stop(self)

cdef class Outlet(Pollable):
    cdef readonly Py_ssize_t waiting
    cdef readonly bint high
    cdef list _chunks
    cdef Py_ssize_t _offset
    cdef public Bypass feed

    cdef object _queue(self, bytes data, Py_ssize_t size)
    @cython.locals(chunks=list, done=Py_ssize_t, count=Py_ssize_t, size=Py_ssize_t)
    cdef object _forget(self, Py_ssize_t sent)
    cdef bint _eased(self) except -1
    cdef object _drop(self)
