cimport cython

from dataplane.protocol.events cimport Failure, Reset
from dataplane.protocol.http1.body cimport BodyReader
from dataplane.protocol.http1.scan cimport HeadScanner
from dataplane.protocol.http1.writer cimport MessageWriter

cdef int _WANT_HEAD, _WANT_BODY, _WAIT, _DEAD, _TUNNEL

cdef class Http1Connection:
    cdef object _limits
    cdef HeadScanner _scanner
    cdef BodyReader _body
    cdef MessageWriter _writer
    cdef bint _ours
    cdef Py_ssize_t _ahead
    cdef bytes _buffer
    cdef Py_ssize_t _at
    cdef bint _eof
    cdef bint _last
    cdef bint _owed
    cdef Py_ssize_t _searched
    cdef int _state
    cdef long _stream
    cdef public int active
    cdef public bint closing
    cdef public bint write_eof

    cpdef bint lacks(self, Py_ssize_t more) except -1
    cpdef object send_data(self, long stream, bytes data, bint end)
    cpdef object send_trailers(self, long stream, list headers)
    cpdef object reset(self, long stream, long code)
    cpdef object consumed(self, long stream, Py_ssize_t size)
    cpdef Py_ssize_t pending(self, long stream) except -1
    @cython.locals(out=list)
    cpdef bytes output(self)
    cpdef object goaway(self)
    cpdef object shutdown(self)
    cpdef Py_ssize_t held(self) except -1
    @cython.locals(events=list)
    cpdef list receive(self, bytes data)
    cpdef list receive_eof(self)
    cdef bint _advance(self, list events) except -1
    cdef bint _read_head(self, list events) except -1
    @cython.locals(body=BodyReader)
    cdef object _read_body(self, list events)
    @cython.locals(early=cython.Py_ssize_t)
    cdef object _settle(self, list events)
    cdef object _after_eof(self, list events)
    cdef object _their_end(self)
    @cython.locals(whole=bint)
    cdef object _our_end(self)
    cdef object _finish(self)
    cdef object _tunnel(self)
    cdef object _fail(self, int status, str reason, str counter, list events)
    cdef object _refuse(self, int status, str reason, str counter)
    cdef object _lost(self, str reason, list events)
    cdef object _die(self)
