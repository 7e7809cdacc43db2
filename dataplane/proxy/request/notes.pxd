cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.fields cimport get

cdef int _BATCH
cdef tuple _WAS_HTTP10
cdef tuple _WAS_HTTP11
cdef tuple _WAS_ABSOLUTE

cdef class HeadNotes:
    cdef bytes _fresh
    cdef bytes _ids
    cdef Py_ssize_t _taken
    cdef public bytes request_id
    cdef public bytes original
    cdef public bytes peer
    cdef public bint grpc

    @cython.locals(index=cython.Py_ssize_t, count=cython.Py_ssize_t, n=cython.Py_ssize_t, field=tuple, name=bytes, value=bytes,
                   p="const unsigned char*", forwarded_at=cython.Py_ssize_t, several=bint, told=bint)
    cpdef object request(self, list headers, bytes address, bytes proto, bint edge)
    @cython.locals(at=cython.Py_ssize_t, fresh=bytes, p="const unsigned char*")
    cdef bytes _make_id(self)
    cdef object _own(self, bytes name, bytes value)
    cdef object _append_address(self, list headers, Py_ssize_t at, bint several, bytes address)

@cython.locals(field=tuple, name=bytes)
cpdef object strip_own(list headers)

@cython.locals(value=bytes)
cpdef int grpc_status(list headers) except? -2

@cython.locals(headers=list)
cpdef int introduce(RequestHead head, bint http1_origin, bytes peer) except -1
