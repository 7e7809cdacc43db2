cimport cython

from dataplane.protocol.chars cimport valid_authority

cdef int _CR, _LF, _SP

cdef class FirstLine:
    cdef public bytes authority
    cdef public str counter
    cdef public bytes method
    cdef public bytes path
    cdef public bytes phrase
    cdef public str reason
    cdef public bytes scheme
    cdef public int status
    cdef public int version

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
