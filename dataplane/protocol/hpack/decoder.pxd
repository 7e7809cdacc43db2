cimport cython

from dataplane.protocol.hpack cimport huffman

cdef Py_ssize_t _DYNAMIC_START

cdef class Decoder:
    cdef Py_ssize_t _allowed
    cdef Py_ssize_t _capacity
    cdef list _entries
    cdef Py_ssize_t _first
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _max_count
    cdef Py_ssize_t _pos
    cdef Py_ssize_t _size
    cdef public bint malformed
    cdef public bint too_large

    @cython.locals(p="const unsigned char*", fields=list, static=tuple, total="long long", first=int,
                   index=cython.Py_ssize_t, field=tuple, literal=tuple, raw=object)
    cpdef list decode(self, bytes data, Py_ssize_t pos, Py_ssize_t end)
    @cython.locals(p="const unsigned char*", i=cython.Py_ssize_t, value="long long", shift=int, byte=int)
    cdef Py_ssize_t _integer(self, bytes data, Py_ssize_t end, int mask) except -2
    @cython.locals(p="const unsigned char*", coded=bint, size=cython.Py_ssize_t, start=cython.Py_ssize_t)
    cdef bytes _string(self, bytes data, Py_ssize_t end)
    @cython.locals(keep=int, index=cython.Py_ssize_t, name=bytes, raw=bytes, read=bytes, value=bytes, known=tuple,
                   field=tuple)
    cdef tuple _literal(self, bytes data, Py_ssize_t end, int first)
    cdef tuple _lookup(self, Py_ssize_t index)
    @cython.locals(size=cython.Py_ssize_t)
    cdef object _insert(self, tuple field)
    @cython.locals(field=tuple, entries=list)
    cdef object _evict(self, Py_ssize_t room)
    cdef bint _resize(self, Py_ssize_t capacity) except -1

@cython.locals(tokens=bytes, p="const unsigned char*", table="const unsigned char*", n=cython.Py_ssize_t,
               i=cython.Py_ssize_t)
cdef bint _good_name(bytes name) except -1

@cython.locals(values=bytes, p="const unsigned char*", table="const unsigned char*", n=cython.Py_ssize_t,
               i=cython.Py_ssize_t)
cdef bint _good_value(bytes value) except -1
