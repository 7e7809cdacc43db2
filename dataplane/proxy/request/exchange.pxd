cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.proxy.client.terms cimport Terms
from dataplane.proxy.request.answering cimport Answering
from dataplane.proxy.request.asking cimport Asking
from dataplane.proxy.request.attempt cimport Attempt
from dataplane.proxy.request.call cimport Asked
from dataplane.proxy.request.deadlines cimport Deadlines
from dataplane.proxy.request.notes cimport HeadNotes
from dataplane.proxy.stages.face cimport Stage
from dataplane.proxy.worker.runtime cimport Runtime
from dataplane.tables.endpoints cimport ClusterTable, EndpointSlot
from dataplane.tables.listeners cimport ChainTable
from dataplane.tables.routes cimport RouteIndex, RouteRow, TargetRow
from dataplane.telemetry.metrics cimport RequestGroup, RequestSeries

cdef int _DURATION, _BODY, _ROUTE, _ANSWERED, _WAIT
cdef int _WHOLE, _RAW, _ENDED

cdef class Exchange(Asked):
    cdef public Runtime runtime
    cdef public Terms client
    cdef public RequestHead head
    cdef public Asking asking
    cdef public Answering answering
    cdef public Attempt attempt
    cdef public RouteRow row
    cdef public TargetRow target
    cdef public list mirrors
    cdef public bytes request_id
    cdef Deadlines _deadlines
    cdef tuple _stages
    cdef Py_ssize_t _stage
    cdef object _waits_for
    cdef object _gathering
    cdef bint _gathered
    cdef bint _timed
    cdef double _started

    @cython.locals(asking=Asking, notes=HeadNotes, routes=RouteIndex)
    cpdef object begin(self, Runtime runtime, Terms client, RequestHead head)
    @cython.locals(asking=Asking, answering=Answering, attempt=Attempt)
    cdef object _prepare(self, Runtime runtime, Terms client, RequestHead head)
    cdef object _pass(self, tuple stages)
    @cython.locals(stages=tuple, stage=Stage, answer=int)
    cpdef object resume(self)
    cpdef object answer(self, int status, list headers, bytes body)
    cpdef object refuse(self, object refusal)
    @cython.locals(stage=Stage)
    cpdef object edit_response(self, list headers)
    cdef bint _gather(self) except -1
    cdef object _look_gathered(self)
    @cython.locals(row=RouteRow, stages=tuple)
    cdef object _match(self, RouteIndex routes)
    @cython.locals(row=RouteRow, target=TargetRow, cluster=ClusterTable, attempt=Attempt, asking=Asking)
    cdef object _forward(self)
    @cython.locals(row=RouteRow, seconds=double, asked=double, chain=ChainTable, asking=Asking)
    cdef object _set_timers(self)
    cdef object _limit(self, int kind, double seconds)
    @cython.locals(row=RouteRow, told=bint)
    cpdef object request_whole(self)
    cdef object _whose(self, object late)
    cpdef object _too_long(self)
    cpdef object _timed_out(self)
    cpdef object _body_late(self)
    @cython.locals(runtime=Runtime, answering=Answering, group=RequestGroup, series=RequestSeries, slot=EndpointSlot, took=double)
    cdef object _record(self)
