cimport cython

from dataplane.net.poller cimport Poller
from dataplane.net.receiver cimport Receiver
from dataplane.net.stream cimport Stream
from dataplane.net.system cimport Kernel
from dataplane.net.tls_engine cimport TlsEngine

cdef int _READS
cdef Py_ssize_t _UNTAKEN
cdef Py_ssize_t _CHUNK
cdef Py_ssize_t _SEALING

cdef class TlsStream(Stream):
    cdef TlsEngine _engine
    cdef object _setup
    cdef Py_ssize_t _plain
    cdef bint _handshaking
    cdef bint _notified
    cdef str _ends

    @cython.locals(known="unsigned int")
    cpdef object take_over(self, Stream stream, bytes first)
    @cython.locals(engine=TlsEngine, outcome=int)
    cdef bint _handshake(self) except -1
    cdef object _agreed(self)
    cdef object _refuse(self, str reason, str detail)
    @cython.locals(poller=Poller, kernel=Kernel, engine=TlsEngine, reads=int, size=Py_ssize_t)
    cdef object _read(self)
    @cython.locals(engine=TlsEngine, data=bytes)
    cdef bint _open_records(self) except -1
    cdef object _answer(self)
    cdef object _close_notified(self)
    @cython.locals(kernel=Kernel, engine=TlsEngine, sent=Py_ssize_t, sealed=Py_ssize_t)
    cpdef object flush(self)
