cimport cython

from dataplane.protocol.events cimport Failure, Reset
from dataplane.protocol.http2 cimport frames, states
from dataplane.protocol.http2.flood cimport Flood
from dataplane.protocol.http2.inflow cimport Inflow
from dataplane.protocol.http2.outflow cimport Outflow
from dataplane.protocol.http2.stream cimport Http2Stream
from dataplane.protocol.http2.streams cimport Streams
from dataplane.protocol.http2.writer cimport FrameWriter

cdef int _CLOSED, _OUR_END, _THEIR_END

cdef class Endings:
    cdef Streams _streams
    cdef FrameWriter _writer
    cdef Flood _flood
    cdef Inflow _inflow
    cdef Outflow _outflow
    cdef public bint closing
    cdef readonly bint dead

    cpdef object ours(self, Http2Stream entry)
    cpdef object theirs(self, Http2Stream entry)
    cpdef object abandon(self, Http2Stream entry, long code)
    cpdef object close(self, Http2Stream entry)
    @cython.locals(lately=bint)
    cpdef object late(self, long number, Http2Stream entry, Py_ssize_t size, list events)
    cpdef object late_reset(self, list events)
    cdef object _closed_flood(self, list events)
    cpdef object reset(self, Http2Stream entry, long code, bint costs, list events)
    @cython.locals(entry=Http2Stream)
    cpdef object left_out(self, long last, list events)
    cpdef object broken(self, Http2Stream entry, long code, str reason, list events)
    cpdef object misshapen(self, long number, str reason, str counter, list events)
    cpdef object fail(self, long code, str reason, str counter, list events)
    cpdef object lost(self, list events)
    cdef object _die(self)
