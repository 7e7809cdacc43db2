"""The TLS state of one connection, without a socket of its own; `tls_engine.pyx` beside this is its compiled twin.

In: ciphertext just received (`take`) or read earlier (`read_from`), plaintext to send. Out: records of plaintext by `read`, and
ciphertext handed to the kernel by `seal` and `send`. Refuses what OpenSSL refuses: `error` then says why. Neither
direction keeps more than a few records; what the kernel did not take at once is `waiting`.
"""

import contextlib
from typing import Any, Final

from dataplane.net import tls_library
from dataplane.net.system import Kernel
from dataplane.net.tls_library import Context

DONE: Final = 1
MORE: Final = 0
FAILED: Final = -1

_RECORD = 16384
_LONGEST = 5 + 16384 + 256
_HEADER = 5
_BATCH = 65536
_SLICE = 16384


class TlsEngine:
    """One side of a TLS connection."""

    def __init__(self, context: Context, server_side: bool, server_name: str | None) -> None:
        self._incoming = tls_library.MemoryBIO()
        self._outgoing = tls_library.MemoryBIO()
        self._ssl = tls_library.connection(context, self._incoming, self._outgoing, server_side, server_name)
        self._source = b""
        self._at = 0
        self._rest = b""
        self._head = 0
        """Bytes of the header of the record that is coming; 0 between records."""
        self._owed = 0
        """How much is to come of it: its length, as far as the header is here, and then what is left of that."""
        self.direct = False
        """Whether OpenSSL is called without Python's `ssl` in between (the compiled twin, where it can)."""
        self.error = ""
        self.ended = False
        """The peer said that nothing more comes (close_notify)."""
        self.waiting = 0
        """Bytes of ciphertext the kernel has not taken."""
        self.taken = 0
        """Bytes of plaintext the last `seal` encrypted."""

    # --- receiving ----------------------------------------------------------------------------------------------------

    def take(self, kernel: Kernel, size: int) -> None:  # noqa: ARG002 - the compiled twin needs it
        """Read from what the kernel's buffer holds now; whoever stops reading early must `keep`."""
        self.read_from(kernel.filled)

    def read_from(self, data: bytes) -> None:
        """Read from these bytes."""
        self._follow(data)
        self._source = data
        self._at = 0

    def _follow(self, data: bytes) -> None:
        """Keep count of where records end (RFC 8446, section 5.1: a type, a version, and two bytes of length)."""
        at = 0
        while at < len(data):
            if self._head == _HEADER:
                step = min(self._owed, len(data) - at)
                self._owed -= step
                at += step
            else:
                if self._head >= _HEADER - 2:
                    self._owed = self._owed << 8 | data[at]
                self._head += 1
                at += 1
            if self._head == _HEADER and self._owed == 0:
                self._head = 0

    def keep(self) -> None:
        """Make what is left to read our own, before the kernel's buffer is used again."""

    @property
    def unread(self) -> bool:
        """Whether there is ciphertext left to read."""
        return self._at < len(self._source) or self._incoming.pending > 0

    @property
    def unopened(self) -> int:
        """Bytes of ciphertext that are here and not decrypted, at most: of a record that is not whole, the longest there is."""
        left = len(self._source) - self._at + self._incoming.pending
        return left or (_LONGEST if self._head else 0)

    def _advance(self) -> bool:
        """Feed the next slice, so that no buffer of the TLS library grows with a burst."""
        size = len(self._source)
        if self._at >= size:
            return False
        end = min(self._at + _SLICE, size)
        self._incoming.write(memoryview(self._source)[self._at : end])
        self._at = end
        if end == size:
            self._source = b""
            self._at = 0
        return True

    def handshake(self) -> int:
        """Go on with the handshake: DONE, MORE bytes needed, or FAILED."""
        while True:
            try:
                self._ssl.do_handshake()
            except tls_library.SSLWantReadError:
                if self._advance():
                    continue
                outcome = MORE
            except (tls_library.SSLError, ValueError) as problem:
                self.error = words(problem)
                outcome = FAILED
            else:
                outcome = DONE
            self._collect()
            return outcome

    def read(self) -> bytes | None:
        """Return the next plaintext, None when there is none: for want of bytes, at the end, or on an `error`."""
        while True:
            if self._incoming.pending == 0 and not self._advance():
                return None
            try:
                data: bytes = self._ssl.read(_RECORD)
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

    # --- sending ------------------------------------------------------------------------------------------------------

    def seal(self, kernel: Kernel, fd: int, chunks: list[bytes], offset: int) -> int:
        """Encrypt a batch from the front of a queue (`taken`) and send it; returns as `Kernel.send`, or -1 on an `error`."""
        size = len(chunks[0]) - offset
        count = 1
        while count < len(chunks) and size < _BATCH:
            size += len(chunks[count])
            count += 1
        pieces: list[bytes | memoryview] = [memoryview(chunks[0])[offset:], *chunks[1:count]]
        batch = memoryview(b"".join(pieces))[:_BATCH]
        self.taken = len(batch)
        try:
            self._ssl.write(batch)
        except (tls_library.SSLError, ValueError) as problem:
            self.error = words(problem)
            return -1
        self._collect()
        return self.send(kernel, fd)

    def send(self, kernel: Kernel, fd: int) -> int:
        """Send what is `waiting`; returns as `Kernel.send`."""
        sent = kernel.send(fd, self._rest, 0)
        if sent > 0:
            self._rest = self._rest[sent:]
            self.waiting = len(self._rest)
        return sent

    def notify(self) -> None:
        """Say that nothing more comes from us (close_notify)."""
        # What it raises only says that the peer's own close_notify is not here yet (RFC 8446, section 6.1).
        with contextlib.suppress(tls_library.SSLError, ValueError):
            self._ssl.shutdown()
        self._collect()

    def _collect(self) -> None:
        if self._outgoing.pending:
            self._rest += self._outgoing.read()
            self.waiting = len(self._rest)

    # --- who is there -------------------------------------------------------------------------------------------------

    def certificate(self) -> dict[str, Any] | None:
        """The peer's certificate as `ssl` tells it."""
        told: dict[str, Any] | None = self._ssl.getpeercert()
        return told

    def alpn(self) -> str:
        """The protocol agreed on, or nothing."""
        return self._ssl.selected_alpn_protocol() or ""


def prepare(context: Context) -> None:
    """Make a new context prefer the cheaper cipher, where that can be said."""


def words(problem: Exception) -> str:
    """What OpenSSL says, without its source line."""
    return str(problem).split(" (_ssl.c", maxsplit=1)[0]
