cimport cython

cdef int _LEAST
cdef int _SHORTEST
cdef int _MIDDLES
cdef int _QUOTE
cdef int _END
cdef int _TIMES
cdef unsigned int _POLYNOMIAL
cdef unsigned int _ONE
cdef unsigned int _BYTE
cdef Py_ssize_t _FAR
cdef Py_ssize_t _LONG

@cython.locals(found="unsigned int", bit="unsigned int")
cpdef unsigned int product(unsigned int a, unsigned int b)
@cython.locals(found="unsigned int", square="unsigned int")
cpdef unsigned int power(Py_ssize_t size)

cdef class Deflate:
    cdef unsigned int _counts[286]
    cdef unsigned int _far_counts[30]
    cdef unsigned int _words[286]
    cdef unsigned int _sizes[286]
    cdef unsigned int _far_words[30]
    cdef unsigned int _far_sizes[30]
    cdef Py_ssize_t _symbols
    cdef Py_ssize_t _due
    cdef bytearray _out
    cdef unsigned long long _bits
    cdef int _held
    cdef Py_ssize_t _distance
    cdef Py_ssize_t _length
    cdef unsigned int _sum
    cdef unsigned long long _total
    cdef bytes _head
    cdef bytes _block
    cdef bytes _mark
    cdef bytes _rest
    cdef bytes _before
    cdef Py_ssize_t _size
    cdef Py_ssize_t _lead
    cdef Py_ssize_t _common
    cdef dict _places
    cdef unsigned int _block_sum
    cdef unsigned int _power
    cdef unsigned int _head_sum
    cdef unsigned int _head_power
    cdef dict _powers
    cdef list _middles

    cpdef bytes take(self)
    cpdef object text(self, bytes data)
    @cython.locals(ahead=Py_ssize_t, size=Py_ssize_t, before=Py_ssize_t, known=bint, near=bint, again=bint, far=Py_ssize_t, old=bytes)
    cpdef object line(self, bytes head, bytes block, bytes mark, bytes rest)
    cpdef object finish(self)
    @cython.locals(held=bytes, old="const unsigned char*", new="const unsigned char*", least=Py_ssize_t, lead=Py_ssize_t, common=Py_ssize_t, m=Py_ssize_t, n=Py_ssize_t)
    cdef object _change(self, bytes block)
    @cython.locals(before=Py_ssize_t, begin=Py_ssize_t, shift=Py_ssize_t)
    cdef object _labels(self, bytes head, bytes block, Py_ssize_t far, bint again, bint known)
    @cython.locals(over=Py_ssize_t)
    cdef object _marked(self, bytes mark, Py_ssize_t far, Py_ssize_t ahead, bint near)
    @cython.locals(held=bytes, old="const unsigned char*", new="const unsigned char*", m=Py_ssize_t, n=Py_ssize_t, i=Py_ssize_t, j=Py_ssize_t, run=Py_ssize_t, until=Py_ssize_t)
    cdef object _fresh(self, bytes block, Py_ssize_t begin, Py_ssize_t distance)
    @cython.locals(value=bytes, at=Py_ssize_t, size=Py_ssize_t)
    cdef object _middle(self, bytes block, Py_ssize_t begin, Py_ssize_t end)
    @cython.locals(told="unsigned int")
    cdef object _check(self, bytes head, bytes block, bytes mark, bytes rest, bint known)
    cdef unsigned int _power_of(self, Py_ssize_t size)
    cdef object _copy(self, Py_ssize_t distance, Py_ssize_t length)
    @cython.locals(p="const unsigned char*", at=Py_ssize_t)
    cdef object _literal(self, bytes data, Py_ssize_t begin, Py_ssize_t end)
    @cython.locals(left=Py_ssize_t, piece=Py_ssize_t, far=Py_ssize_t, symbol=int, extra=int, word="unsigned long long", bits=int)
    cdef object _settle(self)
    @cython.locals(past=int, extra=int)
    cdef object _size_word(self, Py_ssize_t length)
    cdef object _word(self, int symbol)
    @cython.locals(held=int, waiting="unsigned long long")
    cdef object _put(self, unsigned long long bits, int count)
    cdef object _recode(self)

@cython.locals(place=int)
cdef int _top(Py_ssize_t value)
