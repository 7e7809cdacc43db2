cimport cython

from dataplane.net.receiver cimport Receiver
from dataplane.net.splice cimport Pump
from dataplane.net.stream cimport Stream
from dataplane.proxy.relay.carrier cimport Carrier
from dataplane.telemetry.metrics cimport TcpSeries

cdef Py_ssize_t _BULK

cdef class Side

cdef class Ends:
    cpdef object connected(self)
    cpdef object spoke(self)
    cpdef object gone(self, Side side, str reason)

cdef class Side(Receiver):
    cdef public Ends relay
    cdef public Side other
    cdef public Stream stream
    cdef public Carrier carrier
    cdef public TcpSeries series
    cdef Pump _bypass
    cdef bint _counting_in

    cpdef object hold(self, Carrier carrier)
    cpdef object leave(self)
    cpdef object send(self, bytes data)
    cpdef object end(self)
    cpdef object close(self)
    cpdef object opened(self)
    @cython.locals(series=TcpSeries, sink=Stream, other=Side)
    cpdef object received(self, bytes data)
    @cython.locals(series=TcpSeries)
    cpdef object count(self, Py_ssize_t size)
    @cython.locals(source=Stream, sink=Stream)
    cdef object _engage(self)
    cpdef object part(self)
    cpdef object ended(self)
    cpdef object drained(self)
    @cython.locals(relay=Ends)
    cpdef object lost(self, str reason)

cdef class CountingPump(Pump):
    cdef Side _side

    cpdef object passed(self, Py_ssize_t size)
