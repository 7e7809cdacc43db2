cimport cython

from dataplane.protocol.events cimport Data, Event, Trailers
from dataplane.protocol.http1.scan cimport HeadScanner

cdef int _NONE, _LENGTH, _CHUNKED, _TO_EOF, _TUNNEL, _SIZE, _BYTES, _LINE_END, _TRAILERS

cdef class BodyReader:
    cdef Py_ssize_t _extensions
    cdef Py_ssize_t _limit
    cdef HeadScanner _scanner
    cdef Py_ssize_t _searched
    cdef int _state
    cdef public str counter
    cdef public bint done
    cdef public bint failed
    cdef public long long left
    cdef public int mode
    cdef public str reason
    cdef public int status
    cdef public long stream

    @cython.locals(scanner=HeadScanner)
    cpdef object begin(self, long stream, int missing)
    cpdef object start(self, long stream, int mode, long long length=*)
    @cython.locals(n=cython.Py_ssize_t, moved=cython.Py_ssize_t, state=int)
    cpdef Py_ssize_t read(self, bytes data, Py_ssize_t pos, list events) except -2
    cpdef bint end_of_input(self, list events) except -1
    @cython.locals(state=int)
    cpdef long long least(self)
    cdef int _fail(self, int status, str reason, str counter) except -2
    @cython.locals(p="const unsigned char*", there="long long", ended=bint)
    cdef Py_ssize_t _take(self, bytes data, Py_ssize_t pos, Py_ssize_t n, list events, bint last) except -2
    @cython.locals(event=Event, last=Data)
    cdef object _finish(self, list events)
    @cython.locals(p="const unsigned char*", digits=bytes, values=bytes, hexes="const unsigned char*", text="const unsigned char*",
                   i=cython.Py_ssize_t, start=cython.Py_ssize_t, extension=cython.Py_ssize_t,
                   size="long long")
    cdef Py_ssize_t _size_line(self, bytes data, Py_ssize_t pos, Py_ssize_t n) except -2
    @cython.locals(p="const unsigned char*")
    cdef Py_ssize_t _line_end(self, bytes data, Py_ssize_t pos, Py_ssize_t n) except -2
    @cython.locals(p="const unsigned char*", end=cython.Py_ssize_t, scanner=HeadScanner)
    cdef Py_ssize_t _trailer_part(self, bytes data, Py_ssize_t pos, Py_ssize_t n, list events) except -2
