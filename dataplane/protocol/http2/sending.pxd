cimport cython

from dataplane.protocol.http2 cimport frames
from dataplane.protocol.hpack.encoder cimport Encoder
from dataplane.protocol.http2.flood cimport Flood
from dataplane.protocol.http2.stream cimport Stream

cdef int _CONTINUATION, _DATA, _END_HEADERS, _END_STREAM, _HEADERS, _HEADER_BYTES

cdef class Http2Sending:
    cdef object _limits
    cdef Py_ssize_t _low
    cdef Py_ssize_t _step
    cdef Py_ssize_t _connection_step
    cdef Encoder _encoder
    cdef Flood _flood
    cdef dict _streams
    cdef dict _blocked
    cdef dict _reset_lately
    cdef list _out
    cdef bint _dead
    cdef Py_ssize_t _peer_frame
    cdef long long _peer_window
    cdef long long _send_window
    cdef long long _credit
    cdef Py_ssize_t _returned
    cdef Py_ssize_t _waiting
    cdef Py_ssize_t _window
    cdef Py_ssize_t _most
    cdef Py_ssize_t _written
    cdef Py_ssize_t _older
    cdef Py_ssize_t _passed
    cdef Py_ssize_t _mark
    cdef public double now
    cdef readonly int active
    cdef readonly bint closing
    cdef readonly bint write_eof

    @cython.locals(out=list)
    cpdef bytes output(self)
    cpdef bint unread(self, Py_ssize_t waiting) except -1
    @cython.locals(entry=Stream)
    cpdef Py_ssize_t pending(self, long stream) except -1
    @cython.locals(entry=Stream)
    cpdef bint full(self, long stream, Py_ssize_t most) except -1
    @cython.locals(entry=Stream, n=cython.Py_ssize_t)
    cpdef object send_data(self, long stream, bytes data, bint end)
    @cython.locals(entry=Stream)
    cpdef object send_trailers(self, long stream, list headers)
    @cython.locals(entry=Stream)
    cpdef object reset(self, long stream, long code)
    @cython.locals(entry=Stream)
    cpdef object consumed(self, long stream, Py_ssize_t size)
    cdef object _reopen(self, Stream entry, Py_ssize_t size)
    cdef object _give_back(self, Py_ssize_t size)
    cdef object _write_data(self, Stream entry, bytes data, Py_ssize_t n, bint end)
    cdef object _write_trailers(self, Stream entry, list headers)
    @cython.locals(buffer=bytearray, size=cython.Py_ssize_t, flags=int, section=bytes, step=cython.Py_ssize_t,
                   start=cython.Py_ssize_t, piece=bytes, kind=int, last=int)
    cdef object _write_section(self, long stream, bint end)
    @cython.locals(moved=bint, data=bytes, room=cython.Py_ssize_t, start=cython.Py_ssize_t, left=cython.Py_ssize_t)
    cdef bint _drain(self, Stream entry) except -1
    @cython.locals(entry=Stream)
    cdef object _pump(self, list events)
    cdef object _proceed(self, Stream entry, list events)
    cdef object _ended(self, Stream entry)
    cdef object _half_closed(self, Stream entry)
    cdef object _abandon(self, Stream entry, long code)
    @cython.locals(lately=dict)
    cdef object _forget(self, long stream)
    cdef object _close(self, Stream entry)
