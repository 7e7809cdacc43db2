"""A mesh connection that carries opaque connections, one at a time, for whoever uses it now.

In: the stream and what it tells; commands of the user, which is the side of a relay. Out: to the user what a stream of its own would
tell it, `lost(ENDED)` once both sides have ended; to the `Keeper` what happens between two connections. Refuses frames that are not
due and an end that no END announced, with a count and a reset: what broke off must not look finished.
"""

from __future__ import annotations

import logging
from typing import Final

from dataplane.net.reasons import ENDED
from dataplane.net.receiver import NOBODY, Receiver
from dataplane.net.stream import Stream
from dataplane.net.timers import Timer
from dataplane.net.tls_stream import TlsStream
from dataplane.protocol import carrier as frames
from dataplane.protocol.carrier import CarrierCodec
from dataplane.proxy.worker.runtime import Runtime

LIFE_SECONDS: Final = 600.0
"""Age at which a carrier takes no more connections, or with the peer's certificate: each side has to show one again."""
MOST: Final = 64
"""That rest in a worker, both ways: a bound on memory, some 20 KB each."""
ACCEPT_SECONDS: Final = 1.0
"""For the callee's answer to OPEN: a dead peer costs no more, for then another carrier is made."""

_log = logging.getLogger("tulle.proxy")
_OPEN = frames.OPEN
_ACCEPT = frames.ACCEPT
_END = frames.END
_LONGEST = frames.LONGEST


class Keeper:
    """Who has a carrier while it carries nothing."""

    __slots__ = ()

    def asked(self, carrier: Carrier) -> None:
        """The peer opens another connection."""

    def over(self, carrier: Carrier) -> None:
        """Both sides have ended the one there was."""

    def gone(self, carrier: Carrier) -> None:
        """It is no more."""

    def review(self, carrier: Carrier) -> None:
        """Other tables are in force."""

    def stale(self, carrier: Carrier) -> bool:  # noqa: ARG002 - a keeper's own word
        """Whether it may not be used any more."""
        return False


class Carrier(Receiver):
    """One connection between two sidecars."""

    __slots__ = (
        "_codec",
        "_end",
        "_heard",
        "_timer",
        "_until",
        "context",
        "keeper",
        "last",
        "runtime",
        "stream",
        "user",
    )

    def __init__(self, runtime: Runtime, stream: Stream, keeper: Keeper, context: object, *, caller: bool) -> None:
        """Begin with a connection on it; `context` is the TLS context it was made with."""
        self.runtime = runtime
        self.stream = stream
        self.keeper = keeper
        self.context = context
        self.user: Receiver = NOBODY
        self.last = False
        """Nothing is carried after this."""
        valid = stream.valid_for() if isinstance(stream, TlsStream) else LIFE_SECONDS
        self._end = runtime.poller.now + min(LIFE_SECONDS, valid)
        """From then on nothing more is carried."""
        self._codec = CarrierCodec(caller)
        self._heard = False
        """The user was told of the peer's end. The codec, ahead of that, has read what comes before it."""
        self._timer: Timer | None = None
        self._until = 0.0
        stream.receiver = self

    # --- what the user asks -------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes of the connection there is."""
        codec = self._codec
        if codec.ended:
            return
        while len(data) > _LONGEST:
            self.stream.write(codec.header(_LONGEST))
            self.stream.write(data[:_LONGEST])
            data = data[_LONGEST:]
        if data:
            self.stream.write(codec.header(len(data)))
            self.stream.write(data)

    def end(self) -> None:
        """Send no more of it."""
        codec = self._codec
        if not codec.ended:
            self.stream.write(codec.end())
            if self._heard:
                self._over()

    def close(self) -> None:
        """Send what waits and say that this was all; what is carried ends with it."""
        self.last = True
        self.runtime.resting.pop(self, None)
        if self._codec.opening:
            self.stream.abort()
            return
        self.end()
        self.stream.close()

    # --- between two connections --------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether it can carry another connection now."""
        return self._codec.idle and self.stream.open and not self.last

    @property
    def guest(self) -> bool:
        """Whether the peer opens its connections."""
        return not self._codec.caller

    @property
    def old(self) -> bool:
        """Whether it has carried for as long as it may."""
        return self.runtime.poller.now >= self._end

    def open(self, user: Receiver, seconds: float) -> None:
        """Carry another connection (caller, `idle`): the user hears `opened`, or `lost` when the peer does not take it in time."""
        self.runtime.resting.pop(self, None)
        self.user = user
        self.stream.write(self._codec.open())
        self._timer = self.runtime.timers.after(seconds, self._too_late)

    def accept(self) -> None:
        """The app is there: take the caller's bytes (callee)."""
        self.runtime.resting.pop(self, None)
        if self._codec.opening:
            self.stream.write(self._codec.accept())

    def rest(self, seconds: float) -> None:
        """Carry nothing for so long at most; the callee tells its caller that it may go on."""
        if not self._codec.caller:
            self.stream.write(self._codec.done())
        self._until = self.runtime.poller.now + seconds
        resting = self.runtime.resting
        if len(resting) >= MOST:
            next(iter(resting)).close()  # who rests longest
        resting[self] = None

    def sweep(self, now: float) -> None:
        """Close what rested long enough, or may not be used again."""
        if now >= self._until or self.runtime.saving or self.old or self.keeper.stale(self):
            self.close()

    def review(self) -> None:
        """Other tables are in force. What it carries is judged by itself: only a carrier that rests is closed by them."""
        if self in self.runtime.resting:
            self.keeper.review(self)

    # --- what the stream tells ----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Hand on what was carried, and act on the marks between."""
        codec = self._codec
        for piece in codec.receive(data):
            if not self.stream.open:
                return
            if isinstance(piece, bytes):
                self.user.received(piece)
            elif piece == _END:
                self.user.ended()
                self._heard = True
                if codec.ended and self.stream.open:
                    self._over()
            elif piece == _ACCEPT:
                self._stop_timer()
                self.user.opened()
            elif piece == _OPEN and not self.last:
                self.runtime.resting.pop(self, None)
                self.keeper.asked(self)
        if codec.error:
            self.runtime.metrics.refused.of("carrier_framing").value += 1
            _log.info("a carrier from or to %s port %d was reset: %s", *self.stream.peer, codec.error)
            self.stream.abort()

    def ended(self) -> None:
        """The peer sends no more at all."""
        self.last = True
        codec = self._codec
        if codec.over or codec.idle:
            self.close()
        elif not codec.peer_ended:
            self.stream.abort()

    def drained(self) -> None:
        """There is room."""
        self.user.drained()

    def lost(self, reason: str) -> None:
        """It is gone, and what it carried with it."""
        self._stop_timer()
        user, self.user = self.user, NOBODY
        self.runtime.resting.pop(self, None)
        self.keeper.gone(self)
        user.lost(reason)

    def _over(self) -> None:
        self._heard = False
        user, self.user = self.user, NOBODY
        self.stream.resume()  # what was left unread of this connection is nobody's concern, what comes is of the next
        self.keeper.over(self)
        user.lost(ENDED)

    def _too_late(self) -> None:
        self._timer = None
        self.stream.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
