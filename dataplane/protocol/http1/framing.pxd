cimport cython

from dataplane.protocol.chars cimport valid_authority
from dataplane.protocol.fields cimport content_length, split_tokens, strip_named

cdef class HeadFields:
    cdef list _connection
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
    cdef bint _fail(self, int status, str reason, str counter) except -1
    @cython.locals(n=cython.Py_ssize_t)
    cdef int _special(self, bytes name, bytes value) except -2
    cdef int _host(self, bytes value) except -2
    cdef int _connection_field(self, bytes value) except -2
    cdef int _length_field(self, bytes value) except -2
    cdef int _coding_field(self, bytes value) except -2
    @cython.locals(named=list, tokens=list)
    cdef bint _finish_framing(self) except -1
    cdef bint _finish_request(self) except -1
