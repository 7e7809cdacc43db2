cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.fields cimport get
from dataplane.proxy.client.terms cimport Terms
from dataplane.proxy.request.notes cimport HeadNotes
from dataplane.proxy.request.life cimport after
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.proxy.request.sending cimport Sending
from dataplane.proxy.stages.face cimport Stage
from dataplane.tables.endpoints cimport ClusterTable
from dataplane.tables.listeners cimport ChainTable
from dataplane.tables.routes cimport RouteIndex, RouteRow, TargetRow

cdef int _DURATION, _BODY, _ROUTE, _ANSWERED, _WAIT
cdef bytes _ANSWER
cdef int _NONE, _WHOLE, _RAW, _ENDED, _HEAD, _END, _NEVER

cdef class Routed(Sending):
    cdef public Terms client
    cdef public TargetRow target
    cdef tuple _stages
    cdef Py_ssize_t _stage
    cdef object _waits_for
    cdef public bint grpc
    cdef public int answering
    cdef public int status
    cdef public int grpc_status
    cdef public int flag
    cdef public long long response_bytes
    cdef public Py_ssize_t response_owed
    cdef public double started
    cdef public bytes request_id

    cdef object prepare(self, Runtime runtime, Terms client, RequestHead head)
    @cython.locals(runtime=Runtime, notes=HeadNotes, client=Terms, head=RequestHead, headers=list,
                   request_id=bytes)
    cpdef object begin(self)
    @cython.locals(state=int)
    cpdef bint answered(self, int event) except -1
    cdef object _pass(self, tuple stages)
    @cython.locals(stages=tuple, stage=Stage, answer=int)
    cpdef object resume(self)
    cdef bint _may_upgrade(self, RouteRow row) except -1
    @cython.locals(routes=RouteIndex, row=RouteRow, forwards=bint, stages=tuple)
    cdef object _match(self)
    @cython.locals(row=RouteRow, target=TargetRow, cluster=ClusterTable)
    cdef object _forward(self)
    cpdef object answer(self, int status, list headers, bytes body)
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
    @cython.locals(stage=Stage)
    cpdef object edit_response(self, list headers)
