cdef int _WELL, _ASIDE, _TRIAL, _CONNECTING, _UNANSWERED

cpdef long share(long failing, long endpoints)
cpdef double back_off(long rounds, tuple bounds, double dice)

cdef class Ward:
    cdef public long changes

cdef class Health:
    cdef Ward _ward
    cdef public int state
    cdef public int cause
    cdef public long failures
    cdef public long rounds
    cdef public double until
    cdef public str why

    cpdef bint failed(self, double now, int cause, str why, tuple pause, double dice) except -1
    cpdef bint answered(self) except -1
    cpdef bint connected(self, double now) except -1
    cpdef object begin_trial(self, double now, tuple pause)
    cdef object _move(self, int event)
    cpdef str describe(self, double now)
