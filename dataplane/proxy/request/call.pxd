from dataplane.net.receiver cimport Receiver
from dataplane.protocol.events cimport ResponseHead

cdef class Call:
    cdef public bint over
    cdef public long stream

    cpdef object ready(self)

cdef class Asked(Call):
    cdef public double idle

    cpdef object request_data(self, bytes data, bint end)
    cpdef object request_trailers(self, list headers)
    cpdef object request_reset(self, str reason)
    cpdef object look_idle(self, double now)
    cpdef object request_whole(self)
    cpdef object edit_response(self, list headers)
    cpdef object switched(self)
    cpdef object finish(self)

cdef class Tried(Call):
    cpdef object connected(self, Receiver up)
    cpdef object unconnected(self, str reason, str detail)
    cpdef object failed(self, str what)
    cpdef object response_head(self, ResponseHead head)
    cpdef object response_data(self, bytes data, bint end)
    cpdef object response_trailers(self, list headers)
    cpdef object response_reset(self, long code, str reason)
