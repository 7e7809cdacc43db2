from dataplane.net.openssl cimport Ciphertext, Ends
from dataplane.net.system cimport Kernel

cdef class TlsEngine:
    cdef readonly bint direct
    cdef readonly str error
    cdef readonly bint ended
    cdef readonly Py_ssize_t waiting
    cdef readonly Py_ssize_t taken
    cdef Ciphertext _ciphertext
    cdef Ends _ends
    cdef bint _large
    cdef int _head
    cdef Py_ssize_t _owed
    cdef object _ssl
    cdef object _incoming
    cdef object _outgoing
    cdef bytes _source

    cpdef object take(self, Kernel kernel, Py_ssize_t size)
    cpdef object read_from(self, bytes data)
    cdef void _follow(self, const char* data, Py_ssize_t size) noexcept
    cdef object _hold(self, bytes data)
    cpdef object keep(self)
    cdef bint _unread(self)
    cdef bint _advance(self) except -1
    cpdef int handshake(self) except -2
    cpdef bytes read(self)
    cdef bytes _read_direct(self)
    cpdef Py_ssize_t seal(self, Kernel kernel, int fd, list chunks, Py_ssize_t offset) except -2
    cdef bint _encrypt(self, list chunks, Py_ssize_t offset) except -1
    cpdef Py_ssize_t send(self, Kernel kernel, int fd) except -2
    cpdef object notify(self)
    cdef object _collect(self)
    cdef object _note(self, int result)
    cpdef object certificate(self)
    cpdef str alpn(self)
