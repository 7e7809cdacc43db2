cimport cython

cdef class HeaderEdit:
    cdef list _set
    cdef list _add
    cdef frozenset _remove

    @cython.locals(field=tuple, kept=list)
    cpdef object apply(self, list headers)
