cimport cython

from dataplane.protocol.events cimport Goaway, Pong, SettingsChanged, Trailers, Writable
from dataplane.protocol.hpack.decoder cimport Decoder
from dataplane.protocol.http2 cimport frames, pieces, states
from dataplane.protocol.http2.endings cimport Endings
from dataplane.protocol.http2.flood cimport Flood
from dataplane.protocol.http2.inflow cimport Inflow
from dataplane.protocol.http2.outflow cimport Outflow
from dataplane.protocol.http2.reader cimport FrameReader
from dataplane.protocol.http2.rules cimport Section
from dataplane.protocol.http2.stream cimport Http2Stream
from dataplane.protocol.http2.streams cimport Streams
from dataplane.protocol.http2.writer cimport FrameWriter

cdef int _DATA, _END_STREAM, _HEADERS, _RST_STREAM, _WINDOW_UPDATE
cdef int _THEY_SEND, _WE_SEND, _TAKE, _NEVER
cdef long long _MAX_WINDOW

cdef class Http2Connection:
    cdef object _limits
    cdef FrameReader _reader
    cdef FrameWriter _writer
    cdef Flood _flood
    cdef Streams _streams
    cdef Inflow _inflow
    cdef Outflow _outflow
    cdef Endings _endings
    cdef Decoder _decoder
    cdef Section _section
    cdef double _healed
    cdef long _pings
    cdef public double now
    cdef readonly bint peer_connect
    cdef readonly long peer_streams
    cdef readonly bint write_eof

    cpdef bint heading(self) except -1
    cpdef bytes output(self)
    cpdef bint unread(self, Py_ssize_t waiting) except -1
    @cython.locals(entry=Http2Stream)
    cpdef Py_ssize_t pending(self, long stream) except -1
    @cython.locals(entry=Http2Stream)
    cpdef bint full(self, long stream, Py_ssize_t most) except -1
    @cython.locals(entry=Http2Stream)
    cpdef object send_data(self, long stream, bytes data, bint end)
    @cython.locals(entry=Http2Stream)
    cpdef object send_trailers(self, long stream, list headers)
    @cython.locals(entry=Http2Stream)
    cpdef object reset(self, long stream, long code)
    @cython.locals(entry=Http2Stream)
    cpdef object consumed(self, long stream, Py_ssize_t size)
    cpdef object ping(self, bytes data)
    cpdef list receive_eof(self)
    @cython.locals(events=list, passed=double)
    cpdef list receive(self, bytes data)
    @cython.locals(reader=FrameReader, kind=int)
    cdef object _read(self, list events)
    @cython.locals(stream=long, entry=Http2Stream, worth=int, size=cython.Py_ssize_t, last=bint)
    cdef object _data_frame(self, FrameReader reader, list events)
    @cython.locals(entry=Http2Stream, fields=list, last=bint)
    cdef object _head_frame(self, FrameReader reader, list events)
    cdef object _head(self, long stream, list fields, bint last, list events)
    cdef object _malformed(self, Http2Stream entry, str reason, list events)
    @cython.locals(problem=str)
    cdef object _trailers(self, Http2Stream entry, list fields, bint last, list events)
    @cython.locals(stream=long, entry=Http2Stream, code=long, early=bint)
    cdef object _reset_frame(self, FrameReader reader, list events)
    @cython.locals(stream=long, entry=Http2Stream, step="long long", code=long)
    cdef object _window_frame(self, FrameReader reader, list events)
    @cython.locals(kind=int, stream=long, payload=bytes, ack=bint, last=long)
    cdef object _control_frame(self, FrameReader reader, list events)
    @cython.locals(before=long, code=long)
    cdef object _settings_frame(self, bytes payload, list events)
    cdef long _apply(self, int key, long long value) except -1
    @cython.locals(entry=Http2Stream)
    cdef object _pump(self, list events)
    cdef object _proceed(self, Http2Stream entry, list events)
