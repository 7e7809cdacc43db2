cimport cython

from dataplane.protocol.http2 cimport frames
from dataplane.protocol.events cimport Goaway, Pong, Reset, SettingsChanged
from dataplane.protocol.http2.sending cimport Http2Sending
from dataplane.protocol.http2.stream cimport Stream

cdef class Http2Control(Http2Sending):
    cdef bytes _buffer
    cdef double _healed
    cdef long _last
    cdef long _pings
    cdef long _push
    cdef bint _settled
    cdef readonly bint peer_connect
    cdef readonly long peer_streams

    cdef object _heal(self)
    cdef bint _placed(self, bint place, bint size, str counter, list events) except -1
    @cython.locals(lately=bint)
    cdef object _late(self, long stream, Stream entry, Py_ssize_t size, list events)
    cpdef object ping(self, bytes data)
    @cython.locals(entry=Stream)
    cdef object _control_frame(self, int kind, int flags, long stream, bytes payload, list events)
    cdef bint _idle(self, long stream) except -1
    @cython.locals(entry=Stream, code=long, early=bint)
    cdef object _reset_frame(self, long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    cdef bint _costs(self, long code) except -1
    @cython.locals(entry=Stream, step="long long", code=long)
    cdef object _window_frame(self, long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    @cython.locals(last=long, code=long)
    cdef object _goaway_frame(self, bytes payload, list events)
    @cython.locals(at=cython.Py_ssize_t, key=int, problem=long, streams=long, whole=bint)
    cdef object _settings_frame(self, int flags, long stream, bytes payload, list events)
    @cython.locals(step="long long", entry=Stream)
    cdef long _setting(self, int key, long long value) except -1
    cdef object _stream_error(self, Stream entry, long code, str reason, list events)
    cdef object _fail(self, long code, str reason, str counter, list events)
    cdef object _die(self)
