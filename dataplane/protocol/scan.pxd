cimport cython

from dataplane.protocol.chars cimport valid_authority
from dataplane.protocol.headers cimport content_length, split_tokens, strip_named

cdef class HeadScanner:
    cdef list _connection
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _max_count
    cdef Py_ssize_t _max_uri
    cdef int _te_count
    cdef bint _trailers
    cdef bytes _upgrade
    cdef public bytes authority
    cdef public bint chunked
    cdef public bint close
    cdef public str counter
    cdef public list headers
    cdef public int host_count
    cdef public bint keep_alive
    cdef public long long length
    cdef public bytes method
    cdef public bytes path
    cdef public bytes phrase
    cdef public bytes protocol
    cdef public str reason
    cdef public bytes scheme
    cdef public int status
    cdef public int version

    cpdef object reset(self)
    @cython.locals(p="const unsigned char*", n=cython.Py_ssize_t, most=cython.Py_ssize_t, start=cython.Py_ssize_t,
                   at=cython.Py_ssize_t, i=cython.Py_ssize_t, stop=cython.Py_ssize_t)
    cpdef Py_ssize_t locate(self, bytes data, Py_ssize_t pos, Py_ssize_t searched) except -2
    cpdef bint request(self, bytes data, Py_ssize_t pos) except -1
    @cython.locals(status=int)
    cpdef bint response(self, bytes data, Py_ssize_t pos) except -1
    cpdef bint trailers(self, bytes data, Py_ssize_t pos) except -1
    cdef bint _fail(self, int status, str reason, str counter) except -1
    @cython.locals(p="const unsigned char*", tokens=bytes, targets=bytes, token="const unsigned char*",
                   target="const unsigned char*",
                   i=cython.Py_ssize_t, start=cython.Py_ssize_t)
    cdef Py_ssize_t _request_line(self, bytes data, Py_ssize_t pos) except -2
    @cython.locals(p="const unsigned char*", name="const unsigned char*", i=cython.Py_ssize_t, k=cython.Py_ssize_t)
    cdef Py_ssize_t _version(self, bytes data, Py_ssize_t pos, int stop) except -2
    cdef bint _target(self, bytes target) except -1
    @cython.locals(p="const unsigned char*", values=bytes, value="const unsigned char*", i=cython.Py_ssize_t, k=cython.Py_ssize_t,
                   start=cython.Py_ssize_t)
    cdef Py_ssize_t _status_line(self, bytes data, Py_ssize_t pos) except -2
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
    cdef bint _finish_framing(self) except -1
    cdef bint _finish_request(self) except -1
