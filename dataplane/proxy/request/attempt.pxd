cimport cython

from dataplane.net.receiver cimport Receiver
from dataplane.net.timers cimport Timer
from dataplane.protocol.events cimport RequestHead, ResponseHead
from dataplane.proxy.request.asking cimport Asking
from dataplane.proxy.request.call cimport Tried
from dataplane.proxy.request.choice cimport another, choose, look_ahead
from dataplane.proxy.request.notes cimport grpc_status, introduce, strip_own
from dataplane.proxy.request.taker cimport Taker
from dataplane.proxy.server.pool cimport Pool
from dataplane.proxy.server.upstream cimport HttpUpstream
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.tables.endpoints cimport Circuit, ClusterTable, EndpointSlot
from dataplane.tables.routes cimport RouteRow

cdef int _READY, _REFUSED
cdef bytes _TABLE
cdef int _NOWHERE, _PENDING, _TAKEN, _ENDED, _CHOOSE, _CONNECT, _FAIL, _REST, _TAKE, _LEAVE, _NEVER, _EVENTS

cdef class Attempt(Tried):
    cdef public Runtime runtime
    cdef public Asking asking
    cdef public Taker taker
    cdef public int state
    cdef public ClusterTable cluster
    cdef public RouteRow row
    cdef public bint once
    cdef public EndpointSlot slot
    cdef public EndpointSlot last_slot
    cdef public Pool pool
    cdef public HttpUpstream up
    cdef public int tries
    cdef list _tried
    cdef int _connects
    cdef object _retries
    cdef Timer _timer
    cdef double _try_ends

    cpdef object prepare(self, Runtime runtime, Asking asking, Taker taker)
    @cython.locals(state=int, p="const unsigned char*")
    cpdef bint advance(self, int event) except -1
    @cython.locals(cluster=ClusterTable, asking=Asking, slot=EndpointSlot, circuit=Circuit, pool=Pool, verdict=int)
    cpdef object start(self)
    @cython.locals(conn=HttpUpstream, asking=Asking, head=RequestHead, ended=bint, added=int, row=RouteRow)
    cpdef object connected(self, Receiver up)
    @cython.locals(idle=double, now=double, due=double)
    cpdef object _watch(self)
    cpdef object failed(self, str what)
    cpdef bint switch(self) except -1
    @cython.locals(asking=Asking, status=int, row=RouteRow, failed=bint)
    cpdef object response_head(self, ResponseHead head)
    @cython.locals(up=HttpUpstream, raced=bint, tries=int, begun=bint, unseen=bint)
    cpdef object response_reset(self, long code, str reason)
    cdef object _unseen(self, long code)
    cdef bint _retry_answer(self, ResponseHead head) except -1
    cdef bint _retry_reset(self, long code) except -1
    cdef object _policy(self)
    cdef bint _granted(self, object policy) except -1
    cdef object _rest(self, object policy)
    @cython.locals(waited=bint)
    cdef bint _fail(self) except -1
    @cython.locals(slot=EndpointSlot, circuit=Circuit)
    cdef object _leave_slot(self, bint waited)
    cdef object _stop_timer(self)
    @cython.locals(up=HttpUpstream)
    cdef object _part(self)
    cpdef object cancel(self)
    @cython.locals(waited=bint)
    cpdef object leave(self)
