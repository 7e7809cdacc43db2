cimport cython

from dataplane.protocol.http1.body cimport BodyReader
from dataplane.protocol.events cimport Event, RequestHead, ResponseHead, Upgraded
from dataplane.protocol.http1.connection cimport Http1Connection
from dataplane.protocol.http1.scan cimport HeadScanner

cdef class Http1Client(Http1Connection):
    cdef bint _connect
    cdef bint _head_only
    cdef bytes _protocol

    @cython.locals(out=list, method=bytes, length="long long", mode=int, tunnel=bint)
    cpdef long send_request(self, RequestHead head, bint end) except -1
    @cython.locals(end=cython.Py_ssize_t, scanner=HeadScanner)
    cdef Py_ssize_t _read_head(self, bytes data, Py_ssize_t pos, list events) except -2
    @cython.locals(status=int, scanner=HeadScanner)
    cdef Py_ssize_t _informational(self, Py_ssize_t end, list events) except -2
    @cython.locals(scanner=HeadScanner, status=int, tunnel=bint, mode=int, done=bint)
    cdef object _begin(self, list events)
    cdef object _body_read(self, list events)
    cdef object _message_sent(self)
    cdef object _finish(self)
    cdef object _check_held(self, Py_ssize_t size, list events)
    cdef object _refuse(self, int status, str reason, str counter)
