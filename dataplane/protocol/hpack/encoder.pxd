cimport cython

cdef int _PLAIN, _DROP, _NEVER, _NAME, _SEEN, _NAMES, _LONG_NAME, _ALL_SEEN
cdef Py_ssize_t _DYNAMIC_START, _NO_RESIZE

cdef class _Name:
    cdef Py_ssize_t index
    cdef Py_ssize_t last
    cdef int policy
    cdef dict seen
    cdef dict values

cdef class _Entry:
    cdef _Name name
    cdef Py_ssize_t size
    cdef bytes value

cdef class Encoder:
    cdef readonly Py_ssize_t written
    cdef bytearray _buffer
    cdef Py_ssize_t _capacity
    cdef Py_ssize_t _dropped
    cdef list _entries
    cdef Py_ssize_t _inserted
    cdef Py_ssize_t _limit
    cdef dict _names
    cdef Py_ssize_t _recent
    cdef Py_ssize_t _resize
    cdef Py_ssize_t _size

    cpdef object resize(self, Py_ssize_t capacity)
    cpdef object begin(self, Py_ssize_t room)
    cpdef bytearray finish(self)
    @cython.locals(field=tuple)
    cpdef object fields(self, list headers)
    @cython.locals(known=_Name, position=cython.Py_ssize_t, size=cython.Py_ssize_t)
    cpdef object field(self, bytes name, bytes value, bint sensitive)
    @cython.locals(other=_Name)
    cdef object _remember(self, _Name known, bytes value)
    @cython.locals(known=_Name, kept=_Name, index=cython.Py_ssize_t)
    cdef _Name _learn(self, bytes name)
    cdef object _literal(self, int pattern, int mask, _Name known, bytes name, bytes value)
    @cython.locals(p="unsigned char*", i=cython.Py_ssize_t)
    cdef object _integer(self, int pattern, int mask, Py_ssize_t value)
    @cython.locals(p="unsigned char*", q="const unsigned char*", n=cython.Py_ssize_t, at=cython.Py_ssize_t,
                   i=cython.Py_ssize_t)
    cdef object _string(self, bytes value)
    @cython.locals(name=_Name)
    cdef object _insert(self, _Entry entry)
    @cython.locals(entries=list, entry=_Entry, gone=cython.Py_ssize_t)
    cdef object _evict(self, Py_ssize_t room)
