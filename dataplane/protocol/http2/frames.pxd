cimport cython

cdef bytearray _SCRATCH

@cython.locals(p="unsigned char*")
cpdef object put_header(bytearray target, Py_ssize_t length, int kind, int flags, long stream)

@cython.locals(target=bytearray, p="unsigned char*")
cpdef bytes header(Py_ssize_t length, int kind, int flags, long stream)
