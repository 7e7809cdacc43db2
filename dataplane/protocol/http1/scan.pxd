cimport cython

from dataplane.protocol.chars cimport valid_authority
from dataplane.protocol.fields cimport content_length, split_tokens, strip_named
from dataplane.protocol.http1.line cimport FirstLine

cdef int _CR, _LF, _SP, _TAB, _COLON

cdef class HeadScanner(FirstLine):
    cdef list _connection
    cdef object _limits
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _max_count
    cdef int _te_count
    cdef bint _trailers
    cdef bytes _upgrade
    cdef public bint chunked
    cdef public bint close
    cdef public list headers
    cdef public int host_count
    cdef public bint keep_alive
    cdef public long long length
    cdef public bytes protocol

    cdef object _reset(self)
    @cython.locals(end=cython.Py_ssize_t, at=cython.Py_ssize_t)
    cpdef Py_ssize_t request(self, bytes data, Py_ssize_t pos, Py_ssize_t searched) except -2
    @cython.locals(end=cython.Py_ssize_t, at=cython.Py_ssize_t, status=int)
    cpdef Py_ssize_t response(self, bytes data, Py_ssize_t pos, Py_ssize_t searched) except -2
    @cython.locals(end=cython.Py_ssize_t)
    cpdef Py_ssize_t trailers(self, bytes data, Py_ssize_t pos, Py_ssize_t searched) except -2
    @cython.locals(p="const unsigned char*", n=cython.Py_ssize_t, most=cython.Py_ssize_t, start=cython.Py_ssize_t,
                   i=cython.Py_ssize_t, stop=cython.Py_ssize_t)
    cdef Py_ssize_t _end(self, bytes data, Py_ssize_t pos, Py_ssize_t searched) except -2
    @cython.locals(p="const unsigned char*", tokens=bytes, values=bytes, token="const unsigned char*", text="const unsigned char*",
                   i=cython.Py_ssize_t, start=cython.Py_ssize_t, stop=cython.Py_ssize_t, count=cython.Py_ssize_t,
                   capitals=bint, raw=bytes, name=bytes, value=bytes, headers=list, taken=int)
    cdef bint _fields(self, bytes data, Py_ssize_t pos) except -1
    cdef bint _bad_name(self, int found, bint first) except -1
    @cython.locals(n=cython.Py_ssize_t)
    cdef int _special(self, bytes name, bytes value) except -2
    cdef int _host(self, bytes value) except -2
    cdef int _connection_field(self, bytes value) except -2
    cdef int _length_field(self, bytes value) except -2
    cdef int _coding_field(self, bytes value) except -2
    @cython.locals(named=list, tokens=list)
    cdef bint _finish_framing(self) except -1
    cdef bint _finish_request(self) except -1
