cimport cython

from dataplane.net.timers cimport Timer, Timers

cdef int _KINDS

cdef class Deadlines:
    cdef Timers _timers
    cdef list _running

    cpdef object set(self, int kind, double seconds, object call)
    cpdef bint runs(self, int kind) except -1
    @cython.locals(timer=Timer)
    cpdef object stop(self, int kind)
    @cython.locals(timer=Timer)
    cpdef object end(self)
