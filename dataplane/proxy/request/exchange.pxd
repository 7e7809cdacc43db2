cimport cython

from dataplane.protocol.events cimport RequestHead, ResponseHead
from dataplane.proxy.request.replay cimport Replay
from dataplane.proxy.client.terms cimport Terms
from dataplane.proxy.connection cimport HttpConnection
from dataplane.proxy.request.call cimport Call
from dataplane.proxy.request.notes cimport strip_own
from dataplane.proxy.request.routing cimport Routed
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.proxy.server.upstream cimport HttpUpstream
from dataplane.tables.endpoints cimport Circuit, EndpointSlot
from dataplane.tables.routes cimport RouteRow
from dataplane.telemetry.metrics cimport RequestGroup, RequestSeries

cdef int _BODY, _ROUTE, _TRY, _PAUSE
cdef int _NONE, _DONE, _RAW, _ENDED, _HEAD, _SWITCH, _END

cdef class Exchange(Routed):
    cdef public int retries
    cdef double _try_ends
    cdef int _interim

    cdef object prepare(self, Runtime runtime, Terms client, RequestHead head)
    @cython.locals(status=int, row=RouteRow, failed=bint)
    cpdef object response_head(self, ResponseHead head)
    cdef object _informational(self, ResponseHead head)
    cdef object _switched(self, ResponseHead head)
    cdef bint _consented(self, ResponseHead head) except -1
    @cython.locals(early=Replay, up=HttpConnection, kind=int, ended=bint)
    cdef bint _open_tunnel(self) except -1
    @cython.locals(n=cython.Py_ssize_t, client=Terms)
    cpdef object response_data(self, bytes data, bint end)
    @cython.locals(up=HttpConnection)
    cpdef object downstream_ready(self)
    cpdef object response_trailers(self, list headers)
    cdef object _request_done(self)
    cdef object _response_done(self)
    @cython.locals(up=HttpUpstream, reused=bint, answered=bint, unseen=bint)
    cpdef object response_reset(self, long code, str reason)
    cdef object _unseen(self, long code)
    @cython.locals(up=HttpConnection)
    cdef object _let_go(self)
    @cython.locals(row=RouteRow)
    cdef object _begin_try(self)
    @cython.locals(idle=double, now=double, due=double)
    cpdef object _watch_try(self)
    cdef bint _retry_answer(self, ResponseHead head) except -1
    cdef bint _retry_reset(self, long code) except -1
    cdef object _retry_policy(self)
    cdef bint _hold_retry(self, object policy) except -1
    cdef object _retry_later(self)
    cpdef object _retry_now(self)
    @cython.locals(up=HttpConnection)
    cdef object _finish(self)
    @cython.locals(runtime=Runtime, group=RequestGroup, series=RequestSeries, slot=EndpointSlot, took=double)
    cdef object _record(self)
