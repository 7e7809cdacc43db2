cimport cython

cdef bytes _PLAIN

@cython.locals(at=cython.Py_ssize_t)
cpdef bytes without_query(bytes path)

cpdef bytes normal_path(bytes path)

@cython.locals(bare=bytes, decoded=bytes, bared=bytes, slashed=bytes, late=bytes)
cpdef list other_readings(bytes path)

cpdef bint odd(bytes path) except -1

@cython.locals(out=bytearray, digits=bytes, unreserved=bytes, p="const unsigned char*", o="unsigned char*", hexes="const unsigned char*",
               plain="const unsigned char*", n=cython.Py_ssize_t, i=cython.Py_ssize_t, at=cython.Py_ssize_t, byte=int)
cdef bytes _unescaped(bytes path)

@cython.locals(out=bytearray, p="const unsigned char*", o="unsigned char*", n=cython.Py_ssize_t, i=cython.Py_ssize_t, at=cython.Py_ssize_t)
cdef bytes _bared(bytes path)

cdef bytes _slashed(bytes path)

@cython.locals(out=bytearray, p="const unsigned char*", o="unsigned char*", n=cython.Py_ssize_t, i=cython.Py_ssize_t, at=cython.Py_ssize_t,
               start=cython.Py_ssize_t, size=cython.Py_ssize_t, dots=bint)
cdef bytes _resolved(bytes path)
