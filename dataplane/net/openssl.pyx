# cython: language_level=3
"""Python's own OpenSSL, called directly: found where `_ssl` has it from, with our own ends on its connections.

In: an object of `ssl`. Out: C functions, and a connection that reads ciphertext where we point and writes it where we
send from. Where the layout is not one known here, `linked` is False and nobody may call any of it. It has no plain twin,
for the plain `tls_engine.py` does without (decision 0011).
"""

import sys

from dataplane.net import tls_library

from cpython.object cimport PyObject
from libc.stdlib cimport realloc
from libc.string cimport memcpy

cdef extern from "dlfcn.h" nogil:
    void* dlopen(const char* file, int mode)
    void* dlsym(void* handle, const char* name)
    int RTLD_LAZY, RTLD_NOLOAD

cdef enum:
    RETRY_READ = 0x01 | 0x08
    CTRL_FLUSH = 11

cdef char[SEALED] _sealed
sealed = _sealed

cdef Act BIO_up_ref, BIO_free
cdef Set SSL_set0_rbio, SSL_set0_wbio, BIO_set_data
cdef Get BIO_get_data
cdef New BIO_new
cdef Number BIO_set_flags, BIO_clear_flags, BIO_set_init
cdef void* _reading = NULL
cdef void* _writing = NULL


cdef int _bio_read(void* bio, char* target, int size) noexcept nogil:
    cdef Ciphertext* flow = <Ciphertext*>BIO_get_data(bio)
    BIO_clear_flags(bio, 0x0f)
    if flow == NULL or flow.left == 0:
        BIO_set_flags(bio, RETRY_READ)
        return -1
    if size > flow.left:
        size = <int>flow.left
    memcpy(target, flow.data, size)
    flow.data += size
    flow.left -= size
    return size


cdef bint _put(Ciphertext* flow, const char* data, Py_ssize_t size) noexcept nogil:
    """Write behind what is there, in memory that grows with it; False where there is no more."""
    cdef char* grown
    cdef Py_ssize_t room
    if flow.used + size > flow.room:
        room = flow.used + size + 1024
        grown = <char*>realloc(flow.out, room)
        if grown == NULL:
            return False
        flow.out = grown
        flow.room = room
    memcpy(flow.out + flow.used, data, size)
    flow.used += size
    return True


cdef int _bio_write(void* bio, const char* data, int size) noexcept nogil:
    cdef Ciphertext* flow = <Ciphertext*>BIO_get_data(bio)
    BIO_clear_flags(bio, 0x0f)
    if flow == NULL:
        return -1
    if flow.batching and flow.used + size <= SEALED:
        memcpy(sealed + flow.used, data, size)
        flow.used += size
        return size
    if flow.batching:
        return -1
    return size if _put(flow, data, size) else -1


cdef long _bio_ctrl(void* bio, int command, long number, void* pointer) noexcept nogil:
    return 1 if command == CTRL_FLUSH else 0


cdef bint _link():
    """Find OpenSSL's functions where `_ssl` has them from; False where that is not the layout known here."""
    global SSL_read, SSL_write, SSL_get_error, SSL_shutdown, SSL_set0_rbio, SSL_set0_wbio, BIO_set_data, ERR_clear_error
    global ERR_peek_last_error, ERR_reason_error_string, SSL_CTX_set_ciphersuites, BIO_get_data, BIO_new, BIO_set_flags
    global BIO_clear_flags, BIO_set_init, BIO_up_ref, BIO_free, _reading, _writing
    cdef void* handle
    cdef void* found[20]
    cdef Method meth_new
    cdef Install set_read, set_write, set_ctrl
    cdef int i
    # The first fields of `_ssl._SSLSocket` (weak reference, SSL*) have been these in all of the versions named.
    if sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info[:2] <= (3, 14) or hasattr(sys, "abiflags") and "t" in sys.abiflags:
        return False
    if tls_library.OPENSSL_VERSION_INFO[0] != 3 or not tls_library.FILE:
        return False
    file = tls_library.FILE.encode()
    handle = dlopen(file, RTLD_LAZY | RTLD_NOLOAD)
    if handle == NULL:
        return False
    names = [
        b"SSL_read", b"SSL_write", b"SSL_get_error", b"SSL_shutdown", b"SSL_set0_rbio", b"SSL_set0_wbio",
        b"BIO_set_data", b"ERR_clear_error", b"ERR_peek_last_error", b"ERR_reason_error_string",
        b"SSL_CTX_set_ciphersuites", b"BIO_get_data", b"BIO_new", b"BIO_set_flags", b"BIO_clear_flags", b"BIO_set_init",
        b"BIO_meth_new", b"BIO_meth_set_read", b"BIO_up_ref", b"BIO_free",
    ]
    for i in range(20):
        found[i] = dlsym(handle, names[i])
        if found[i] == NULL:
            return False
    SSL_read, SSL_write = <Transfer>found[0], <Transfer>found[1]
    SSL_get_error, SSL_shutdown = <Ask>found[2], <Act>found[3]
    SSL_set0_rbio, SSL_set0_wbio, BIO_set_data = <Set>found[4], <Set>found[5], <Set>found[6]
    ERR_clear_error, ERR_peek_last_error = <Clear>found[7], <Code>found[8]
    ERR_reason_error_string, SSL_CTX_set_ciphersuites = <Reason>found[9], <Suites>found[10]
    BIO_get_data, BIO_new = <Get>found[11], <New>found[12]
    BIO_set_flags, BIO_clear_flags, BIO_set_init = <Number>found[13], <Number>found[14], <Number>found[15]
    meth_new, set_read = <Method>found[16], <Install>found[17]
    BIO_up_ref, BIO_free = <Act>found[18], <Act>found[19]
    set_write = <Install>dlsym(handle, b"BIO_meth_set_write")
    set_ctrl = <Install>dlsym(handle, b"BIO_meth_set_ctrl")
    if set_write == NULL or set_ctrl == NULL:
        return False
    _reading = meth_new(0x0400 | 100, b"tulle in")
    _writing = meth_new(0x0400 | 101, b"tulle out")
    if _reading == NULL or _writing == NULL:
        return False
    if not _known_layout(handle):
        return False
    set_read(_reading, <void*>_bio_read)
    set_ctrl(_reading, <void*>_bio_ctrl)
    set_write(_writing, <void*>_bio_write)
    set_ctrl(_writing, <void*>_bio_ctrl)
    return True


cdef bint _known_layout(void* handle):
    """Whether the pointers taken out of `ssl`'s objects are the ones OpenSSL itself knows."""
    cdef Get context_of = <Get>dlsym(handle, b"SSL_get_SSL_CTX")
    context = tls_library.Context(tls_library.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    inner = tls_library.connection(context, tls_library.MemoryBIO(), tls_library.MemoryBIO(), False, None)
    cdef char* connection = <char*><void*>inner
    cdef void* raw = (<void**>(connection + sizeof(PyObject) + sizeof(void*)))[0]
    return context_of != NULL and raw != NULL and context_of(raw) == of_context(context)


linked = _link()


cdef int attach(object inner, Ciphertext* ciphertext, Ends* ends) except -1:
    """Put our own ends on the connection of a `_ssl._SSLSocket`."""
    cdef char* start = <char*><void*>inner
    ends.connection = (<void**>(start + sizeof(PyObject) + sizeof(void*)))[0]
    ends.reading = BIO_new(_reading)
    ends.writing = BIO_new(_writing)
    if ends.connection == NULL or ends.reading == NULL or ends.writing == NULL:
        raise MemoryError
    BIO_set_data(ends.reading, ciphertext)
    BIO_set_data(ends.writing, ciphertext)
    BIO_set_init(ends.reading, 1)
    BIO_set_init(ends.writing, 1)
    # One reference each is the connection's, which the collector may free before us, and one is ours.
    BIO_up_ref(ends.reading)
    BIO_up_ref(ends.writing)
    SSL_set0_rbio(ends.connection, ends.reading)
    SSL_set0_wbio(ends.connection, ends.writing)
    return 0


cdef void detach(Ends* ends) noexcept:
    """Let go of what `attach` made; the connection may live on, and finds nothing there."""
    BIO_set_data(ends.reading, NULL)
    BIO_set_data(ends.writing, NULL)
    BIO_free(ends.reading)
    BIO_free(ends.writing)


cdef bint append(Ciphertext* ciphertext, const char* data, Py_ssize_t size) except -1:
    """Keep ciphertext that is to be sent later."""
    if not _put(ciphertext, data, size):
        raise MemoryError
    return True


cdef void* of_context(object context) noexcept:
    """The SSL_CTX of an `ssl.SSLContext`."""
    return (<void**>(<char*><void*>context + sizeof(PyObject)))[0]
