cimport cython

from dataplane.proxy.flow cimport HttpConnection
from dataplane.tables.listeners cimport ChainTable
from dataplane.tables.routes cimport RouteIndex
from dataplane.telemetry.metrics cimport RequestGroup

cdef class Downside(HttpConnection):
    cdef public ChainTable chain
    cdef public bint inbound
    cdef public bint secure
    cdef public bint mesh
    cdef public bytes forwarded
    cdef public dict peer_labels
    cdef RouteIndex _routes
    cdef RequestGroup _group
    cdef object _tables

    cpdef RouteIndex routes(self)
    cdef object _refresh(self, object tables)
    cpdef RequestGroup group(self)
