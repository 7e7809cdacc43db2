cimport cython

from dataplane.protocol.events cimport ResponseHead
from dataplane.proxy.client.terms cimport Terms
from dataplane.proxy.connection cimport HttpConnection
from dataplane.proxy.request.asking cimport Asking
from dataplane.proxy.request.attempt cimport Attempt
from dataplane.proxy.request.call cimport Asked
from dataplane.proxy.request.notes cimport grpc_status, strip_own
from dataplane.proxy.request.taker cimport Taker

cdef bytes _TABLE
cdef int _NONE, _DONE, _RAW, _HEAD, _SWITCH, _END, _NEVER, _EVENTS, _WELL

cdef class Answering(Taker):
    cdef public Asked exchange
    cdef public Terms client
    cdef public Asking asking
    cdef public Attempt attempt
    cdef public int state
    cdef public int status
    cdef public int grpc_status
    cdef public long long size
    cdef Py_ssize_t _owed
    cdef int _interim

    cdef object prepare(self, Asked exchange, Terms client, Asking asking, Attempt attempt)
    @cython.locals(state=int, p="const unsigned char*")
    cpdef bint advance(self, int event) except -1
    @cython.locals(asking=Asking)
    cpdef object answered(self, ResponseHead head)
    @cython.locals(n=Py_ssize_t, client=Terms, asking=Asking)
    cpdef object data(self, bytes data, bint end)
    @cython.locals(asking=Asking)
    cpdef object trailers(self, list headers)
    @cython.locals(asking=Asking, up=HttpConnection)
    cpdef object hand_back(self)
    cdef object _done(self)
    cdef object _finish(self)
    cdef object _switched(self, ResponseHead head)
    cdef bint _consented(self, ResponseHead head) except -1
    cdef bint _open_tunnel(self) except -1
    @cython.locals(client=Terms, asking=Asking)
    cpdef object refuse(self, object refusal)
    cpdef object give(self, int status, list headers, bytes body)
