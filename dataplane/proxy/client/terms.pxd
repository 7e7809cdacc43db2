cimport cython

from dataplane.net.stream cimport Stream
from dataplane.proxy.connection cimport HttpConnection
from dataplane.tables.authz cimport Guard
from dataplane.tables.listeners cimport ChainTable
from dataplane.tables.routes cimport RouteIndex
from dataplane.telemetry.metrics cimport RequestGroup

cdef class Terms(HttpConnection):
    cdef public ChainTable chain
    cdef public bint inbound
    cdef public bint guest
    cdef public bint secure
    cdef public bint mesh
    cdef public bint takes_refusals
    cdef public bytes forwarded
    cdef public bint edge
    cdef public bytes proto
    cdef public dict peer_labels
    cdef public Guard guard
    cdef public tuple before
    cdef RouteIndex _routes
    cdef RequestGroup _group
    cdef object _tables
    cdef ChainTable _guarded
    cdef bint _barred
    cdef bint _moved
    cdef public object seen
    cdef public int standing

    cpdef RouteIndex routes(self)
    cpdef object tunnel_opened(self)
    @cython.locals(chain=ChainTable, before=int, old=bint)
    cdef object _refresh(self, object tables)
    @cython.locals(stream=Stream, hops=int)
    cdef object _bind(self, ChainTable chain)
    cpdef object review(self)
    cpdef object come_anew(self)
    cpdef object refused(self)
    cpdef object stands(self)
    cpdef object drain(self)
    cpdef RequestGroup group(self)
