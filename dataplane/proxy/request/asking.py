"""The request's side: where it is, what came of its body, and the passing on of both to whichever server is tried.

In: a head, body pieces and trailers of the client. Out: commands to the server's connection, while there is one. Pieces are kept
(as references) while a server may still turn out not to have seen the request; beyond the bound they are dropped and with them the
chance to send it again. What no server takes yet is not read on (HTTP/1) or given window for (HTTP/2), so what is kept is
bounded between two tries as well.
"""

from __future__ import annotations

from dataplane.protocol.events import Headers, RequestHead
from dataplane.protocol.fields import strip_continue
from dataplane.proxy.connection import HttpConnection
from dataplane.proxy.request import life
from dataplane.proxy.request.call import Tried
from dataplane.proxy.request.notes import strip_own
from dataplane.proxy.request.replay import Replay
from dataplane.proxy.request.taker import Taker
from dataplane.proxy.worker.runtime import Runtime

# Plain C integers when compiled.
_TABLE = life.REQUEST
_OPEN = life.OPEN
_WHOLE = life.WHOLE
_RAW = life.RAW
_ENDED = life.ENDED
_SWITCH = life.SWITCH
_END = life.END
_NEVER = life.NEVER
_EVENTS = life.EVENTS


class Asking:
    """One request as far as it is asked; `down` is the client's connection, None for a copy."""

    __slots__ = (
        "_owed",
        "call",
        "down",
        "grpc",
        "head",
        "http1_origin",
        "kept",
        "resendable",
        "runtime",
        "size",
        "state",
        "stream",
        "taker",
        "touched",
        "up",
    )

    def prepare(self, runtime: Runtime, down: HttpConnection | None, head: RequestHead, taker: Taker) -> None:
        """Begin; in place of `__init__`, whose arguments would cost a tuple a request."""
        self.runtime = runtime
        self.down = down
        self.head = head
        self.taker = taker
        self.stream = head.stream
        self.state = _WHOLE if head.end else _OPEN
        """Where it is (`life.REQUEST`)."""
        self.up: HttpConnection | None = None
        """The server's connection, while it is tried."""
        self.call: Tried = None  # type: ignore[assignment]
        """The attempt, as that connection knows it; there while `up` is."""
        self.kept: Replay | None = None
        """What came of the body; None for nothing."""
        self.resendable = True
        """`kept` has all of it so far, so the request can be sent (again)."""
        self.http1_origin = head.version < 20
        self.grpc = False
        self.size = 0
        """Body bytes so far."""
        self._owed = 0
        """Body bytes taken from the client's window and not handed on yet."""
        self.touched = runtime.poller.now
        """When something moved last, either way."""

    def advance(self, event: int) -> bool:
        """Go on by an event; False when that ended the exchange."""
        p = _TABLE
        state = p[self.state * _EVENTS + event]
        if state == _NEVER:
            return self.taker.astray(f"request {self.state}: {event}")
        self.state = state
        if event == _END:
            self.taker.whole()
        return True

    @property
    def ended(self) -> bool:
        """Whether the client has ended what it sends."""
        return bool(self.state & _ENDED)

    # --- to the server ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Send the body as far as it is here to a server that has just got the head."""
        up = self.up
        if up is None:
            return
        if self.head.protocol and up.h2 is None:
            if self.down is not None:
                self.down.read_on()
            return
        if self.kept is not None:
            self.kept.send(up, self.call.stream, (self.state & _ENDED) != 0)
            if not (self.state & _ENDED) and self.kept.size > self.runtime.replay_bytes:
                self.drop()  # else each try would let the client send a window more, and all of it be kept
        self.hand_back()

    def data(self, data: bytes, end: bool) -> None:
        """Pass a piece of the client's body on."""
        n = len(data)
        self.size += n
        self.touched = self.runtime.poller.now
        if end and not self.advance(_END):
            return
        if self.resendable and n:
            if self.kept is None:
                self.kept = Replay()
            self.kept.keep(data)
        up = self.up
        down = self.down
        if up is None or (self.head.protocol and self.state < _RAW and up.h2 is None):
            self._owed += n  # an HTTP/1 server takes nothing before it has agreed to an upgrade
            if up is None and down is not None:
                down.stop_reading()
            return
        if self.resendable and self.kept is not None and self.kept.size > self.runtime.replay_bytes:
            self.drop()
        up.send_data(self.call.stream, data, end)
        if n and down is not None:
            self._owed += n
            if up.congested(self.call.stream, self.call):
                down.stop_reading()
            else:
                down.consumed(self.stream, self._owed)
                self._owed = 0
        if end:
            self.taker.passed()

    def trailers(self, headers: Headers) -> None:
        """Pass the end of the request on."""
        if not self.advance(_END):
            return
        strip_own(headers)
        if self.resendable:
            if self.kept is None:
                self.kept = Replay()
            self.kept.trailers = headers
        if self.up is not None:
            self.up.send_trailers(self.call.stream, headers)
            self.taker.passed()

    def hand_back(self) -> None:
        """Let the client send on, unless the server is still behind."""
        down, up = self.down, self.up
        if down is None or up is None or up.congested(self.call.stream, self.call):
            return
        if self._owed:
            down.consumed(self.stream, self._owed)
            self._owed = 0
        down.read_on()

    def invite(self) -> None:
        """Let the client send on though no server takes it yet: a stage wants to see it.

        A client that waits to be told so is, once: what the stage sees is here before a server can be asked, so no server gets the
        expectation (RFC 9110, section 10.1.1).
        """
        down = self.down
        if down is not None and self.up is None:
            if strip_continue(self.head.headers):
                down.send_response(self.stream, 100, b"", [], False)
            if self._owed:
                down.consumed(self.stream, self._owed)
                self._owed = 0
            down.read_on()

    def drop(self) -> None:
        """Keep nothing any more: the request cannot be sent again."""
        self.resendable = False
        self.kept = None

    def switch(self) -> bool:
        """Become a tunnel: what came early is its first bytes, and an end that came is the tunnel's on HTTP/2."""
        early, ended = self.kept, (self.state & _ENDED) != 0 and self.head.version >= 20
        if not self.advance(_SWITCH):
            return False
        self.drop()
        if ended:
            self.advance(_END)  # before it was known that there is a tunnel
        up = self.up
        if up is not None and up.h2 is None and self.head.version >= 20:
            if early is not None:
                early.send(up, self.call.stream, False)
            if ended:
                up.send_data(self.call.stream, b"", True)
            self.hand_back()
        return True
