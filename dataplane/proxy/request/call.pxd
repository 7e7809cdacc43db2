from dataplane.net.receiver cimport Receiver
from dataplane.protocol.events cimport ResponseHead

cdef class Call:
    cdef public long down_stream
    cdef public long up_stream
    cdef public bint over
    cdef public double touched
    cdef public double idle

    cdef object prepare_call(self, long down_stream)
    cpdef object connected(self, Receiver up)
    cpdef object unconnected(self, str reason, str detail)
    cpdef object request_data(self, bytes data, bint end)
    cpdef object request_trailers(self, list headers)
    cpdef object request_reset(self, str reason)
    cpdef object response_head(self, ResponseHead head)
    cpdef object response_data(self, bytes data, bint end)
    cpdef object response_trailers(self, list headers)
    cpdef object response_reset(self, long code, str reason)
    cpdef object upstream_ready(self)
    cpdef object downstream_ready(self)
    cpdef object too_idle(self)
