"""A TCP connection through TLS, with the face of a plain one.

In: a descriptor, a `ServerTls` or `ClientTls`, and for accepted ones the bytes already read. Out: plaintext to the
receiver, `opened()` after the handshake on either side, `alpn` and `identity`. Refuses a peer that its setup refuses
(`identity_mismatch`), a handshake that is late (`tls_timeout`) or broken (`tls_failed`), and tells an end that the peer
announced (`ended`) from one that anybody could have caused (`truncated`). What a turn wrote is encrypted in one go;
neither direction holds more than a few records of ciphertext.
"""

import contextlib
import ssl
from typing import Final

from dataplane.net.poller import IN, RDHUP, Poller
from dataplane.net.reasons import CLOSED, CONNECT_TIMEOUT, IDENTITY_MISMATCH, TLS_FAILED, TLS_TIMEOUT, TRUNCATED
from dataplane.net.stream import Receiver, Stream
from dataplane.net.tls import ServerTls

HANDSHAKE_SECONDS: Final = 10.0
"""For the handshake of an accepted connection."""

_RECORD = 16384
_BATCH = 32768
_SLICE = 16384


class TlsStream(Stream):
    """One TLS connection."""

    def __init__(self, poller: Poller, fd: int, receiver: Receiver, peer: tuple[str, int], setup: ServerTls) -> None:
        super().__init__(poller, fd, receiver, peer)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = setup.begin(self._incoming, self._outgoing)
        self._setup = setup
        self._handshaking = True
        self._notified = False
        self._sealed = b""
        self._sealed_at = 0
        self._plain = 0
        self._held = b""
        self._held_at = 0

    def take_over(self, stream: Stream, first: bytes) -> None:
        """Go on where a plain stream stopped reading, its first bytes in hand; it is used no more."""
        self.target = stream.target
        self.at_gone = stream.at_gone
        known = stream.give_away(self)
        self._readable = bool(known & IN)
        self._last = bool(known & RDHUP)
        self._timer = self.poller.timers.after(HANDSHAKE_SECONDS, self._too_late)
        self._hold(first)
        self._repeat()

    # --- handshake ----------------------------------------------------------------------------------------------------

    def _established(self) -> None:
        """TCP is there (dialled): the connect timer goes on over the handshake."""
        self._handshake()

    def _handshake(self) -> None:
        wanting = False
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            wanting = True
        except (ssl.SSLError, ValueError) as error:
            self._refuse(TLS_FAILED, _words(error))
            return
        if self._outgoing.pending:
            self._sealed += self._outgoing.read()
            self.poller.mark(self)
        if not wanting:
            self._agreed()

    def _agreed(self) -> None:
        """The handshake is done: look who it is, then open."""
        self.identity, wrong = self._setup.judge(self._ssl.getpeercert())
        if wrong:
            self._refuse(IDENTITY_MISMATCH, wrong)
            return
        self.alpn = self._ssl.selected_alpn_protocol() or ""
        self._handshaking = False
        self._stop_timer()
        if self._chunks or self._end_wanted:
            self.poller.mark(self)
        self.receiver.opened()

    def _refuse(self, reason: str, detail: str) -> None:
        """Send the alert, if there is one, as far as the kernel takes it now."""
        self.detail = detail
        alert = self._outgoing.read()
        if alert and self.open:
            self.poller.kernel.send(self.fd, self._sealed[self._sealed_at :] + alert, 0)
        self._die(reason)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def _hold(self, data: bytes) -> None:
        self._held = data
        self._held_at = 0
        if data:
            self._readable = True

    def _read(self) -> None:
        """First what was held back while paused, then what the socket has."""
        if self._held:
            self._decrypt()
            if self._held or not self.open:
                return
        Stream._read(self)  # noqa: SLF001 - how Cython calls the base class

    def _take(self, data: bytes) -> None:
        if not self._closing:
            self._held = data
            self._held_at = 0
            self._decrypt()

    def _decrypt(self) -> None:
        """Feed held ciphertext by the slice, so that no buffer of the TLS library grows with a burst."""
        data = self._held
        size = len(data)
        while self.open and not self._closing:
            if not self._handshaking and not self._reading:
                self._readable = True
                return
            at = self._held_at
            if at == 0 and size <= _SLICE:
                self._incoming.write(data)
                self._held_at = size
            elif at < size:
                self._incoming.write(data[at : at + _SLICE])
                self._held_at = min(at + _SLICE, size)
            if self._handshaking:
                self._handshake()
            if not self._handshaking and self._records() and self._held_at >= size:
                break
            if self._handshaking and self._held_at >= size:
                break
        if not self.open or self._closing or self._held_at >= size:
            self._held = b""
            self._held_at = 0

    def _records(self) -> bool:
        """Hand out the records that are whole; True when more ciphertext is needed, False when the owner paused."""
        incoming = self._incoming
        read = self._ssl.read
        while self.open and not self._closing:
            if not self._reading:
                return False
            # Only a record cut in two makes `read` raise, and that costs as much as reading it.
            if incoming.pending == 0:
                return True
            try:
                data = read(_RECORD)
            except ssl.SSLWantReadError:
                return True
            except ssl.SSLZeroReturnError:
                data = b""
            except (ssl.SSLError, ValueError) as error:
                self._refuse(TLS_FAILED, _words(error))
                return True
            if not data:
                self._close_notified()
                return True
            self.receiver.received(data)
        return True

    def _close_notified(self) -> None:
        if not self.at_end:
            self.at_end = True
            self.receiver.ended()
            self._finish()

    def _take_end(self) -> None:
        """The TCP stream ended: fine when TLS said so before, or when we are closing."""
        if self._handshaking:
            self.detail = "the peer closed the connection in the handshake"
            self._die(TLS_FAILED)
        elif self.at_end or self._closing:
            self.at_end = True
            self._finish()
        else:
            self.detail = "the connection ended without close_notify"
            self._die(TRUNCATED)

    # --- sending ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Encrypt what waits, a batch at a time as the kernel takes it."""
        if not self.open or self._blocked or self._connecting:
            return
        kernel = self.poller.kernel
        while True:
            if not self._sealed and (self._handshaking or not self._seal()):
                break
            sent = kernel.send(self.fd, self._sealed, self._sealed_at)
            if sent < 0:
                if kernel.error:
                    self._broken(kernel.error)
                    return
                self._blocked = True
                break
            self.poller.bytes_out += sent
            self._sealed_at += sent
            if self._sealed_at >= len(self._sealed):
                self._sealed = b""
                self._sealed_at = 0
                self.waiting -= self._plain
                self._plain = 0
        if not self._handshaking:
            self._flushed(bool(self._sealed))

    def _seal(self) -> bool:
        """Encrypt the next batch, or the announcement of our end; False when there is nothing to send."""
        chunks = self._chunks
        if not chunks:
            return self._notify()
        batch: bytes | memoryview = chunks[0]
        if len(chunks) > 1 and len(batch) < _BATCH and not self._offset:
            batch = self._join()
        else:
            size = len(batch)
            if size - self._offset > _BATCH:
                batch = memoryview(batch)[self._offset : self._offset + _BATCH]
                self._offset += _BATCH
            else:
                if self._offset:
                    batch = memoryview(batch)[self._offset :]
                    self._offset = 0
                if len(chunks) == 1:
                    chunks.clear()
                else:
                    del chunks[0]
        self._plain = len(batch)
        try:
            self._ssl.write(batch)
        except (ssl.SSLError, ValueError) as error:
            self._refuse(TLS_FAILED, _words(error))
            return False
        self._sealed = self._outgoing.read()
        return True

    def _join(self) -> bytes:
        """Take chunks off the queue up to about one batch."""
        chunks = self._chunks
        count = 0
        size = 0
        total = len(chunks)
        while count < total:
            size += len(chunks[count])
            if size > _BATCH and count:
                break
            count += 1
        batch = b"".join(chunks if count == total else chunks[:count])
        if count == total:
            chunks.clear()
        else:
            del chunks[:count]
        return batch

    def _notify(self) -> bool:
        if not self._end_wanted or self._notified or not self.open:
            return False
        self._notified = True
        # What it raises only says that the peer's own close_notify is not here yet (RFC 8446, section 6.1).
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._ssl.unwrap()
        self._sealed = self._outgoing.read()
        return bool(self._sealed)

    def _too_late(self) -> None:
        if self._handshaking and not self._lingering:
            self._timer = None
            self._die(CONNECT_TIMEOUT if self._connecting else TLS_TIMEOUT)
        else:
            Stream._too_late(self)  # noqa: SLF001 - how Cython calls the base class

    def close(self) -> None:
        """Send what waits and close_notify, then close; nothing more is received."""
        if self._handshaking and self.open:
            self._closing = True
            self._die(CLOSED)
        else:
            Stream.close(self)

    def _release(self) -> None:
        self._held = b""
        self._sealed = b""
        Stream._release(self)  # noqa: SLF001 - how Cython calls the base class


def _words(error: Exception) -> str:
    """What OpenSSL says, without its source line."""
    text = str(error)
    return text.split(" (_ssl.c", maxsplit=1)[0]
