cimport cython

from dataplane.net.splice cimport Pump
from dataplane.net.receiver cimport Receiver
from dataplane.net.stream cimport Stream
from dataplane.net.timers cimport Timer
from dataplane.proxy.runtime cimport Runtime
from dataplane.tables.endpoints cimport ClusterTable, EndpointSlot
from dataplane.tables.listeners cimport ChainTable
from dataplane.telemetry.metrics cimport TcpSeries

cdef Py_ssize_t _BULK

cdef class Side(Receiver):
    cdef public Relay relay
    cdef public Side other
    cdef public Stream stream
    cdef public TcpSeries series
    cdef Pump _bypass
    cdef bint _counting_in

    cpdef object opened(self)
    @cython.locals(series=TcpSeries, sink=Stream)
    cpdef object received(self, bytes data)
    @cython.locals(series=TcpSeries)
    cpdef object count(self, Py_ssize_t size)
    @cython.locals(source=Stream, sink=Stream)
    cdef object _engage(self)
    cpdef object forget_bypass(self)
    cpdef object ended(self)
    cpdef object drained(self)
    cpdef object lost(self, str reason)

cdef class CountingPump(Pump):
    cdef Side _side

    cpdef object passed(self, Py_ssize_t size)

cdef class Relay:
    cdef readonly Runtime runtime
    cdef readonly tuple target
    cdef readonly Side client
    cdef readonly Side server
    cdef readonly bint over
    cdef readonly bint reached
    cdef ChainTable _chain
    cdef ClusterTable _cluster
    cdef EndpointSlot _slot
    cdef list _tried
    cdef bytes _first
    cdef object _waiter
    cdef double _idle
    cdef Timer _timer

    cpdef object start(self, Stream stream, bytes first)
    cpdef object listen_first(self, object waiter)
    cpdef object attach(self, Stream stream, bytes first)
    cpdef object drop(self)
    cpdef object spoke(self)
    cdef object _take(self, Stream stream, bytes first)
    cdef object _connect(self)
    @cython.locals(cluster=ClusterTable)
    cdef object _choose(self)
    cpdef object connected(self)
    @cython.locals(client=Stream, server=Stream, series=TcpSeries)
    cdef object _join(self)
    cdef object _peers(self, Stream client)
    @cython.locals(other=Stream)
    cpdef object gone(self, Side side, str reason)
    cdef object _unreached(self, str reason)
    cdef object _fail(self, str why)
    @cython.locals(series=TcpSeries, server=Stream)
    cdef object _finish(self)
    @cython.locals(client=Side, server=Side)
    cdef object _dissolve(self)
    cdef object _leave_slot(self)
    @cython.locals(client=Stream, server=Stream)
    cpdef object _look_idle(self)
