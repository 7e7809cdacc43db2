cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.net.receiver cimport Receiver
from dataplane.proxy.connection cimport HttpConnection
from dataplane.proxy.request.call cimport Call
from dataplane.proxy.request.notes cimport strip_own
from dataplane.proxy.request.life cimport after
from dataplane.proxy.server.pool cimport Pool, pool_of
from dataplane.proxy.request.deadlines cimport Deadlines
from dataplane.proxy.request.replay cimport Replay
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.proxy.server.upstream cimport HttpUpstream
from dataplane.tables.endpoints cimport Circuit, ClusterTable, EndpointSlot
from dataplane.tables.routes cimport RouteRow

cdef int _SPEAKS_HTTP1
cdef int _SPEAKS_HTTP2
cdef int _HTTP1
cdef int _HTTP2
cdef int _UPGRADE
cdef bytes _REQUEST
cdef int _OPEN, _WHOLE, _RAW, _ENDED, _END, _NEVER
cdef tuple _WAS_HTTP10
cdef tuple _WAS_HTTP11

cdef class Sending(Call):
    cdef public HttpConnection down
    cdef public HttpConnection up
    cdef public Runtime runtime
    cdef public RequestHead head
    cdef public RouteRow row
    cdef public ClusterTable cluster
    cdef public EndpointSlot slot
    cdef public EndpointSlot last_slot
    cdef public Pool pool
    cdef public list mirrors
    cdef public Replay kept
    cdef public Deadlines deadlines
    cdef public bint whole
    cdef public int asking
    cdef public bint waiting
    cdef public bint http1_origin
    cdef public list tried
    cdef public int tries
    cdef public int connect_tries
    cdef public bint retrying
    cdef public Py_ssize_t owed
    cdef public long long request_bytes
    cdef public str detail

    @cython.locals(state=int)
    cpdef bint asked(self, int event) except -1
    cpdef bint astray(self, str what) except -1
    cpdef object deadline(self, int kind, double seconds, object call)
    cpdef object prepare_sending(self, Runtime runtime, HttpConnection down, RequestHead head)
    @cython.locals(cluster=ClusterTable, slot=EndpointSlot, target=tuple, circuit=Circuit)
    cpdef object dispatch(self)
    @cython.locals(slot=EndpointSlot)
    cdef EndpointSlot _on_trial(self, ClusterTable cluster)
    @cython.locals(slot=EndpointSlot)
    cdef object _look_ahead(self, ClusterTable cluster)
    @cython.locals(protocol=int)
    cdef int _kind(self, EndpointSlot slot) except -1
    cdef object _begin_try(self)
    cpdef object abandon_try(self)
    @cython.locals(circuit=Circuit)
    cpdef bint hold_retry(self) except -1
    cpdef object release_retry(self)
    @cython.locals(conn=HttpUpstream, ended=bint, added=int, headers=list, head=RequestHead)
    cpdef object connected(self, Receiver up)
    @cython.locals(down=HttpConnection)
    cdef object _hand_back(self)
    @cython.locals(n=cython.Py_ssize_t, up=HttpConnection)
    cpdef object request_data(self, bytes data, bint end)
    cpdef object drop(self)
    cdef object _feed(self, bytes data, bint end)
    cdef object _request_whole(self)
    cdef object _request_done(self)
    @cython.locals(up=HttpConnection)
    cpdef object cancel(self)
