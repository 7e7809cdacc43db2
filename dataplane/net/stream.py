"""A TCP connection as the proxy sees it: bytes in by plain calls, bytes out at the end of the turn, both bounded.

In: a connected (or connecting) descriptor and a `Receiver`. Out: calls on the receiver; never from inside its own call
to the stream: `lost` too comes later in the same turn, once, last. Refuses nothing; what is written to a dead stream is
dropped. Who writes looks at `high` and pauses its source until `drained`. `close()` sends what waits first, and then
lets the peer finish (a reset would destroy bytes still on their way to it); what does not leave in time ends in a reset.
A peer that takes no more may have answered before: when sending fails, what has arrived is read to its end, and only
then is the connection lost.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

from dataplane.net.lingering import Lingering
from dataplane.net.original import arrived, local_address
from dataplane.net.outlet import Bypass, Outlet
from dataplane.net.poller import EDGE, ERR, HUP, IN, OUT, RDHUP, Pollable, Poller
from dataplane.net.reasons import ABORTED, CLOSE_TIMEOUT, CLOSED, CONNECT_TIMEOUT, ENDED, FAILED, RESET, of_connecting
from dataplane.net.receiver import NOBODY, Receiver
from dataplane.net.system import RECEIVE_SIZE
from dataplane.net.timers import Timer

READS: Final = 4
"""Receives of one stream in a batch, so that one fast peer does not keep the others waiting."""
CLOSE_SECONDS: Final = 10.0
"""How long `close()` tries to send what waits, before it resets."""

# The same for the hot path: C integers when compiled.
_READS = READS
_OUT = OUT
_ERR = ERR
_EVERYTHING = IN | OUT | RDHUP | EDGE
_CHUNK = RECEIVE_SIZE
_MUCH = 8192
_WRITABLE = OUT | ERR | HUP
_READABLE = IN | RDHUP | HUP | ERR
_LAST = RDHUP | HUP | ERR


class Stream(Outlet):
    """One plaintext TCP connection."""

    def __init__(self, poller: Poller, fd: int, receiver: Receiver, peer: tuple[str, int]) -> None:
        super().__init__(poller, fd)
        self.receiver = receiver
        self.peer = peer
        self.target: tuple[str, int] | None = None
        self.alpn = ""
        self.identity = ""
        self.server_name = ""
        self.detail = ""
        self.at_gone: Callable[[tuple[str, int]], object] | None = None
        self.open = True
        self.at_end = False
        self.seen = poller.now
        self._reason = ""
        self._timer: Timer | None = None
        self._reading = True
        self._readable = self._last = False
        self._blocked = self._much = False
        self._connecting = self._closing = False
        self._end_wanted = self._end_sent = self._queued = False
        self._unsendable = 0
        """The error that ended our sending before we did; what the peer sent until then is still read."""
        self.pump: Bypass | None = None
        """Takes what arrives before the receiver does."""
        poller.connections += 1

    def start(self, connecting: bool = False, timeout: float = 0.0) -> None:
        """Be watched; a connecting stream is given up after `timeout` seconds."""
        self._connecting = connecting
        if connecting:
            self._timer = self.poller.timers.after(timeout, self._too_late)
        self.poller.add(self, _EVERYTHING)

    def stillborn(self, reason: str, detail: str) -> None:
        """It could not even begin: the descriptor is closed, if there is one, and only `lost` is to come."""
        self.detail = detail
        self.open = False
        self._reason = reason
        self.poller.connections -= 1
        if self.fd >= 0:
            self.poller.kernel.close(self.fd)
        self._repeat()

    # --- what the owner asks ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes at the end of the turn; never blocks, never fails here."""
        size = len(data)
        if size and self.open and not self._end_wanted:
            self._queue(data, size)
            if not self.dirty:
                self.poller.mark(self)

    def write_eof(self) -> None:
        """End what we send (half-close) once all of it has left."""
        if self.open and not self._end_wanted:
            self._end_wanted = True
            self.poller.mark(self)

    def pause(self) -> None:
        """Receive nothing until `resume()`; the kernel's buffer then slows the peer."""
        self._reading = False
        if self._last and self._readable:
            self._repeat()

    def resume(self) -> None:
        """Receive again."""
        if not self._reading:
            self._reading = True
            if self._readable:
                self._repeat()

    def close(self) -> None:
        """Send what waits, then close; nothing more is received."""
        if self.open and not self._closing:
            self._closing = True
            self._reading = True
            if self._readable:
                self._repeat()
            if self._connecting or self._unsendable:
                self._die(CLOSED)
            elif self._end_sent:
                self._finish()
            else:
                # From now on, not from the next flush: a blocked stream may never have one.
                self._timer = self.poller.timers.after(CLOSE_SECONDS, self._too_late)
                self.write_eof()
                self.poller.mark(self)

    def abort(self) -> None:
        """Close at once, with a reset: the peer must not take it for a proper end."""
        if self.open:
            self.poller.kernel.reset_on_close(self.fd)
            self._die(ABORTED)

    @property
    def unread(self) -> int:
        """Bytes that have arrived and were not received; through TLS, no fewer than they may turn out to be."""
        return arrived(self.fd)

    @property
    def local(self) -> tuple[str, int]:
        """Our own address of the connection."""
        return local_address(self.fd) if self.open else ("", 0)

    def give_away(self, heir: Pollable) -> int:
        """Let another object have the descriptor; returns what is known to be ready. Nothing may wait to be sent."""
        known = (IN if self._readable else 0) | (RDHUP if self._last else 0)
        self.poller.replace(self, heir)
        self.open = False
        self._stop_timer()
        self.receiver = NOBODY
        self.at_gone = None
        self.poller.connections -= 1
        return known

    # --- what the poller calls ----------------------------------------------------------------------------------------

    def ready(self, mask: int) -> None:
        """Read, write, or deliver a loss put off."""
        if mask == 0:
            self._queued = False
            if not self.open:
                self._tell()
                return
        if mask & _READABLE:
            self._readable = not self.at_end
            if mask & _LAST:
                self._last = True
        if self._connecting:
            if not mask & _WRITABLE or not self._connected():
                return
        elif mask & _OUT and self._blocked:
            self._blocked = False
            self.flush()
        if not self.open:
            return
        if self._readable and self._reading:
            self._read()
        elif mask & _ERR:
            self._die(RESET)
        elif self._last and self._readable:
            self.receiver.leaving()

    def failed(self, error: BaseException) -> None:
        """The receiver raised: this connection ends, no other."""
        self.detail = repr(error)
        self._die(FAILED)

    def flush(self) -> None:
        """Hand what waits to the kernel."""
        if not self.open or self._blocked or self._connecting:
            return
        chunks = self._chunks
        kernel = self.poller.kernel
        feed = self.feed
        if feed is not None and feed.held:
            if feed.push():
                feed.pushed()
            if feed.held or not self.open:
                return
        while chunks:
            if len(chunks) == 1:
                sent = kernel.send(self.fd, chunks[0], self._offset)
            else:
                sent = kernel.send_list(self.fd, chunks, self._offset)
            if sent < 0:
                if kernel.error:
                    self._cannot_send(kernel.error)
                    return
                self._blocked = True
                break
            self.poller.bytes_out += sent
            self._forget(sent)
        self._flushed(bool(chunks))

    def emptied(self) -> None:
        """There is nothing more to receive now (found out by a bypass)."""
        self._readable = False

    def go_on(self) -> None:
        """There may be more to receive: take it in the next batch."""
        if self._readable and self._reading and self.open:
            self._repeat()

    def refused(self, error: int) -> None:
        """A bypass met an error of this connection, which is told once, or (0) no room for what it sends past us."""
        self._blocked = True
        if error:
            self._cannot_send(error)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _flushed(self, left: bool) -> None:
        """Tell the owner that there is room, and go on with an end that was asked for once nothing is left."""
        if self.high and self._eased() and not self._closing:
            self.receiver.drained()
        if self._end_wanted and not left and not self._end_sent:
            self._end_sent = True
            self._send_end()
            self._finish()

    def _send_end(self) -> None:
        self.poller.kernel.end(self.fd)

    def _finish(self) -> None:
        """Our side has ended: the connection is over if the peer's has too, or if we are closing."""
        if not self.open or not self._end_sent:
            return
        if self.at_end:
            self._die(CLOSED if self._closing else RESET if self._unsendable else ENDED)
        elif self._closing:
            self.open = False
            self._reason = CLOSED
            self._let_go()
            lingering = Lingering(self.poller, self.fd, self._gone)
            self.poller.replace(self, lingering)
            self.poller.again(lingering)
            self._repeat()

    def _read(self) -> None:
        """Receive until nothing is there, the share is used up, or the owner pauses."""
        poller = self.poller
        kernel = poller.kernel
        reads = _READS
        self.seen = poller.now
        if self.pump is not None and not self._closing and self.pump.pull():
            return
        while reads and self._reading and self.open:
            reads -= 1
            data = kernel.receive(self.fd, self._much)
            if data is None:
                self._readable = False
                if kernel.error or self._unsendable:
                    self._broken(kernel.error or self._unsendable)
                return
            size = len(data)
            if size == 0:
                self._readable = False
                self._take_end()
                return
            poller.bytes_in += size
            self._much = size >= _MUCH
            # A short read empties the socket (epoll(7)), unless the end has been announced and is still to be read.
            if size < _CHUNK and not self._last and not self._unsendable:
                self._readable = False
                self._take(data)
                return
            self._take(data)
        self.go_on()

    def _take(self, data: bytes) -> None:
        if not self._closing:
            self.receiver.received(data)

    def _take_end(self) -> None:
        if self._unsendable not in {0, errno.EPIPE}:
            # The kernel told of the reset where we sent, and calls what follows the last byte an end.
            self._broken(self._unsendable)
            return
        self.at_end = True
        if not self._closing:
            self.receiver.ended()
        self._finish()

    def _connected(self) -> bool:
        """Learn how connecting went."""
        error = self.poller.kernel.socket_error(self.fd)
        if error:
            self._broken(error)
            return False
        self._connecting = False
        self._established()
        if self.open and (self._chunks or self._end_wanted):
            self.poller.mark(self)
        return self.open

    def _established(self) -> None:
        self._stop_timer()
        self.receiver.opened()

    def _cannot_send(self, error: int) -> None:
        """Sending failed: go on until all that has arrived is read, unless nobody would hear it."""
        if self.feed is not None:
            # What the pipe holds for us is lost; while it did, its source would not read on.
            self.feed.stop()
            self.feed = None
        if self._unsendable:
            return
        if self.at_end or self._closing or not self._reading:
            self._broken(error)
            return
        self._unsendable = error
        self._end_wanted = self._end_sent = True
        self._readable = True
        stopped = self.high
        self._drop()
        self._repeat()
        if stopped:
            self.receiver.drained()

    def _broken(self, error: int) -> None:
        self.detail = os.strerror(error)
        self._die(of_connecting(error) if self._connecting else RESET)

    def _too_late(self) -> None:
        self._timer = None
        if not self._connecting:  # but closing, and bytes wait: the peer must not take those it has for all there were
            self.poller.kernel.reset_on_close(self.fd)
        self._die(CONNECT_TIMEOUT if self._connecting else CLOSE_TIMEOUT)

    def _die(self, reason: str) -> None:
        """Let go of the socket; the receiver hears of it in the next batch."""
        if self.open:
            self.open = False
            self._reason = reason
            self._let_go()
            self.poller.remove(self)
            self._gone()
            self._repeat()

    def _let_go(self) -> None:
        self._readable = False
        self._stop_timer()
        self._drop()
        if self.pump is not None:
            self.pump.stop()
        if self.feed is not None:
            self.feed.stop()
        self.pump = self.feed = None

    def _gone(self) -> None:
        """The descriptor is closed, or will be at the end of the batch."""
        self.poller.connections -= 1
        if self.at_gone is not None:
            self.at_gone(self.peer)
            self.at_gone = None

    def _tell(self) -> None:
        reason = self._reason
        if reason:
            self._reason = ""
            receiver = self.receiver
            self.receiver = NOBODY
            receiver.lost(reason)

    def _repeat(self) -> None:
        if not self._queued:
            self._queued = True
            self.poller.again(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
