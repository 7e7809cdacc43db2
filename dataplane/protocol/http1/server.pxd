cimport cython

from dataplane.protocol.http1.body cimport BodyReader
from dataplane.protocol.events cimport Event, RequestHead
from dataplane.protocol.http1.connection cimport Http1Connection
from dataplane.protocol.http1.scan cimport HeadScanner

cdef dict _LINES, _PHRASES
cdef int _WAIT, _WANT_BODY, _CHUNKED, _LENGTH, _NONE, _TO_EOF

cdef class Http1Server(Http1Connection):
    cdef bint _connect
    cdef bint _continued
    cdef bint _head_only
    cdef bytes _protocol
    cdef bytes _scheme
    cdef bint _started
    cdef int _version

    @cython.locals(out=list, bodyless=bint, length="long long", mode=int)
    cpdef object send_response(self, long stream, int status, bytes reason, list headers, bint end)
    @cython.locals(body=BodyReader)
    cdef bint _gives_up(self, int status) except -1
    cdef object _informational(self, int status, bytes reason, list headers)
    cdef object _write_tunnel_head(self, list headers)
    @cython.locals(line=bytes)
    cdef object _write_line(self, int status, bytes reason)
    @cython.locals(p="const unsigned char*", n=cython.Py_ssize_t, pos=cython.Py_ssize_t, end=cython.Py_ssize_t, data=bytes,
                   scanner=HeadScanner)
    cdef bint _read_head(self, list events) except -1
    @cython.locals(scanner=HeadScanner, method=bytes, connect=bint, mode=int, done=bint, head=RequestHead)
    cdef object _begin(self, list events)
    @cython.locals(out=list)
    cdef object _refuse(self, int status, str reason, str counter)
