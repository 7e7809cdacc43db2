cimport cython

cdef bytearray _SCRATCH

@cython.locals(p="unsigned char*")
cpdef object put_header(bytearray target, Py_ssize_t length, int kind, int flags, long stream)

@cython.locals(target=bytearray, p="unsigned char*")
cpdef bytes header(Py_ssize_t length, int kind, int flags, long stream)

@cython.locals(target=bytearray, p="unsigned char*")
cdef bytes _of_four(int kind, long stream, long number)

@cython.locals(p="const unsigned char*", top=long)
cpdef long number(bytes data, Py_ssize_t pos) except -1

cpdef bytes window_update(long stream, long size)
cpdef bytes rst_stream(long stream, long code)
