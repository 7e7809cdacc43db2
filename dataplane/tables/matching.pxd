cimport cython

cdef int _PRESENT, _EXACT, _PREFIX, _SUFFIX, _CONTAINS, _REGEX

cdef class Matcher:
    cdef int _op
    cdef bytes _value
    cdef object _regex
    cdef bint _fold
    cdef bint _invert

    cpdef bint test(self, bytes value) except -1
    cdef bint _holds(self, bytes value) except -1

@cython.locals(field=tuple, found=bytes)
cpdef bytes joined(list headers, bytes name)
