# cython: language_level=3
"""The TLS state of one connection, without a socket of its own; `tls_engine.py` beside this is its plain twin.

Where Python's `ssl` stands on a shared OpenSSL 3, contexts, handshake and certificates are Python's, and records go by
direct calls: ciphertext is read where the kernel put it and sent from where it was encrypted, with no object made for
either. Elsewhere all goes through `ssl`, as in the twin. In, out, and what is refused: as there.
"""

import contextlib
import ssl
import sys

import _ssl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from dataplane.net.system cimport Kernel

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** string, Py_ssize_t size) except -1
    PyObject* PyBytes_New "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL

cdef extern from "dlfcn.h" nogil:
    void* dlopen(const char* file, int mode)
    void* dlsym(void* handle, const char* name)
    int RTLD_LAZY, RTLD_NOLOAD

cdef extern from "sys/socket.h" nogil:
    int MSG_NOSIGNAL, MSG_DONTWAIT
    ssize_t c_send "send"(int fd, const void* buf, size_t size, int flags)

DONE = 1
MORE = 0
FAILED = -1

cdef enum:
    RECORD = 16384
    BATCH = 65536
    SLICE = 16384
    # A batch, in records as short as a peer may ask for (512 bytes: RFC 6066, section 4), each with header, padding and tag.
    SEALED = 65536 + 128 * 96
    WANT_READ = 2
    ZERO_RETURN = 6
    RETRY_READ = 0x01 | 0x08
    CTRL_FLUSH = 11

cdef char[SEALED] _sealed
cdef char[RECORD] _gathered
cdef char[RECORD] _plain

# --- OpenSSL, as `_ssl` itself is linked to it ------------------------------------------------------------------------

ctypedef int (*Transfer)(void* connection, void* data, int size) noexcept nogil
ctypedef int (*Ask)(const void* connection, int result) noexcept nogil
ctypedef int (*Act)(void* connection) noexcept nogil
ctypedef void (*Set)(void* connection, void* bio) noexcept nogil
ctypedef void (*Clear)() noexcept nogil
ctypedef unsigned long (*Code)() noexcept nogil
ctypedef const char* (*Reason)(unsigned long code) noexcept nogil
ctypedef int (*Suites)(void* connection, const char* names) noexcept nogil
ctypedef void* (*Method)(int kind, const char* name) noexcept nogil
ctypedef void* (*New)(void* method) noexcept nogil
ctypedef void* (*Get)(void* bio) noexcept nogil
ctypedef void (*Number)(void* bio, int value) noexcept nogil
ctypedef int (*Install)(void* method, void* function) noexcept nogil

cdef Transfer SSL_read, SSL_write
cdef Ask SSL_get_error
cdef Act SSL_shutdown, BIO_up_ref, BIO_free
cdef Set SSL_set0_rbio, SSL_set0_wbio, BIO_set_data
cdef Clear ERR_clear_error
cdef Code ERR_peek_last_error
cdef Reason ERR_reason_error_string
cdef Suites SSL_CTX_set_ciphersuites
cdef Get BIO_get_data
cdef New BIO_new
cdef Number BIO_set_flags, BIO_clear_flags, BIO_set_init
cdef void* _reading = NULL
cdef void* _writing = NULL

SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""AES-128 first: as strong as the P-256 keys beside it, and cheaper."""


cdef int _bio_read(void* bio, char* target, int size) noexcept nogil:
    cdef Flow* flow = <Flow*>BIO_get_data(bio)
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


cdef int _bio_write(void* bio, const char* data, int size) noexcept nogil:
    cdef Flow* flow = <Flow*>BIO_get_data(bio)
    cdef char* grown
    cdef Py_ssize_t room
    BIO_clear_flags(bio, 0x0f)
    if flow == NULL:
        return -1
    if flow.batching and flow.used + size <= SEALED:
        memcpy(_sealed + flow.used, data, size)
        flow.used += size
        return size
    if flow.batching:
        return -1
    if flow.used + size > flow.room:
        room = flow.used + size + 1024
        grown = <char*>realloc(flow.out, room)
        if grown == NULL:
            return -1
        flow.out = grown
        flow.room = room
    memcpy(flow.out + flow.used, data, size)
    flow.used += size
    return size


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
    if ssl.OPENSSL_VERSION_INFO[0] != 3 or not getattr(_ssl, "__file__", None):
        return False
    file = _ssl.__file__.encode()
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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    probe = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    inner = probe._sslobj
    cdef char* connection = <char*><void*>inner
    cdef char* owner = <char*><void*>context
    cdef void* raw = (<void**>(connection + sizeof(PyObject) + sizeof(void*)))[0]
    return context_of != NULL and raw != NULL and context_of(raw) == (<void**>(owner + sizeof(PyObject)))[0]


cdef bint _direct = _link()


cdef class Engine:
    """One side of a TLS connection."""

    def __init__(self, context, bint server_side, server_name):
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        self._held = b""
        self.error = ""
        if _direct:
            self._go_direct()

    def _go_direct(self):
        """Put our own ends on OpenSSL's connection."""
        inner = self._ssl._sslobj
        cdef char* start = <char*><void*>inner
        self._raw = (<void**>(start + sizeof(PyObject) + sizeof(void*)))[0]
        self._rbio = BIO_new(_reading)
        self._wbio = BIO_new(_writing)
        if self._raw == NULL or self._rbio == NULL or self._wbio == NULL:
            raise MemoryError
        BIO_set_data(self._rbio, &self._flow)
        BIO_set_data(self._wbio, &self._flow)
        BIO_set_init(self._rbio, 1)
        BIO_set_init(self._wbio, 1)
        # One reference each is the connection's, which the collector may free before us, and one is ours.
        BIO_up_ref(self._rbio)
        BIO_up_ref(self._wbio)
        SSL_set0_rbio(self._raw, self._rbio)
        SSL_set0_wbio(self._raw, self._wbio)
        self._incoming = self._outgoing = None
        self.direct = True

    def __dealloc__(self):
        if self.direct:
            BIO_set_data(self._rbio, NULL)
            BIO_set_data(self._wbio, NULL)
            BIO_free(self._rbio)
            BIO_free(self._wbio)
        free(self._flow.out)

    # --- receiving ----------------------------------------------------------------------------------------------------

    cpdef object take(self, Kernel kernel, Py_ssize_t size):
        """Read from what the kernel's buffer holds now; whoever stops reading early must `keep`."""
        if self.direct:
            self._flow.data = kernel._buffer
            self._flow.left = size
        else:
            self.hold(PyBytes_FromStringAndSize(kernel._buffer, size))

    cpdef object hold(self, bytes data):
        """Read from these bytes."""
        self._held = data
        self._flow.data = PyBytes_AS_STRING(data)
        self._flow.left = PyBytes_GET_SIZE(data)

    cpdef object keep(self):
        """Make what is left to read our own, before the kernel's buffer is used again."""
        if self.direct and self._flow.left:
            self.hold(PyBytes_FromStringAndSize(self._flow.data, self._flow.left))

    @property
    def holding(self):
        """Whether there is ciphertext left to read."""
        return self._holding()

    cdef bint _holding(self):
        return self._flow.left > 0 or (not self.direct and self._incoming.pending > 0)

    cdef bint _advance(self) except -1:
        """Feed the next slice, so that no buffer of the TLS library grows with a burst (only by way of `ssl`)."""
        cdef Py_ssize_t size = self._flow.left
        if self.direct or size == 0:
            return False
        if size > SLICE:
            size = SLICE
        self._incoming.write(PyBytes_FromStringAndSize(self._flow.data, size))
        self._flow.data += size
        self._flow.left -= size
        return True

    cpdef int handshake(self) except -2:
        """Go on with the handshake: DONE, MORE bytes needed, or FAILED."""
        cdef int outcome
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                if self._advance():
                    continue
                outcome = 0
            except (ssl.SSLError, ValueError) as problem:
                self.error = words(problem)
                outcome = -1
            else:
                outcome = 1
            self._collect()
            return outcome

    cpdef bytes read(self):
        """Return the next plaintext, None when there is none: for want of bytes, at the end, or on an `error`."""
        if self.direct:
            return self._read_direct()
        while True:
            if self._incoming.pending == 0 and not self._advance():
                return None
            try:
                data = self._ssl.read(RECORD)
            except ssl.SSLWantReadError:
                if self._advance():
                    continue
                self._collect()
                return None
            except ssl.SSLZeroReturnError:
                data = b""
            except (ssl.SSLError, ValueError) as problem:
                self.error = words(problem)
                self._collect()
                return None
            if not data:
                self.ended = True
                return None
            return data

    cdef bytes _read_direct(self):
        cdef PyObject* whole
        cdef int size
        cdef bytes data
        if self._flow.left == 0:
            return None
        ERR_clear_error()
        if self._large:
            # Of long records: straight into their bytes.
            whole = PyBytes_New(NULL, RECORD)
            size = SSL_read(self._raw, PyBytes_AS_STRING(<bytes>whole), RECORD)
            self.waiting = self._flow.used - self._flow.begin
            if size > 0:
                if size < RECORD:
                    _PyBytes_Resize(&whole, size)
                data = <bytes>whole
                _drop(whole)
                self._large = size > 4096
                return data
            _drop(whole)
        else:
            size = SSL_read(self._raw, _plain, RECORD)
            self.waiting = self._flow.used - self._flow.begin
            if size > 0:
                self._large = size > 4096
                return PyBytes_FromStringAndSize(_plain, size)
        self._note(size)
        return None

    cdef object _note(self, int result):
        """Find out why nothing was read or written."""
        cdef int kind = SSL_get_error(self._raw, result)
        cdef const char* reason
        if kind == WANT_READ:
            return
        if kind == ZERO_RETURN:
            self.ended = True
            return
        reason = ERR_reason_error_string(ERR_peek_last_error())
        self.error = (<bytes>reason).decode() if reason != NULL else "the connection broke off"

    # --- sending ------------------------------------------------------------------------------------------------------

    cpdef Py_ssize_t seal(self, Kernel kernel, int fd, list chunks, Py_ssize_t offset) except -2:
        """Encrypt a batch from the front of a queue (`taken`) and send it; returns as `Kernel.send`, or -1 on an `error`."""
        cdef Flow* flow = &self._flow
        cdef Py_ssize_t size, sent, done
        self.taken = 0
        if not self.direct:
            self._encrypt_by_ssl(chunks, offset)
            if self.error:
                return -1
            self._collect()
            return self.send(kernel, fd)
        flow.batching = True
        flow.begin = flow.used = 0
        self._encrypt(chunks, offset)
        flow.batching = False
        size = flow.used
        flow.used = 0
        if self.error:
            return -1
        sent = _send(kernel, fd, _sealed, size)
        if sent < size:
            done = sent if sent > 0 else 0
            _append(flow, _sealed + done, size - done)
        self.waiting = flow.used
        return sent

    cdef bint _encrypt(self, list chunks, Py_ssize_t offset) except -1:
        """Make full records: of long pieces where they lie, of short ones gathered."""
        cdef Py_ssize_t index = 0, count = len(chunks), gathered = 0, part, left, taken = 0
        cdef bytes chunk
        cdef int result
        ERR_clear_error()
        while index < count and taken + gathered < BATCH:
            chunk = <bytes>chunks[index]
            left = PyBytes_GET_SIZE(chunk) - offset
            if gathered == 0 and left >= RECORD:
                result = SSL_write(self._raw, PyBytes_AS_STRING(chunk) + offset, RECORD)
                if result <= 0:
                    self._note(result)
                    return False
                taken += RECORD
                offset += RECORD
                left -= RECORD
            else:
                part = RECORD - gathered
                if part > left:
                    part = left
                memcpy(_gathered + gathered, PyBytes_AS_STRING(chunk) + offset, part)
                gathered += part
                offset += part
                left -= part
                if gathered == RECORD:
                    result = SSL_write(self._raw, _gathered, RECORD)
                    if result <= 0:
                        self._note(result)
                        return False
                    taken += RECORD
                    gathered = 0
            if left == 0:
                index += 1
                offset = 0
        if gathered:
            result = SSL_write(self._raw, _gathered, <int>gathered)
            if result <= 0:
                self._note(result)
                return False
            taken += gathered
        self.taken = taken
        return True

    def _encrypt_by_ssl(self, list chunks, Py_ssize_t offset):
        pieces = [memoryview(chunks[0])[offset:]]
        size = len(pieces[0])
        for chunk in chunks[1:]:
            if size >= BATCH:
                break
            pieces.append(chunk)
            size += len(chunk)
        batch = memoryview(b"".join(pieces))[:BATCH]
        self.taken = len(batch)
        try:
            self._ssl.write(batch)
        except (ssl.SSLError, ValueError) as problem:
            self.error = words(problem)

    cpdef Py_ssize_t send(self, Kernel kernel, int fd) except -2:
        """Send what is `waiting`; returns as `Kernel.send`."""
        cdef Flow* flow = &self._flow
        cdef Py_ssize_t sent = _send(kernel, fd, flow.out + flow.begin, flow.used - flow.begin)
        if sent > 0:
            flow.begin += sent
            self.waiting = flow.used - flow.begin
            if self.waiting == 0:
                flow.begin = flow.used = flow.room = 0
                free(flow.out)
                flow.out = NULL
        return sent

    cpdef object notify(self):
        """Say that nothing more comes from us (close_notify)."""
        if self.direct:
            # Once: the second call would wait for the peer's own close_notify (RFC 8446, section 6.1: each side its own).
            ERR_clear_error()
            SSL_shutdown(self._raw)
        else:
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._ssl.unwrap()
        self._collect()

    cdef object _collect(self):
        """See what OpenSSL wants to send."""
        cdef bytes data
        if not self.direct and self._outgoing.pending:
            data = self._outgoing.read()
            _append(&self._flow, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.waiting = self._flow.used - self._flow.begin

    # --- who is there -------------------------------------------------------------------------------------------------

    cpdef object certificate(self):
        """The peer's certificate as `ssl` tells it."""
        return self._ssl.getpeercert()

    cpdef str alpn(self):
        """The protocol agreed on, or nothing."""
        return self._ssl.selected_alpn_protocol() or ""


cdef extern from "Python.h":
    void _drop "Py_DECREF"(PyObject* value)


cdef bint _append(Flow* flow, const char* data, Py_ssize_t size) except -1:
    cdef char* grown
    if flow.used + size > flow.room:
        grown = <char*>realloc(flow.out, flow.used + size + 1024)
        if grown == NULL:
            raise MemoryError
        flow.out = grown
        flow.room = flow.used + size + 1024
    memcpy(flow.out + flow.used, data, size)
    flow.used += size
    return True


cdef Py_ssize_t _send(Kernel kernel, int fd, const char* data, Py_ssize_t size) noexcept:
    cdef ssize_t sent
    while True:
        sent = c_send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent >= 0:
            return sent
        if errno != EINTR:
            break
    kernel.error = 0 if errno == EAGAIN else errno
    return -1


def prepare(context):
    """Make a new context prefer the cheaper cipher, where that can be said."""
    if _direct:
        SSL_CTX_set_ciphersuites((<void**>(<char*><void*>context + sizeof(PyObject)))[0], SUITES)


def words(problem):
    """What OpenSSL says, without its source line."""
    return str(problem).split(" (_ssl.c", maxsplit=1)[0]
