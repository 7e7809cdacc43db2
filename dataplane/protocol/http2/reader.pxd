cimport cython

cdef int _CONTINUATION, _DATA, _END_HEADERS, _END_STREAM, _HEADERS, _HEADER_BYTES, _MAX_FRAME, _PADDED, _PRIORITIZED, _SETTINGS
cdef int _CONNECTION, _STREAM, _ANY, _KINDS
cdef bytes _ABOUT, _LEAST, _MOST

cdef class FrameReader:
    cdef bytes _source
    cdef Py_ssize_t _at
    cdef Py_ssize_t _preface
    cdef bint _settled
    cdef Py_ssize_t _most_bytes
    cdef Py_ssize_t _most_fragments
    cdef long _gathering
    cdef int _gathering_flags
    cdef Py_ssize_t _gathered
    cdef list _fragments
    cdef readonly int kind
    cdef readonly int flags
    cdef readonly long stream
    cdef readonly bytes data
    cdef readonly Py_ssize_t pos
    cdef readonly Py_ssize_t end
    cdef readonly Py_ssize_t size
    cdef readonly long code
    cdef readonly str reason
    cdef readonly str counter

    cpdef object feed(self, bytes data)
    cpdef bint midway(self) except -1
    cpdef bint gathering(self) except -1
    cpdef object stop(self)
    @cython.locals(data=bytes, p="const unsigned char*", n=cython.Py_ssize_t, at=cython.Py_ssize_t, size=cython.Py_ssize_t,
                   start=cython.Py_ssize_t)
    cpdef bint next(self) except -1
    cdef bint _read_preface(self) except -1
    @cython.locals(kind=int)
    cdef bint _in_order(self) except -1
    @cython.locals(kind=int, about=bytes, least=bytes, most=bytes, p="const unsigned char*", q="const unsigned char*",
                   r="const unsigned char*")
    cdef bint _in_form(self) except -1
    cdef bint _first(self) except -1
    @cython.locals(padding=cython.Py_ssize_t)
    cdef bint _unpad(self, Py_ssize_t need) except -1
    @cython.locals(need=cython.Py_ssize_t)
    cdef bint _section(self) except -1
    cdef bint _continue(self) except -1
    cdef bint _refuse(self, long code, str reason, str counter) except -1
