cimport cython

from dataplane.net.outlet cimport Bypass
from dataplane.net.poller cimport Poller
from dataplane.net.stream cimport Stream
from dataplane.net.system cimport Kernel

cdef Py_ssize_t _PIPE
cdef int _PULLS
cdef Py_ssize_t _SMALL
cdef int _SMALL_LIMIT

cdef class Pump(Bypass):
    cdef Stream _source
    cdef Stream _sink
    cdef Poller _poller
    cdef object _ends
    cdef int _in
    cdef int _out
    cdef int _small

    cpdef object passed(self, Py_ssize_t size)
    @cython.locals(sink=Stream, kernel=Kernel, pulls=int, moved=Py_ssize_t)
    cpdef bint pull(self) except -1
    @cython.locals(sink=Stream, kernel=Kernel, moved=Py_ssize_t)
    cpdef bint push(self) except -1
    cpdef object pushed(self)
    cpdef object stop(self)
    cdef object _judge(self, Py_ssize_t moved)
    cdef bint _borrow(self) except -1
    cdef object _give_back(self)
