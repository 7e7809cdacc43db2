"""A TCP connection through TLS, with the face of a plain one.

In: a descriptor, a `ServerTls` or `ClientTls`, and for accepted ones the bytes already read. Out: plaintext to the
receiver, `opened()` after the handshake on either side, `alpn` and `identity`. Refuses a peer that its setup refuses
(`identity_mismatch`), a handshake that is late (`tls_timeout`) or broken (`tls_failed`), and tells an end that the peer
announced (`ended`) from one that anybody could have caused (`truncated`). What a turn wrote is encrypted in one go;
neither direction holds more than a few records of ciphertext.
"""

import math
import time
from typing import Final

from dataplane.net.original import arrived
from dataplane.net.poller import IN, RDHUP, Poller
from dataplane.net.reasons import CLOSED, CONNECT_TIMEOUT, IDENTITY_MISMATCH, TLS_FAILED, TLS_TIMEOUT, TRUNCATED
from dataplane.net.receiver import Receiver
from dataplane.net.stream import READS, Stream
from dataplane.net.system import RECEIVE_SIZE
from dataplane.net.tls import ServerTls, ends_at
from dataplane.net.tls_engine import DONE, FAILED

HANDSHAKE_SECONDS: Final = 10.0
"""For the handshake of an accepted connection."""

UNTAKEN: Final = 256 * 1024
"""Bytes of ciphertext that may wait: one batch of what we send, and answers OpenSSL makes while it reads."""

SEALING: Final = 5 + 1 + 16
"""Bytes a record has beyond its plaintext, at least: header, type, and tag (RFC 8446, section 5.2)."""

_READS = READS
_UNTAKEN = UNTAKEN
_SEALING = SEALING
_CHUNK = RECEIVE_SIZE


class TlsStream(Stream):
    """One TLS connection."""

    def __init__(self, poller: Poller, fd: int, receiver: Receiver, peer: tuple[str, int], setup: ServerTls) -> None:
        super().__init__(poller, fd, receiver, peer)
        self._engine = setup.begin()
        self._setup = setup
        self._handshaking = True
        self._notified = False
        self._plain = 0
        self._ends = ""
        """When the peer's certificate does, in its own words."""

    def take_over(self, stream: Stream, first: bytes) -> None:
        """Go on where a plain stream stopped reading, its first bytes in hand; it is used no more."""
        self.target = stream.target
        self.server_name = stream.server_name
        self.at_gone = stream.at_gone
        known = stream.give_away(self)
        self._readable = bool(known & IN) or bool(first)
        self._last = bool(known & RDHUP)
        self._timer = self.poller.timers.after(HANDSHAKE_SECONDS, self._too_late)
        self._engine.read_from(first)
        self._repeat()

    # --- handshake ----------------------------------------------------------------------------------------------------

    def _established(self) -> None:
        """TCP is there (dialled): the connect timer goes on over the handshake."""
        self._handshake()

    def _handshake(self) -> bool:
        """Go on with it; whether it is done."""
        engine = self._engine
        outcome = engine.handshake()
        if outcome == FAILED:
            self._refuse(TLS_FAILED, engine.error)
            return False
        if engine.waiting:
            self.poller.mark(self)
        if outcome == DONE:
            self._agreed()
        return not self._handshaking

    def _agreed(self) -> None:
        """The handshake is done: look who it is, then open."""
        certificate = self._engine.certificate()
        self._ends = certificate["notAfter"] if certificate else ""
        self.identity, wrong = self._setup.judge(certificate)
        if wrong:
            self._refuse(IDENTITY_MISMATCH, wrong)
            return
        self.alpn = self._engine.alpn()
        self._handshaking = False
        self._stop_timer()
        if self._chunks or self._end_wanted:
            self.poller.mark(self)
        self.receiver.opened()

    def _refuse(self, reason: str, detail: str) -> None:
        """Send the alert, if there is one, as far as the kernel takes it now."""
        self.detail = detail
        if self._engine.waiting and self.open:
            self._engine.send(self.poller.kernel, self.fd)
        self._die(reason)

    def valid_for(self) -> float:
        """Return for how many seconds the peer's certificate still holds."""
        return ends_at(self._ends) - time.time() if self._ends else math.inf

    # --- receiving ----------------------------------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Bytes that may yet be received of what has arrived, at most."""
        return max(0, self._engine.unopened + arrived(self.fd) - _SEALING)

    def _read(self) -> None:
        """First what was held back while paused, then what the socket has."""
        poller = self.poller
        kernel = poller.kernel
        engine = self._engine
        self.seen = poller.now
        if engine.unread and not self._open_records():
            return
        reads = _READS
        while reads and (self._reading or self._handshaking) and self.open:
            reads -= 1
            size = kernel.fill(self.fd)
            if size <= 0:
                self._readable = False
                if size == 0:
                    self._take_end()
                elif kernel.error or self._unsendable:
                    self._broken(kernel.error or self._unsendable)
                return
            poller.bytes_in += size
            # A short read empties the socket (epoll(7)), unless the end has been announced and is still to be read.
            if size < _CHUNK and not self._last and not self._unsendable:
                self._readable = False
            if self._closing:
                continue
            engine.take(kernel, size)
            if not self._open_records():
                engine.keep()
                self._readable = True
                return
            if not self._readable:
                return
        self.go_on()

    def _open_records(self) -> bool:
        """Hand out the records that are whole; True when more ciphertext is needed, False when the owner paused."""
        engine = self._engine
        while self.open and not self._closing:
            if self._handshaking:
                if self._handshake():
                    continue
                return True
            if not self._reading:
                return False
            data = engine.read()
            if data is None:
                if engine.waiting:
                    self._answer()
                if engine.error:
                    self._refuse(TLS_FAILED, engine.error)
                elif engine.ended:
                    self._close_notified()
                return True
            self.receiver.received(data)
        return True

    def _answer(self) -> None:
        """OpenSSL answered a KeyUpdate (RFC 8446, section 4.6.3): send that, unless the peer takes nothing."""
        if self._engine.waiting > _UNTAKEN:
            self._refuse(TLS_FAILED, "the peer wants new keys again and again and takes no answer")
        elif not self.dirty:
            self.poller.mark(self)

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
        elif self._unsendable:
            self._broken(self._unsendable)
        else:
            self.detail = "the connection ended without close_notify"
            self._die(TRUNCATED)

    # --- sending ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Encrypt what waits, a batch at a time as the kernel takes it."""
        if not self.open or self._blocked or self._connecting or self._unsendable:
            return
        kernel = self.poller.kernel
        engine = self._engine
        while True:
            sealed = engine.waiting
            if sealed:
                sent = engine.send(kernel, self.fd)
            elif self._handshaking:
                return
            elif self._chunks:
                sent = engine.seal(kernel, self.fd, self._chunks, self._offset)
                if engine.error:
                    self._refuse(TLS_FAILED, engine.error)
                    return
                self._forget(engine.taken)
                if engine.waiting:
                    # What is encrypted and not sent still waits, as plaintext counts.
                    self._plain = engine.taken
                    self.waiting += engine.taken
            elif self._end_wanted and not self._notified:
                self._notified = True
                engine.notify()
                continue
            else:
                break
            if sent < 0:
                if kernel.error:
                    self._cannot_send(kernel.error)
                    return
                self._blocked = True
                break
            self.poller.bytes_out += sent
            if not engine.waiting:
                self.waiting -= self._plain
                self._plain = 0
        if not self._handshaking:
            self._flushed(bool(engine.waiting or self._chunks))

    def _too_late(self) -> None:
        if self._handshaking:
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
