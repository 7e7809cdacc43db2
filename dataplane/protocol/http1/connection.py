"""One end of an HTTP/1 connection, as far as both ends are alike: reading in order, and how an exchange of two messages ends.

In: network bytes; `send_data`, `send_trailers`, `reset`. Out: events and `output()`. See `interface` for the contract; `server`
and `client` read the heads, where `_advance` finds that one is due. Refuses, by a Failure event, what `scan` and
`body` refuse, and bytes sent too far ahead.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Failure, Headers, Reset
from dataplane.protocol.http1.body import TO_EOF, TUNNEL, BodyReader
from dataplane.protocol.http1.scan import HeadScanner
from dataplane.protocol.http1.writer import MessageWriter
from dataplane.protocol.limits import Limits

WANT_HEAD = 0
WANT_BODY = 1
WAIT = 2
"""The peer's message is complete, or there is none to come: what it sends now is early."""
DEAD = 3

# Copies, because C compares them without a look into another module.
_WANT_HEAD = WANT_HEAD
_WANT_BODY = WANT_BODY
_WAIT = WAIT
_DEAD = DEAD
_TO_EOF = TO_EOF
_TUNNEL = TUNNEL


class Http1Connection:
    """The common half of Http1Server and Http1Client; `stream` counts exchanges from 1."""

    __slots__ = (
        "_ahead",
        "_at",
        "_body",
        "_buffer",
        "_eof",
        "_last",
        "_limits",
        "_ours",
        "_owed",
        "_scanner",
        "_searched",
        "_state",
        "_stream",
        "_writer",
        "active",
        "closing",
        "write_eof",
    )

    def __init__(self, limits: Limits, client: bool) -> None:
        self._limits = limits
        self._scanner = HeadScanner(limits)
        self._body = BodyReader(limits, self._scanner)
        self._writer = MessageWriter()
        self._ours = client
        """Exchanges are ours to begin."""
        self._ahead = 0 if client else limits.pipeline_bytes
        """Bytes the peer may send before their turn."""
        self._buffer = b""
        self._at = 0
        """How far the buffer was read."""
        self._eof = False
        self._last = False
        """The client said that it sends no request after this one."""
        self._owed = False
        """Our message of the exchange is not complete."""
        self._searched = 0
        self._state = _WAIT if client else _WANT_HEAD
        self._stream = 0
        self.active = 0
        self.closing = False
        self.write_eof = False

    # --- what the driver asks and tells -------------------------------------------------------------------------------

    def held(self) -> int:
        """Bytes received that wait for the current message to end, or that came before a tunnel was opened.

        The start of a line inside a body is none of them: it waits for its own rest.
        """
        inside = self._state == _WANT_BODY and self._body.mode != _TUNNEL
        return 0 if inside or self._state == _DEAD else len(self._buffer)

    def lacks(self, more: int) -> bool:
        """Whether the message that is being read cannot be whole with so many bytes more; False where only reading them tells."""
        if self._state != _WANT_BODY:
            return False
        least = self._body.least()
        # A line that has begun is in the buffer.
        return least > 0 and max(least - len(self._buffer), 1) > more

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Send a piece of a body or tunnel; see `interface.Codec`."""
        if stream == self._stream and self._writer.open:
            self._writer.data(data, end)
            if end:
                self._our_end()

    def send_trailers(self, stream: int, headers: Headers) -> None:
        """End a message with fields; see `interface.Codec`."""
        if stream == self._stream and self._writer.open:
            self._writer.trailers(headers)
            self._our_end()

    def reset(self, stream: int, code: int) -> None:  # noqa: ARG002 - the shape of all codecs
        """Give the message up, and with it the connection; `code` has no form in HTTP/1."""
        if stream == self._stream and self.active:
            self._die()

    def unframed(self, stream: int) -> bool:
        """Whether the end of the connection is the end of what we say: broken off it would look whole (RFC 9112, section 6.3)."""
        sends = stream == self._stream and self.active and self._writer.open
        return bool(sends) and self._writer.mode in {_TO_EOF, _TUNNEL}

    def consumed(self, stream: int, size: int) -> None:
        """HTTP/1 has no windows: nothing to do."""

    def pending(self, stream: int) -> int:  # noqa: ARG002 - the shape of all codecs
        """HTTP/1 has no windows: nothing ever waits here."""
        return 0

    def output(self) -> bytes:
        """Return everything to write since the last call."""
        out = self._writer.out
        if not out:
            return b""
        joined = b"".join(out)
        out.clear()
        return joined

    def shutdown(self) -> None:
        """The same as `goaway`: HTTP/1 has one step only."""
        self.goaway()

    def goaway(self) -> None:
        """Make the current message the last one."""
        self.closing = True
        if not self.active:
            self._state = _DEAD

    # --- what the peer sends ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer, behind what was left of those before; see `interface.Codec`."""
        events: list[Event] = []
        if self._state != _DEAD:
            self._buffer = self._buffer + data if self._buffer else data
        while self._advance(events) and self._read_head(events):
            pass
        self._settle(events)
        return events

    def receive_eof(self) -> list[Event]:
        """Take the end of what the peer sends."""
        self._eof = True
        return self.receive(b"")

    def _advance(self, events: list[Event]) -> bool:
        """Read bodies on; True where a head is due, False when there is nothing to be read now."""
        while self._at < len(self._buffer):
            if self._state != _WANT_BODY:
                return self._state == _WANT_HEAD
            self._read_body(events)
            if self._state == _WANT_BODY:
                return False
        return False

    def _read_head(self, events: list[Event]) -> bool:  # noqa: ARG002 - for the two sides
        """Read the head that is due; False when it is not whole, or broken."""
        return False

    def _read_body(self, events: list[Event]) -> None:
        body = self._body
        self._at = body.read(self._buffer, self._at, events)
        if body.failed:
            self._fail(body.status, body.reason, body.counter, events)
        elif body.done:
            self._their_end()

    def _settle(self, events: list[Event]) -> None:
        """Keep what was not read, within its bound, and heed the end of what the peer sends."""
        if self._at:
            self._buffer = self._buffer[self._at :] if self._at < len(self._buffer) else b""
            self._at = 0
        early = len(self._buffer)
        if early and self._state == _WAIT and early > self._ahead and self._body.mode != _TUNNEL:
            if self._ours:
                self._fail(502, "bytes came that answer no request", "http1_unsolicited", events)
            else:
                why = f"more than {self._ahead} bytes were sent ahead of a response"
                self._fail(400, why, "http1_pipeline_bytes", events)
        if self._eof and self._state != _DEAD:
            self._after_eof(events)

    def _after_eof(self, events: list[Event]) -> None:
        if self._state == _WANT_BODY:
            if self._body.end_of_input(events):
                self.closing = True
                self._their_end()
            else:
                self._lost("the connection ended inside a body", events)
        elif self._state == _WANT_HEAD:
            self._lost("the connection ended before the message", events)
        elif not self.active:
            self._die()
        elif self._body.mode != _TUNNEL and not self._last and not self._buffer:
            # Nobody is there any more for the answer: a client that only ends what it sends says so in its last request.
            self._lost("the client closed the connection before it had the whole answer", events)

    # --- how an exchange ends -----------------------------------------------------------------------------------------

    def _their_end(self) -> None:
        """The peer's message is complete."""
        if not self._owed:
            self._finish()
        elif self._ours and self._body.mode != _TUNNEL:
            # The answer is complete before our body was sent: only closing ends the request now.
            self._die()
        else:
            self._state = _WAIT

    def _our_end(self) -> None:
        """Our message is complete."""
        self._owed = False
        whole = self._writer.end()
        if self._writer.mode == _TUNNEL:
            self.write_eof = True
        if not whole:
            self._die()
        elif self._state == _WAIT:
            self._finish()
        elif self.closing and not self._ours and self._body.mode != _TUNNEL:
            self._die()
        # Else the rest of theirs is read: an answer that came before the end of its request leaves that to be read.

    def _finish(self) -> None:
        """Both messages are complete: on to the next exchange, if there may be one."""
        self.active = 0
        if self.closing or (self._eof and self._at >= len(self._buffer)):
            self._die()
        else:
            self._state = _WAIT if self._ours else _WANT_HEAD

    def _tunnel(self) -> None:
        """Turn the connection into a tunnel, both ways."""
        self._owed = True
        self._writer.start(_TUNNEL, 0)
        self._body.start(self._stream, _TUNNEL)
        self._state = _WANT_BODY
        self.closing = True

    def _fail(self, status: int, reason: str, counter: str, events: list[Event]) -> None:
        """End the connection for what the peer did; nothing is told after it."""
        self._die()
        events.append(Failure(codes.PROTOCOL_ERROR, status, reason, counter))
        self._refuse(status, reason, counter)

    def _refuse(self, status: int, reason: str, counter: str) -> None:
        """Tell the peer why the connection ends, where there is a way to."""

    def _lost(self, reason: str, events: list[Event]) -> None:
        """End the current message because the peer is gone."""
        if self.active:
            events.append(Reset(self._stream, codes.CONNECT_ERROR, reason))
        self._die()

    def _die(self) -> None:
        self._state = _DEAD
        self.closing = True
        self.active = 0
        self._writer.open = False
        self._buffer = b""
        self._at = 0
