"""What both ends of an HTTP/1 connection share: the input buffer, the receive loop, and the writing of bodies.

In: network bytes; `send_data`, `send_trailers`, `reset`. Out: events and `output()`. See `interface` for the contract,
`server` and `client` for heads. Refuses, by a Failure event, what `scan` and `body` refuse.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Failure, Headers, Reset
from dataplane.protocol.fields import content_length
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE, TUNNEL, BodyReader
from dataplane.protocol.http1.scan import HeadScanner
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

WANT_HEAD = 0
WANT_BODY = 1
WAIT = 2
DEAD = 3

_OWNED = frozenset((b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


class Http1Connection:
    """The common half of Http1Server and Http1Client; `stream` counts messages from 1."""

    __slots__ = (
        "_body",
        "_buffer",
        "_eof",
        "_limits",
        "_out",
        "_pipeline",
        "_scanner",
        "_searched",
        "_send_left",
        "_send_mode",
        "_send_open",
        "_state",
        "_stream",
        "active",
        "closing",
        "write_eof",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._scanner = HeadScanner(limits)
        self._body = BodyReader(limits, self._scanner)
        self._buffer = b""
        self._eof = False
        self._out: list[bytes] = []
        self._pipeline = limits.pipeline_bytes
        self._searched = 0
        self._send_left = 0
        self._send_mode = NONE
        self._send_open = False
        self._state = WANT_HEAD
        self._stream = 0
        self.active = 0
        self.closing = False
        self.write_eof = False

    @property
    def held(self) -> int:
        """Bytes received that wait for the current message to end, or that came before a tunnel was opened.

        The start of a line inside a body is none of them: it waits for its own rest.
        """
        inside = self._state == WANT_BODY and self._body.mode != TUNNEL
        return 0 if inside or self._state == DEAD else len(self._buffer)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; see `interface.Codec`."""
        events: list[Event] = []
        if self._state == DEAD:
            return events
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        n = len(data)
        pos = 0
        while pos < n:
            state = self._state
            if state == WANT_BODY:
                pos = self._read_body(data, pos, events)
                if self._state == WANT_BODY:
                    break
            elif state == WANT_HEAD:
                moved = self._read_head(data, pos, events)
                if moved < 0:
                    break
                pos = moved
            else:
                break
        if pos < n and self._state != DEAD:
            self._buffer = data[pos:] if pos else data
            if self._state == WAIT:
                self._check_held(n - pos, events)
        if self._eof and self._state != DEAD:
            self._after_eof(events)
        return events

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Send a piece of a body or tunnel; see `interface.Codec`."""
        if stream != self._stream or not self._send_open:
            return
        n = len(data)
        if n:
            mode = self._send_mode
            if mode == CHUNKED:
                self._out.append(b"%x\r\n" % n)
                self._out.append(data)
                self._out.append(b"\r\n0\r\n\r\n" if end else b"\r\n")
            elif mode == LENGTH:
                self._send_left -= n
                if self._send_left < 0:
                    raise MisuseError("more body bytes were sent than Content-Length said")
                self._out.append(data)
            elif mode != NONE:
                self._out.append(data)
        if end:
            if n == 0 and self._send_mode == CHUNKED:
                self._out.append(b"0\r\n\r\n")
            self._end_sending()

    def send_trailers(self, stream: int, headers: Headers) -> None:
        """End a message with fields; see `interface.Codec`."""
        if stream != self._stream or not self._send_open:
            return
        if self._send_mode == CHUNKED:
            self._out.append(b"0\r\n")
            self._write_fields(headers, True)
            self._out.append(b"\r\n")
        self._end_sending()

    def reset(self, stream: int, code: int) -> None:  # noqa: ARG002 - the shape of all codecs
        """Give the message up, and with it the connection; `code` has no form in HTTP/1."""
        if stream == self._stream and self.active:
            self._die()

    def consumed(self, stream: int, size: int) -> None:
        """HTTP/1 has no windows: nothing to do."""

    def pending(self, stream: int) -> int:  # noqa: ARG002 - the shape of all codecs
        """HTTP/1 has no windows: nothing ever waits here."""
        return 0

    def output(self) -> bytes:
        """Return everything to write since the last call."""
        out = self._out
        if not out:
            return b""
        joined = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        return joined

    def shutdown(self) -> None:
        """The same as `goaway`: HTTP/1 has one step only."""
        self.goaway()

    def goaway(self) -> None:
        """Make the current message the last one."""
        self.closing = True
        if not self.active:
            self._state = DEAD

    def _read_head(self, data: bytes, pos: int, events: list[Event]) -> int:
        raise NotImplementedError

    def _body_read(self, events: list[Event]) -> None:
        """The peer's message is complete."""
        raise NotImplementedError

    def _message_sent(self) -> None:
        """Our message is complete."""
        raise NotImplementedError

    def _check_held(self, size: int, events: list[Event]) -> None:
        raise NotImplementedError

    def _refuse(self, status: int, reason: str, counter: str) -> None:
        """Tell the peer about its error, where the protocol has a way to."""
        raise NotImplementedError

    def _read_body(self, data: bytes, pos: int, events: list[Event]) -> int:
        body = self._body
        pos = body.read(data, pos, events)
        if body.failed:
            self._fail(body.status, body.reason, body.counter, events)
        elif body.done:
            self._body_read(events)
        return pos

    def _fail(self, status: int, reason: str, counter: str, events: list[Event]) -> int:
        self._refuse(status, reason, counter)
        self._die()
        events.append(Failure(codes.PROTOCOL_ERROR, status, reason, counter))
        return -1

    def _die(self) -> None:
        self._state = DEAD
        self.closing = True
        self.active = 0
        self._send_open = False
        self._buffer = b""

    def _lost(self, reason: str, events: list[Event]) -> None:
        """End the current message because the peer is gone."""
        if self.active:
            events.append(Reset(self._stream, codes.CONNECT_ERROR, reason))
        self._die()

    def receive_eof(self) -> list[Event]:
        """Take the end of what the peer sends."""
        self._eof = True
        return self.receive(b"")

    def _after_eof(self, events: list[Event]) -> None:
        if self._state == WANT_BODY:
            if self._body.end_of_input(events):
                self.closing = True
                self._body_read(events)
            else:
                self._lost("the connection ended inside a body", events)
        elif self._state == WANT_HEAD:
            self._lost("the connection ended before the message", events)
        elif not self.active:
            self._die()

    def _start_sending(self, mode: int, length: int) -> None:
        self._send_open = True
        self._send_mode = mode
        self._send_left = length

    def _end_sending(self) -> None:
        self._send_open = False
        if self._send_mode == TUNNEL:
            self.write_eof = True
        elif self._send_mode == LENGTH and self._send_left > 0:
            self._die()
            return
        self._message_sent()

    def _write_fields(self, headers: Headers, trailers: bool) -> int:
        """Write field lines; return the Content-Length among them, or -1."""
        out = self._out
        length = -1
        for field in headers:
            name = field[0]
            n = len(name)
            if n == 14:
                if name == b"content-length":
                    if length >= 0 or trailers:
                        continue
                    length = content_length(field[1])
                    if length < 0:
                        raise MisuseError("Content-Length to send is not a plain number")
            elif (n == 4 or n == 7 or n == 10 or n == 16 or n == 17) and name in _OWNED:  # noqa: PLR1714 - plain C compares
                continue
            out.append(field[2])
            out.append(b": ")
            out.append(field[1])
            out.append(b"\r\n")
        return length

    def _tunnel(self) -> None:
        """Turn the connection into a tunnel, both ways."""
        self._start_sending(TUNNEL, 0)
        self._body.start(self._stream, TUNNEL, 0)
        self._state = WANT_BODY
        self.closing = True

    def _body_mode(self, missing: int) -> int:
        """How the body of the head just read is framed; `missing` if its head does not say."""
        scanner = self._scanner
        if scanner.chunked:
            return CHUNKED
        if scanner.length >= 0:
            return LENGTH
        return missing
