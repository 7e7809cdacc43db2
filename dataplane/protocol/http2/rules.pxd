cimport cython

from dataplane.protocol.chars cimport valid_authority
from dataplane.protocol.events cimport RequestHead, ResponseHead
from dataplane.protocol.fields cimport content_length

cdef dict _STATUSES

cdef class Section:
    cdef public long long length
    cdef bytes _authority
    cdef int _cookies
    cdef bytes _host
    cdef bytes _method
    cdef bytes _path
    cdef bytes _protocol
    cdef bytes _scheme
    cdef int _status
    cdef int _seen

    cdef object _reset(self)
    @cython.locals(headers=list)
    cpdef object request(self, long stream, list fields, bint end)
    @cython.locals(headers=list)
    cpdef object response(self, long stream, list fields, bint end)
    @cython.locals(field=tuple, name=bytes)
    cpdef object trailers(self, list fields)
    @cython.locals(regular=bint, field=tuple, name=bytes, p="const unsigned char*", n=cython.Py_ssize_t,
                   length="long long")
    cdef object _read(self, list fields, list headers, bint request)
    cdef bint _once(self, int bit) except -1
    @cython.locals(fresh=bint)
    cdef object _pseudo_request(self, bytes name, bytes value)
    cdef object _pseudo_response(self, bytes name, bytes value)
    @cython.locals(authority=bytes, p=bytes)
    cdef object _request_problem(self, bint end)

@cython.locals(p="const unsigned char*", table="const unsigned char*", i=cython.Py_ssize_t, n=cython.Py_ssize_t)
cdef bint _all_in(bytes value, bytes allowed) except -1
