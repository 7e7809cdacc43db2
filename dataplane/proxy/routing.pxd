cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.headers cimport get
from dataplane.proxy.downside cimport Downside
from dataplane.proxy.headers cimport HeadNotes
from dataplane.proxy.runtime cimport Runtime
from dataplane.proxy.sending cimport Sending
from dataplane.tables.edits cimport HeaderEdit
from dataplane.tables.endpoints cimport ClusterTable
from dataplane.tables.listeners cimport ChainTable
from dataplane.tables.routes cimport RouteIndex, RouteRow, TargetRow

cdef int _DURATION, _BODY, _ROUTE

cdef class Routed(Sending):
    cdef public Downside client
    cdef public TargetRow target
    cdef public bint grpc
    cdef public bint responding
    cdef public bint response_ended
    cdef public int status
    cdef public int grpc_status
    cdef public int flag
    cdef public long long response_bytes
    cdef public Py_ssize_t response_owed
    cdef public double started
    cdef public bytes request_id

    cdef object prepare(self, Runtime runtime, Downside client, RequestHead head)
    @cython.locals(runtime=Runtime, notes=HeadNotes, routes=RouteIndex, client=Downside, head=RequestHead, headers=list,
                   request_id=bytes)
    cpdef object begin(self)
    @cython.locals(head=RequestHead, verdict=int)
    cdef bint _admits_path(self, object rule) except -1
    cdef bint _may_upgrade(self, RouteRow row) except -1
    @cython.locals(row=RouteRow, target=TargetRow, cluster=ClusterTable)
    cdef object _route(self, RouteIndex routes)
    @cython.locals(edit=HeaderEdit, head=RequestHead)
    cdef object _shape(self, RouteRow row, TargetRow target)
    @cython.locals(seconds=double, asked=double, chain=ChainTable)
    cdef object _set_timers(self, RouteRow row)
    @cython.locals(row=RouteRow)
    cdef object _request_whole(self)
    cpdef object _too_long(self)
    cpdef object _timed_out(self)
    cpdef object _body_late(self)
    cdef object _finish(self)
    @cython.locals(value=bytes)
    cdef object _read_grpc_status(self, list headers)
    @cython.locals(target=TargetRow, edit=HeaderEdit)
    cpdef object edit_response(self, list headers)
