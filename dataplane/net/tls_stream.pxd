cimport cython

from dataplane.net.poller cimport Poller
from dataplane.net.stream cimport Receiver, Stream
from dataplane.net.system cimport Kernel

cdef Py_ssize_t _RECORD
cdef Py_ssize_t _BATCH
cdef Py_ssize_t _SLICE

cdef class TlsStream(Stream):
    cdef object _ssl
    cdef object _incoming
    cdef object _outgoing
    cdef object _setup
    cdef bytes _sealed
    cdef Py_ssize_t _sealed_at
    cdef Py_ssize_t _plain
    cdef bytes _held
    cdef Py_ssize_t _held_at
    cdef bint _handshaking
    cdef bint _notified

    @cython.locals(known="unsigned int")
    cpdef object take_over(self, Stream stream, bytes first)
    @cython.locals(wanting=bint)
    cdef object _handshake(self)
    cdef object _agreed(self)
    cdef object _refuse(self, str reason, str detail)
    cdef object _hold(self, bytes data)
    @cython.locals(data=bytes, size=Py_ssize_t, at=Py_ssize_t)
    cdef object _decrypt(self)
    @cython.locals(data=bytes)
    cdef bint _records(self) except -1
    cdef object _close_notified(self)
    @cython.locals(kernel=Kernel, sent=Py_ssize_t)
    cpdef object flush(self)
    @cython.locals(chunks=list, size=Py_ssize_t)
    cdef bint _seal(self) except -1
    @cython.locals(chunks=list, count=Py_ssize_t, size=Py_ssize_t, total=Py_ssize_t, batch=bytes)
    cdef bytes _join(self)
    cdef bint _notify(self) except -1
