cimport cython

from dataplane.protocol.events cimport RequestHead
from dataplane.protocol.fields cimport strip_continue
from dataplane.proxy.connection cimport HttpConnection
from dataplane.proxy.request.call cimport Tried
from dataplane.proxy.request.notes cimport strip_own
from dataplane.proxy.request.replay cimport Replay
from dataplane.proxy.request.taker cimport Taker
from dataplane.proxy.worker.runtime cimport Runtime

cdef bytes _TABLE
cdef int _OPEN, _WHOLE, _RAW, _ENDED, _SWITCH, _END, _NEVER, _EVENTS

cdef class Asking:
    cdef public Runtime runtime
    cdef public HttpConnection down
    cdef public RequestHead head
    cdef public Taker taker
    cdef public long stream
    cdef public int state
    cdef public HttpConnection up
    cdef public Tried call
    cdef public Replay kept
    cdef public bint resendable
    cdef public bint http1_origin
    cdef public bint grpc
    cdef public long long size
    cdef Py_ssize_t _owed
    cdef public double touched

    cpdef object prepare(self, Runtime runtime, HttpConnection down, RequestHead head, Taker taker)
    @cython.locals(state=int, p="const unsigned char*")
    cpdef bint advance(self, int event) except -1
    @cython.locals(up=HttpConnection)
    cpdef object begin(self)
    @cython.locals(n=Py_ssize_t, up=HttpConnection, down=HttpConnection)
    cpdef object data(self, bytes data, bint end)
    cpdef object trailers(self, list headers)
    @cython.locals(down=HttpConnection, up=HttpConnection)
    cpdef object hand_back(self)
    @cython.locals(down=HttpConnection)
    cpdef object invite(self)
    cpdef object drop(self)
    @cython.locals(early=Replay, ended=bint, up=HttpConnection)
    cpdef bint switch(self) except -1
