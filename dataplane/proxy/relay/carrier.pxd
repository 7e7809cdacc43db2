from dataplane.net.receiver cimport Receiver
from dataplane.net.stream cimport Stream
from dataplane.net.timers cimport Timer
from dataplane.protocol.carrier cimport CarrierCodec
from dataplane.proxy.worker.runtime cimport Runtime

cimport cython

cdef int _OPEN, _ACCEPT, _END
cdef Py_ssize_t _LONGEST

cdef class Keeper:
    cpdef object asked(self, Carrier carrier)
    cpdef object over(self, Carrier carrier)
    cpdef object gone(self, Carrier carrier)
    cpdef object review(self, Carrier carrier)
    cpdef bint stale(self, Carrier carrier) except -1

cdef class Carrier(Receiver):
    cdef readonly Runtime runtime
    cdef readonly Stream stream
    cdef readonly Keeper keeper
    cdef readonly object context
    cdef public Receiver user
    cdef readonly bint last
    cdef CarrierCodec _codec
    cdef bint _heard
    cdef double _end
    cdef double _until
    cdef Timer _timer

    @cython.locals(codec=CarrierCodec)
    cpdef object write(self, bytes data)
    @cython.locals(codec=CarrierCodec)
    cpdef object end(self)
    cpdef object close(self)
    cpdef object open(self, Receiver user, double seconds)
    cpdef object accept(self)
    cpdef object rest(self, double seconds)
    cpdef object sweep(self, double now)
    cpdef object review(self)
    @cython.locals(codec=CarrierCodec)
    cpdef object received(self, bytes data)
    @cython.locals(codec=CarrierCodec)
    cpdef object ended(self)
    cpdef object drained(self)
    @cython.locals(user=Receiver)
    cpdef object lost(self, str reason)
    @cython.locals(user=Receiver)
    cdef object _over(self)
    cpdef object _too_late(self)
    cdef object _stop_timer(self)
