cimport cython

cdef bytes _MOVES, _VERDICTS
cdef int _EVENTS, _KINDS

@cython.locals(p="const unsigned char*")
cpdef int after(int state, int event) except -1
@cython.locals(p="const unsigned char*")
cpdef int verdict(int state, int kind) except -1
