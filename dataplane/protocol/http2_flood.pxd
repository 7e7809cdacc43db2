cimport cython

cdef class Flood:
    cdef tuple _limits
    cdef long _control
    cdef long _empty
    cdef long _resets
    cdef long _windows

    cpdef bint control(self) except -1
    cpdef bint window(self) except -1
    cpdef bint empty(self) except -1
    cpdef bint premature(self) except -1
    @cython.locals(limits=tuple)
    cpdef object received(self)
    @cython.locals(limits=tuple, part=double)
    cpdef object passed(self, double seconds)
    @cython.locals(limits=tuple)
    cpdef object sent(self)
    @cython.locals(limits=tuple)
    cpdef object completed(self)
