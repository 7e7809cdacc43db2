cimport cython

from dataplane.net.stream cimport Stream
from dataplane.protocol.events cimport RequestHead
from dataplane.proxy.flow cimport HttpConnection
from dataplane.tables.authz cimport Guard
from dataplane.tables.listeners cimport ChainTable
from dataplane.tables.routes cimport RouteIndex
from dataplane.telemetry.metrics cimport Counter, RequestGroup

cdef int _ALWAYS_ALLOW

cdef class Downside(HttpConnection):
    cdef public ChainTable chain
    cdef public bint inbound
    cdef public bint guest
    cdef public bint secure
    cdef public bint mesh
    cdef public bytes forwarded
    cdef public bint edge
    cdef public bytes proto
    cdef public dict peer_labels
    cdef public Guard guard
    cdef Counter _admitted
    cdef RouteIndex _routes
    cdef RequestGroup _group
    cdef object _tables

    cpdef RouteIndex routes(self)
    @cython.locals(stream=Stream, hops=int)
    cdef object _refresh(self, object tables)
    @cython.locals(guard=Guard)
    cdef bint admits(self, RequestHead head) except -1
    cpdef RequestGroup group(self)
