cimport cython

from dataplane.protocol.http2 cimport frames
from dataplane.protocol.events cimport Data, Event, Reset, Trailers
from dataplane.protocol.hpack.decoder cimport Decoder
from dataplane.protocol.http2.control cimport Http2Control
from dataplane.protocol.http2.rules cimport Section
from dataplane.protocol.http2.stream cimport Stream

cdef int _CONTINUATION, _DATA, _END_HEADERS, _END_STREAM, _HEADERS, _HEADER_BYTES, _MAX_FRAME, _PADDED, _PRIORITIZED, _RST_STREAM, _SETTINGS, _WINDOW_UPDATE
cdef int _PIECE
cdef Py_ssize_t _MERGED

cdef class Http2Connection(Http2Control):
    cdef Decoder _decoder
    cdef Section _section
    cdef list _fragment
    cdef bint _fragment_end
    cdef long _fragment_stream
    cdef Py_ssize_t _fragments
    cdef Py_ssize_t _preface

    @cython.locals(events=list, n=cython.Py_ssize_t, pos=cython.Py_ssize_t, p="const unsigned char*",
                   length=cython.Py_ssize_t, start=cython.Py_ssize_t, stream=long)
    cpdef list receive(self, bytes data)
    cpdef bint heading(self) except -1
    @cython.locals(entry=Stream)
    cpdef list receive_eof(self)
    cdef Py_ssize_t _read_preface(self, bytes data, list events) except -1
    cdef object _frame(self, int kind, int flags, long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    @cython.locals(length=cython.Py_ssize_t, last=bint, padding=cython.Py_ssize_t, entry=Stream, size=cython.Py_ssize_t)
    cdef object _data_frame(self, int flags, long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    cdef bint _data_allowed(self, Stream entry, Py_ssize_t size, bint last, list events) except -1
    @cython.locals(need=cython.Py_ssize_t, padding=cython.Py_ssize_t, last=bint)
    cdef object _headers_frame(self, int flags, long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    cdef object _continuation_frame(self, int flags, long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    @cython.locals(fields=list)
    cdef object _field_section(self, long stream, bint last, bytes data, Py_ssize_t pos, Py_ssize_t end, list events)
    cdef object _section_read(self, long stream, list fields, bint last, list events)
    cdef object _read_trailers(self, Stream entry, list fields, bint last, list events)
    cdef object _received_end(self, Stream entry)

@cython.locals(event=Event, before=Data)
cdef bint _merged(long stream, bytes data, Py_ssize_t pos, Py_ssize_t end, bint last, list events) except -1
