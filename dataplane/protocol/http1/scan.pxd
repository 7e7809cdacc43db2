cimport cython

from dataplane.protocol.chars cimport valid_authority
from dataplane.protocol.http1.framing cimport HeadFields

cdef class HeadScanner(HeadFields):
    cdef object _limits
    cdef Py_ssize_t _max_bytes
    cdef Py_ssize_t _max_count

    @cython.locals(p="const unsigned char*", n=cython.Py_ssize_t, most=cython.Py_ssize_t, start=cython.Py_ssize_t,
                   at=cython.Py_ssize_t, i=cython.Py_ssize_t, stop=cython.Py_ssize_t)
    cpdef Py_ssize_t locate(self, bytes data, Py_ssize_t pos, Py_ssize_t searched) except -2
    cpdef str too_long(self, str what)
    cpdef bint request(self, bytes data, Py_ssize_t pos) except -1
    @cython.locals(status=int)
    cpdef bint response(self, bytes data, Py_ssize_t pos) except -1
    cpdef bint trailers(self, bytes data, Py_ssize_t pos) except -1
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
