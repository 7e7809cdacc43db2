cdef int _HEADER, _OPEN, _ACCEPT, _DATA, _END, _DONE, _NOTHING, _BYTES
cdef Py_ssize_t _LONGEST
cdef dict _EMPTY

cimport cython

cdef class CarrierCodec:
    cdef readonly bint caller
    cdef readonly int due
    cdef readonly bint idle
    cdef readonly bint opening
    cdef readonly bint ended
    cdef readonly bint peer_ended
    cdef readonly str error
    cdef Py_ssize_t _left
    cdef bytes _head

    @cython.locals(size=Py_ssize_t, at=Py_ssize_t, step=Py_ssize_t, missing=Py_ssize_t, found=list)
    cpdef list receive(self, bytes data)
    cdef object _take(self, int kind, Py_ssize_t length, list found)
    cdef object _follow(self, int kind)
    cdef object _begin(self)
    cpdef bytes open(self)
    cpdef bytes accept(self)
    cpdef bytes header(self, Py_ssize_t size)
    cpdef bytes end(self)
    cpdef bytes done(self)
