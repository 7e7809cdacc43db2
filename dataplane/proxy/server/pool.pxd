cimport cython

from dataplane.proxy.request.call cimport Tried
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.proxy.server.upstream cimport HttpUpstream, Owner
from dataplane.tables.endpoints cimport Circuit, ClusterTable, EndpointSlot

cdef int _HTTP1
cdef int _HTTP2
cdef int _READY, _WAIT, _REFUSED

cdef class Pool(Owner):
    cdef public Runtime runtime
    cdef public EndpointSlot slot
    cdef public object context
    cdef public bint http2
    cdef public bint upgrade
    cdef public bint retired
    cdef public bint mesh
    cdef public double timeout
    cdef public long connecting
    cdef public long streams
    cdef public list idle
    cdef public list connections
    cdef public object pending
    cdef object _since
    cdef object _expiry
    cdef public HttpUpstream ready
    cdef public str reason
    cdef public str detail
    cdef HttpUpstream _current
    cdef public Circuit circuit
    cdef object _cluster

    @cython.locals(connection=HttpUpstream, circuit=Circuit)
    cpdef int ask(self, Tried call) except -1
    @cython.locals(connection=HttpUpstream)
    cdef HttpUpstream _usable(self)
    cdef Tried _next(self)
    cdef object _watch(self)
    @cython.locals(call=Tried, now=double, since=double)
    cpdef object _expire(self)
    @cython.locals(circuit=Circuit, wanted=Py_ssize_t)
    cdef bint _dial_enough(self) except -1
    cdef object _dial_more(self)
    cdef object _offer(self, HttpUpstream connection)
    @cython.locals(connection=HttpUpstream)
    cdef bint _dial(self) except -1
    cpdef object prepare(self)
    cpdef bint probe(self) except -1
    cpdef object forget(self, Tried call)
    @cython.locals(call=Tried)
    cdef object _serve(self, HttpUpstream connection)
    @cython.locals(call=Tried)
    cdef object _unconnected(self, str detail)
    cdef object _refuse(self, Tried call, str reason, str detail)
    cdef object _defect(self, Tried call, object error)
    @cython.locals(connection=HttpUpstream)
    cpdef bint follow(self, ClusterTable cluster) except -1
    cpdef object retire(self)
    @cython.locals(connection=HttpUpstream)
    cdef object _go_if_done(self)

@cython.locals(pool=Pool)
cpdef Pool pool_of(Runtime runtime, ClusterTable cluster, EndpointSlot slot, int kind)
