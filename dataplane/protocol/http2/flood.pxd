cimport cython

cdef class Flood:
    cdef long _control
    cdef long _full_control
    cdef long _empty
    cdef long _full_empty
    cdef long _resets
    cdef long _full_resets
    cdef long _windows
    cdef long _full_windows

    cpdef bint control(self) except -1
    cpdef bint window(self) except -1
    cpdef bint empty(self) except -1
    cpdef bint premature(self) except -1
    cpdef object received(self)
    @cython.locals(part=double)
    cpdef object passed(self, double seconds)
    cpdef object sent(self)
    cpdef object completed(self)
