# cython: language_level=3
"""The TLS state of one connection, without a socket of its own; `tls_engine.py` beside this is its plain twin.

Where `openssl` found Python's own, contexts, handshake and certificates are Python's, and records go by
direct calls: ciphertext is read where the kernel put it and sent from where it was encrypted, with no object made for
either. Elsewhere all goes through `ssl`, as in the twin. In, out, and what is refused: as there.
"""

import contextlib

from dataplane.net import tls_library

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free
from libc.string cimport memcpy

from dataplane.net.openssl cimport (
    BATCH,
    ERR_clear_error,
    ERR_peek_last_error,
    ERR_reason_error_string,
    RECORD,
    SSL_CTX_set_ciphersuites,
    SSL_get_error,
    SSL_read,
    SSL_shutdown,
    SSL_write,
    WANT_READ,
    ZERO_RETURN,
    Ciphertext,
    append,
    attach,
    detach,
    linked,
    of_context,
    sealed,
)
from dataplane.net.system cimport Kernel

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** string, Py_ssize_t size) except -1
    PyObject* PyBytes_New "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL

cdef extern from "sys/socket.h" nogil:
    int MSG_NOSIGNAL, MSG_DONTWAIT
    ssize_t c_send "send"(int fd, const void* buf, size_t size, int flags)

DONE = 1
MORE = 0
FAILED = -1

cdef enum:
    SLICE = 16384
    LONGEST = 5 + 16384 + 256
    HEADER = 5

cdef char[RECORD] _gathered
cdef char[RECORD] _plain

SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""AES-128 first: as strong as the P-256 keys beside it, and cheaper."""


cdef class TlsEngine:
    """One side of a TLS connection."""

    def __init__(self, context, bint server_side, server_name):
        self._incoming = tls_library.MemoryBIO()
        self._outgoing = tls_library.MemoryBIO()
        self._ssl = tls_library.connection(context, self._incoming, self._outgoing, server_side, server_name)
        self._source = b""
        self.error = ""
        if linked:
            self._go_direct()

    def _go_direct(self):
        """Put our own ends on OpenSSL's connection."""
        attach(self._ssl, &self._ciphertext, &self._ends)
        self._incoming = self._outgoing = None
        self.direct = True

    def __dealloc__(self):
        if self.direct:
            detach(&self._ends)
        free(self._ciphertext.out)

    # --- receiving ----------------------------------------------------------------------------------------------------

    cpdef object take(self, Kernel kernel, Py_ssize_t size):
        """Read from what the kernel's buffer holds now; whoever stops reading early must `keep`."""
        if self.direct:
            self._follow(kernel._buffer, size)
            self._ciphertext.data = kernel._buffer
            self._ciphertext.left = size
        else:
            self.read_from(PyBytes_FromStringAndSize(kernel._buffer, size))

    cpdef object read_from(self, bytes data):
        """Read from these bytes."""
        self._follow(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self._hold(data)

    cdef void _follow(self, const char* data, Py_ssize_t size) noexcept:
        """Keep count of where records end (RFC 8446, section 5.1: a type, a version, and two bytes of length)."""
        cdef Py_ssize_t at = 0, step
        while at < size:
            if self._head == HEADER:
                step = min(self._owed, size - at)
                self._owed -= step
                at += step
            else:
                if self._head >= HEADER - 2:
                    self._owed = self._owed << 8 | <unsigned char>data[at]
                self._head += 1
                at += 1
            if self._head == HEADER and self._owed == 0:
                self._head = 0

    cdef object _hold(self, bytes data):
        self._source = data
        self._ciphertext.data = PyBytes_AS_STRING(data)
        self._ciphertext.left = PyBytes_GET_SIZE(data)

    cpdef object keep(self):
        """Make what is left to read our own, before the kernel's buffer is used again."""
        if self.direct and self._ciphertext.left:
            self._hold(PyBytes_FromStringAndSize(self._ciphertext.data, self._ciphertext.left))

    @property
    def unread(self):
        """Whether there is ciphertext left to read."""
        return self._unread()

    cdef bint _unread(self):
        return self._ciphertext.left > 0 or (not self.direct and self._incoming.pending > 0)

    @property
    def unopened(self):
        """Bytes of ciphertext that are here and not decrypted, at most: of a record that is not whole, the longest there is."""
        left = self._ciphertext.left + (0 if self.direct else self._incoming.pending)
        return left or (LONGEST if self._head else 0)

    cdef bint _advance(self) except -1:
        """Feed the next slice, so that no buffer of the TLS library grows with a burst (only by way of `ssl`)."""
        cdef Py_ssize_t size = self._ciphertext.left
        if self.direct or size == 0:
            return False
        if size > SLICE:
            size = SLICE
        self._incoming.write(PyBytes_FromStringAndSize(self._ciphertext.data, size))
        self._ciphertext.data += size
        self._ciphertext.left -= size
        return True

    cpdef int handshake(self) except -2:
        """Go on with the handshake: DONE, MORE bytes needed, or FAILED."""
        cdef int outcome
        while True:
            try:
                self._ssl.do_handshake()
            except tls_library.SSLWantReadError:
                if self._advance():
                    continue
                outcome = 0
            except (tls_library.SSLError, ValueError) as problem:
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
            except tls_library.SSLWantReadError:
                if self._advance():
                    continue
                self._collect()
                return None
            except tls_library.SSLZeroReturnError:
                data = b""
            except (tls_library.SSLError, ValueError) as problem:
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
        if self._ciphertext.left == 0:
            return None
        _forget_errors()
        if self._large:
            # Of long records: straight into their bytes.
            whole = PyBytes_New(NULL, RECORD)
            size = SSL_read(self._ends.connection, PyBytes_AS_STRING(<bytes>whole), RECORD)
            self.waiting = self._ciphertext.used - self._ciphertext.begin
            if size > 0:
                if size < RECORD:
                    _PyBytes_Resize(&whole, size)
                data = <bytes>whole
                _drop(whole)
                self._large = size > 4096
                return data
            _drop(whole)
        else:
            size = SSL_read(self._ends.connection, _plain, RECORD)
            self.waiting = self._ciphertext.used - self._ciphertext.begin
            if size > 0:
                self._large = size > 4096
                return PyBytes_FromStringAndSize(_plain, size)
        self._note(size)
        return None

    cdef object _note(self, int result):
        """Find out why nothing was read or written."""
        cdef int kind = SSL_get_error(self._ends.connection, result)
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
        cdef Ciphertext* flow = &self._ciphertext
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
        sent = _send(kernel, fd, sealed, size)
        if sent < size:
            done = sent if sent > 0 else 0
            append(flow, sealed + done, size - done)
        self.waiting = flow.used
        return sent

    cdef bint _encrypt(self, list chunks, Py_ssize_t offset) except -1:
        """Make full records: of long pieces where they lie, of short ones gathered."""
        cdef Py_ssize_t index = 0, count = len(chunks), gathered = 0, part, left, taken = 0
        cdef bytes chunk
        cdef int result
        _forget_errors()
        while index < count and taken + gathered < BATCH:
            chunk = <bytes>chunks[index]
            left = PyBytes_GET_SIZE(chunk) - offset
            if gathered == 0 and left >= RECORD:
                result = SSL_write(self._ends.connection, PyBytes_AS_STRING(chunk) + offset, RECORD)
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
                    result = SSL_write(self._ends.connection, _gathered, RECORD)
                    if result <= 0:
                        self._note(result)
                        return False
                    taken += RECORD
                    gathered = 0
            if left == 0:
                index += 1
                offset = 0
        if gathered:
            result = SSL_write(self._ends.connection, _gathered, <int>gathered)
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
        except (tls_library.SSLError, ValueError) as problem:
            self.error = words(problem)

    cpdef Py_ssize_t send(self, Kernel kernel, int fd) except -2:
        """Send what is `waiting`; returns as `Kernel.send`."""
        cdef Ciphertext* flow = &self._ciphertext
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
            _forget_errors()
            SSL_shutdown(self._ends.connection)
        else:
            with contextlib.suppress(tls_library.SSLError, ValueError):
                self._ssl.shutdown()
        self._collect()

    cdef object _collect(self):
        """See what OpenSSL wants to send."""
        cdef bytes data
        if not self.direct and self._outgoing.pending:
            data = self._outgoing.read()
            append(&self._ciphertext, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.waiting = self._ciphertext.used - self._ciphertext.begin

    # --- who is there -------------------------------------------------------------------------------------------------

    cpdef object certificate(self):
        """The peer's certificate as `ssl` tells it."""
        return self._ssl.getpeercert()

    cpdef str alpn(self):
        """The protocol agreed on, or nothing."""
        return self._ssl.selected_alpn_protocol() or ""


cdef extern from "Python.h":
    void _drop "Py_DECREF"(PyObject* value)


cdef inline void _forget_errors() noexcept:
    """Have the next error be the next call's own. Clearing goes through all sixteen places there are, and hardly ever is anything there."""
    if ERR_peek_last_error():
        ERR_clear_error()


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
    if linked:
        SSL_CTX_set_ciphersuites(of_context(context), SUITES)


def words(problem):
    """What OpenSSL says, without its source line."""
    return str(problem).split(" (_ssl.c", maxsplit=1)[0]
