cimport cython

from dataplane.tables.health cimport Health, Ward, share
from dataplane.tables.turns cimport Turn, Turns

cdef int _ROUND_ROBIN, _LEAST_REQUEST, _RANDOM
cdef int _WELL
cdef Py_ssize_t _LOTS
cdef double _NEVER

cdef class ClusterTable

cdef class Circuit:
    cdef public long connections
    cdef public long max_connections
    cdef public long pending
    cdef public long max_pending
    cdef public long requests
    cdef public long max_requests
    cdef public long retries
    cdef public long max_retries
    cdef public double retry_percent

    cpdef object renew(self, object limits)
    cpdef bint may_connect(self)
    cpdef bint may_retry(self)

cdef class EndpointSlot(Turn):
    cdef public str address
    cdef public int port
    cdef public unsigned int weight
    cdef public int priority
    cdef public str zone
    cdef public bint mesh
    cdef public str identity
    cdef public dict labels
    cdef public long active
    cdef public bint retired
    cdef public object http1
    cdef public object http2
    cdef public object upgrade
    cdef public object carriers
    cdef public object group
    cdef readonly Health health

    cpdef object follow(self, ClusterTable cluster)
    cpdef object retire(self)

cdef class ClusterTable:
    cdef public object noun
    cdef public str name
    cdef public int protocol
    cdef public int policy
    cdef public bint original
    cdef public double connect_timeout
    cdef public object tls
    cdef public object mesh_tls
    cdef public list slots
    cdef public dict labels
    cdef public Circuit circuit
    cdef public long cursor
    cdef public bint ahead
    cdef readonly Ward ward
    cdef list _tier
    cdef list _willing
    cdef list _aside
    cdef Turns _turns
    cdef double _time
    cdef long _seen
    cdef double _due
    cdef bint _even
    cdef dict _dynamic

    @cython.locals(tier=list, count=Py_ssize_t)
    cpdef EndpointSlot pick(self, list excluded)
    @cython.locals(slot=EndpointSlot)
    cpdef bint another(self, list tried, EndpointSlot last, long tries, long most) except -1
    cpdef EndpointSlot peek(self)
    @cython.locals(slot=EndpointSlot)
    cpdef EndpointSlot due(self, double now, tuple pause)
    cpdef bint passes_over(self, EndpointSlot slot) except -1
    @cython.locals(slot=EndpointSlot, aside=list)
    cdef object _judge(self)
    cdef list _others(self, list excluded)
    @cython.locals(first=EndpointSlot, second=EndpointSlot, count=Py_ssize_t, at=Py_ssize_t)
    cdef EndpointSlot _drawn(self, list tier)
    cdef Py_ssize_t _draw(self, Py_ssize_t count)
    @cython.locals(turns=Turns, first=EndpointSlot)
    cdef EndpointSlot _due_first(self)
    @cython.locals(load=double)
    cdef double _share(self, EndpointSlot slot)
    @cython.locals(slot=EndpointSlot, line=list, at=Py_ssize_t, share=double)
    cdef Turns _line_up(self)
    @cython.locals(slot=EndpointSlot, total=double, left=double)
    cdef EndpointSlot _by_lot(self, list tier)
    cpdef EndpointSlot at(self, str address, int port)
    @cython.locals(slot=EndpointSlot)
    cpdef list succeed(self, ClusterTable previous)
