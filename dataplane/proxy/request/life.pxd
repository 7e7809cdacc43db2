cimport cython

cdef int _EVENTS

@cython.locals(p="const unsigned char*")
cpdef int after(bytes table, int state, int event) except -1
