cimport cython

from dataplane.net.timers cimport Timer
from dataplane.protocol.events cimport Data, Event, Failure, RequestHead, Reset, Trailers
from dataplane.protocol.http1.server cimport Http1Server
from dataplane.protocol.http2.server cimport Http2Server
from dataplane.proxy.client.terms cimport Terms
from dataplane.proxy.request.exchange cimport Exchange
from dataplane.proxy.connection cimport HttpConnection
from dataplane.tables.listeners cimport ChainTable

cdef int _REQUEST
cdef int _FAILURE
cdef int _DATA
cdef int _TRAILERS
cdef int _RESET
cdef int _WRITABLE

cdef class HttpDownstream(Terms):
    cdef Http1Server _s1
    cdef Http2Server _s2
    cdef Timer _head_timer
    cdef Timer _end_timer
    cdef bint _shutting
    cdef long long _drained
    cdef double _born
    cdef double _told
    cdef long _requests

    @cython.locals(event=Event, kind=int, call=Exchange, data=Data, reset=Reset, trailers=Trailers)
    cdef object _dispatch(self, list events)
    @cython.locals(exchange=Exchange, most=long)
    cdef object _open(self, RequestHead head)
    cdef object _failed(self, Failure failure)
    cdef object _discard(self, long stream, Py_ssize_t size)
    cpdef object _drain_too_slow(self)
    cdef object _stop_draining(self)
    cdef object _watch_head(self)
    cdef object _watch_section(self)
    cdef object _end_soon(self, str why)
    cpdef object _head_too_slow(self)
    cpdef object stands(self)
    cpdef object tunnel_opened(self)
    cpdef object drain(self)
    cpdef object _leave(self)
    cpdef object _cut(self)
    cpdef object shut_late(self, double now)
    cpdef object shut(self)
    @cython.locals(call=Exchange, chain=ChainTable)
    cpdef object sweep(self, double now)
    @cython.locals(call=Exchange)
    cdef object _drop(self, str reason)
