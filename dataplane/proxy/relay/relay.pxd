cimport cython

from dataplane.net.stream cimport Stream
from dataplane.net.timers cimport Timer
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.proxy.relay.sides cimport Ends, Side
from dataplane.tables.endpoints cimport ClusterTable, EndpointSlot
from dataplane.tables.listeners cimport ChainTable
from dataplane.telemetry.metrics cimport TcpSeries

cdef class Relay(Ends):
    cdef readonly Runtime runtime
    cdef readonly tuple target
    cdef readonly Side client
    cdef readonly Side server
    cdef readonly bint over
    cdef readonly bint reached
    cdef ChainTable _chain
    cdef ClusterTable _cluster
    cdef str _refused
    cdef EndpointSlot _slot
    cdef list _tried
    cdef object _tls
    cdef bint _kept
    cdef bytes _first
    cdef object _waiter
    cdef double _idle
    cdef Timer _life
    cdef Timer _timer
    cdef Timer _turn
    cdef public object seen

    cpdef object start(self, Stream stream, bytes first)
    cpdef object listen_first(self, object waiter)
    cpdef object attach(self, Stream stream, bytes first)
    cpdef object drop(self)
    cpdef object spoke(self)
    cdef object _take(self, Stream stream, bytes first)
    cdef object _connect(self)
    @cython.locals(cluster=ClusterTable)
    cdef object _reach(self, EndpointSlot slot, bint kept)
    @cython.locals(stream=Stream, cluster=ClusterTable, slot=EndpointSlot)
    cdef object _carry(self)
    @cython.locals(cluster=ClusterTable)
    cdef object _choose(self)
    cpdef object connected(self)
    @cython.locals(client=Stream, server=Stream, series=TcpSeries)
    cdef object _join(self)
    @cython.locals(other=Stream)
    cpdef object gone(self, Side side, str reason)
    cdef object _unreached(self, str reason)
    cdef object _fail(self, str why)
    @cython.locals(series=TcpSeries, server=Stream)
    cdef object _finish(self)
    cdef object _part(self)
    cpdef object touch(self)
    cpdef object review(self)
    @cython.locals(client=Stream)
    cdef int _judged(self) except -1
    cpdef object _leave(self)
    @cython.locals(client=Stream, server=Stream)
    cdef object _cut(self)
    cdef object _leave_slot(self)
    @cython.locals(client=Stream, server=Stream)
    cpdef object _look_idle(self)
    cpdef object _outlive(self)
