cimport cython

from dataplane.net.poller cimport Pollable, Poller
from dataplane.net.receiver cimport Receiver
from dataplane.net.stream cimport Stream
from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.http1.connection cimport Http1Connection
from dataplane.protocol.http2.connection cimport Http2Connection
from dataplane.proxy.request.call cimport Call
from dataplane.proxy.worker.runtime cimport Runtime

cdef class Flusher(Pollable):
    cdef HttpConnection _connection

    cpdef object forget(self)

cdef class HttpConnection(Receiver):
    cdef public Runtime runtime
    cdef public Stream stream
    cdef public Http1Connection h1
    cdef public Http2Connection h2
    cdef public Call call
    cdef public dict calls
    cdef public list blocked
    cdef public bint gone
    cdef public bint reading
    cdef public double used
    cdef Flusher _flusher
    cdef Poller _poller
    cdef bint _eof_written
    cdef bint _ending
    cdef double _ask_after
    cdef double _ask_within
    cdef double _asked

    cpdef object mark(self)
    @cython.locals(data=bytes, closing=bint)
    cpdef object flush(self)
    cdef object _part(self)
    cdef object _end_if_over(self)
    cdef object _after_flush(self)
    cpdef long send_request(self, RequestHead head, bint end) except -1
    cpdef object send_response(self, long stream, int status, bytes reason, list headers, bint end)
    cpdef object send_data(self, long stream, bytes data, bint end)
    cpdef object send_trailers(self, long stream, list headers)
    cpdef object reset(self, long stream, long code)
    cpdef object consumed(self, long stream, Py_ssize_t size)
    cpdef object finished(self, Call call)
    cdef object _after_call(self)
    cpdef bint unused(self) except -1
    cdef list _in_hand(self)
    cpdef bint congested(self, long stream, Call call) except -1
    cpdef object stop_reading(self)
    cpdef object read_on(self)
    @cython.locals(call=Call)
    cpdef Call find(self, long stream)
    cpdef object watch_peer(self, tuple keepalive)
    @cython.locals(seen=double)
    cpdef object check_peer(self, double now)
