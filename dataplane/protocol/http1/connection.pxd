cimport cython

from dataplane.protocol.http1.body cimport BodyReader
from dataplane.protocol.events cimport Data, Event, Failure, Reset
from dataplane.protocol.fields cimport content_length
from dataplane.protocol.http1.scan cimport HeadScanner

cdef class Http1Connection:
    cdef BodyReader _body
    cdef bytes _buffer
    cdef bint _eof
    cdef object _limits
    cdef list _out
    cdef Py_ssize_t _pipeline
    cdef HeadScanner _scanner
    cdef Py_ssize_t _searched
    cdef long long _send_left
    cdef int _send_mode
    cdef bint _send_open
    cdef int _state
    cdef long _stream
    cdef public int active
    cdef public bint closing
    cdef public bint write_eof

    @cython.locals(n=cython.Py_ssize_t, pos=cython.Py_ssize_t, moved=cython.Py_ssize_t, state=int, events=list)
    cpdef list receive(self, bytes data)
    @cython.locals(n=cython.Py_ssize_t, mode=int)
    cpdef object send_data(self, long stream, bytes data, bint end)
    cpdef object send_trailers(self, long stream, list headers)
    cpdef object reset(self, long stream, long code)
    cpdef object consumed(self, long stream, Py_ssize_t size)
    cpdef Py_ssize_t pending(self, long stream) except -1
    @cython.locals(out=list)
    cpdef bytes output(self)
    cpdef object goaway(self)
    cpdef object shutdown(self)
    cpdef list receive_eof(self)
    cdef Py_ssize_t _read_head(self, bytes data, Py_ssize_t pos, list events) except -2
    cdef object _body_read(self, list events)
    cdef object _message_sent(self)
    cdef object _check_held(self, Py_ssize_t size, list events)
    cdef object _refuse(self, int status, str reason, str counter)
    @cython.locals(body=BodyReader)
    cdef Py_ssize_t _read_body(self, bytes data, Py_ssize_t pos, list events) except -2
    cdef int _fail(self, int status, str reason, str counter, list events) except -2
    cdef object _die(self)
    cdef object _lost(self, str reason, list events)
    cdef object _after_eof(self, list events)
    cdef object _start_sending(self, int mode, long long length)
    cdef object _end_sending(self)
    @cython.locals(field=tuple, name=bytes, n=cython.Py_ssize_t, length="long long", out=list)
    cdef long long _write_fields(self, list headers, bint trailers) except -2
    cdef object _tunnel(self)
    @cython.locals(scanner=HeadScanner)
    cdef int _body_mode(self, int missing) except -1
