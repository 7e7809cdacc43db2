from dataplane.protocol.http2 cimport states
from dataplane.protocol.http2.stream cimport Http2Stream

cdef int _CLOSED, _IDLE, _RESET

cdef class Streams:
    cdef readonly bint ours
    cdef readonly dict living
    cdef readonly long last
    cdef dict _lately
    cdef long _unwanted
    cdef long _skipped_after
    cdef long _skipped_before

    cpdef Http2Stream open(self, long number, long long send_window, long long receive_window)
    cpdef bint close(self, Http2Stream entry) except -1
    cpdef object clear(self)
    cpdef int state(self, long number) except -1
    cpdef int worth(self, long number, Http2Stream entry, int kind) except -1
    cpdef bint skipped(self, long number) except -1
    cpdef object ignore(self, long number)
    cpdef object forget(self, long number)
    cpdef bint lately(self, long number) except -1
    cpdef list beyond(self, long last)
