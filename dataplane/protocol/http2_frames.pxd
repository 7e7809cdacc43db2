cimport cython

@cython.locals(p="unsigned char*")
cpdef object put_header(bytearray target, Py_ssize_t length, int kind, int flags, long stream)

@cython.locals(target=bytearray)
cpdef bytes header(Py_ssize_t length, int kind, int flags, long stream)
