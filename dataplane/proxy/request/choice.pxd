cimport cython

from dataplane.proxy.request.asking cimport Asking
from dataplane.proxy.server.pool cimport Pool, pool_of
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.tables.endpoints cimport ClusterTable, EndpointSlot

cdef int _SPEAKS_HTTP1, _SPEAKS_HTTP2, _HTTP1, _HTTP2, _UPGRADE

@cython.locals(slot=EndpointSlot, target=tuple, runtime=Runtime)
cpdef Pool choose(Asking asking, ClusterTable cluster, list tried)
cpdef bint another(Runtime runtime, ClusterTable cluster, list tried, EndpointSlot last, long tries) except -1
@cython.locals(which=int, pool=Pool)
cdef Pool _pool(Asking asking, ClusterTable cluster, EndpointSlot slot)
@cython.locals(protocol=int)
cdef int _kind(Asking asking, ClusterTable cluster, EndpointSlot slot) except -1
@cython.locals(slot=EndpointSlot)
cpdef object look_ahead(Asking asking, ClusterTable cluster)
