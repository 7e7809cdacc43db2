cimport cython

cdef unsigned long long _KEPT

@cython.locals(symbols=bytes, sizes=bytes, p="const unsigned char*", symbol="const unsigned char*",
               size="const unsigned char*", room=bytearray, q="unsigned char*", written=cython.Py_ssize_t,
               held="unsigned long long", bits=int, i=cython.Py_ssize_t, index=int, length=int, found=int)
cpdef bytes decode(bytes data, Py_ssize_t pos, Py_ssize_t end)

@cython.locals(first=tuple, count=tuple, offset=tuple, mask="unsigned long long", low="unsigned long long", length=int,
               ahead="long long", symbol=int)
cdef int _long(unsigned long long held, int bits) except -2
