cimport cython

from dataplane.protocol.http1.body cimport BodyReader
from dataplane.protocol.events cimport Event, RequestHead, ResponseHead, Upgraded
from dataplane.protocol.http1.connection cimport Http1Connection
from dataplane.protocol.http1.scan cimport HeadScanner

cdef int _WANT_BODY, _WANT_HEAD, _CHUNKED, _LENGTH, _NONE, _TO_EOF

cdef class Http1Client(Http1Connection):
    cdef bint _connect
    cdef bint _head_only
    cdef bytes _protocol

    @cython.locals(out=list, method=bytes, length="long long", mode=int, tunnel=bint)
    cpdef long send_request(self, RequestHead head, bint end) except -1
    @cython.locals(end=cython.Py_ssize_t, pos=cython.Py_ssize_t, data=bytes, scanner=HeadScanner)
    cdef bint _read_head(self, list events) except -1
    @cython.locals(status=int, scanner=HeadScanner)
    cdef object _informational(self, list events)
    @cython.locals(scanner=HeadScanner, status=int, tunnel=bint, mode=int, done=bint)
    cdef object _begin(self, list events)
