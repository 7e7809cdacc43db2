cimport cython

from dataplane.protocol.events cimport Data, Event, Failure, Goaway, RequestHead, Reset, ResponseHead, Trailers
from dataplane.protocol.http1.client cimport Http1Client
from dataplane.protocol.http2.client cimport Http2Client
from dataplane.proxy.connection cimport HttpConnection
from dataplane.proxy.request.call cimport Tried
from dataplane.tables.endpoints cimport EndpointSlot

cdef int _RESPONSE
cdef int _FAILURE
cdef int _DATA
cdef int _TRAILERS
cdef int _RESET
cdef int _WRITABLE
cdef int _GOAWAY
cdef int _SETTINGS
cdef long _ALL

cdef class Owner:
    cpdef object opened(self, HttpUpstream connection)
    cpdef object told(self, long streams)
    cpdef object released(self, HttpUpstream connection)
    cpdef object ended(self, HttpUpstream connection, str reason, str detail)

cdef class HttpUpstream(HttpConnection):
    cdef public Owner owner
    cdef public EndpointSlot slot
    cdef public bint ready
    cdef public bint answered
    cdef public bint introduced
    cdef public long uses
    cdef public long most_streams
    cdef long _enough
    cdef public long most_uses
    cdef public double idle
    cdef public double life
    cdef public double born
    cdef Http1Client _c1
    cdef Http2Client _c2
    cdef bint _retired
    cdef long _last

    cpdef object expect(self, long streams)
    cpdef object obey(self, object cluster)
    @cython.locals(free=bint)
    cpdef bint usable(self) except -1
    cpdef long start(self, Tried call, RequestHead head, bint end) except -1
    cdef bint _spent(self) except -1
    cpdef bint left_out(self, long stream) except -1
    cpdef bint unanswered(self, long code) except -1
    cpdef object retire(self)
    cpdef object sweep(self, double now)
    @cython.locals(event=Event, kind=int, call=Tried, data=Data, goaway=Goaway, reset=Reset, trailers=Trailers)
    cdef object _dispatch(self, list events)
    cdef object _failed(self, Failure failure)
    cdef object _more(self)
    @cython.locals(call=Tried)
    cdef object _drop(self, long code, str reason)
