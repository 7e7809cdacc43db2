cimport cython


@cython.locals(p="const unsigned char*", hosts=bytes, table="const unsigned char*", n=cython.Py_ssize_t, i=cython.Py_ssize_t,
               port=int)
cpdef bint valid_authority(bytes value)
