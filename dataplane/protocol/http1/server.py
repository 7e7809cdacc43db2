"""The HTTP/1 codec of the side that takes requests (RFC 9112).

In: a client's bytes; `send_response` and the rest of `interface.ServerCodec`. Out: one request at a time, pipelined
ones after the response before them is finished. An end of sending while an answer is due gives the request up, unless it
said that it is the last one (HTTP/1.0, `connection: close`). A broken request is answered here with its status and
`x-tulle-error`, and reported as a Failure.
"""

from http import HTTPStatus

from dataplane.protocol.events import Event, Headers, RequestHead
from dataplane.protocol.fields import get
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE, TO_EOF, TUNNEL
from dataplane.protocol.http1.connection import WAIT, WANT_BODY, WANT_HEAD, Http1Connection
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_LINES = {value: b"HTTP/1.1 %d %s\r\n" % (value, phrase) for value, phrase in _PHRASES.items()}


class Http1Server(Http1Connection):
    """One accepted HTTP/1 connection."""

    __slots__ = (
        "_connect",
        "_continued",
        "_head_only",
        "_last",
        "_protocol",
        "_responding",
        "_scheme",
        "_started",
        "_version",
    )

    def __init__(self, limits: Limits, scheme: bytes = b"http") -> None:
        super().__init__(limits)
        self._scheme = scheme
        self._connect = False
        self._continued = False
        self._head_only = False
        self._last = False
        self._protocol = b""
        self._responding = False
        self._started = False
        self._version = 11

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:
        """Answer the current request; see `interface.ServerCodec`."""
        if stream != self._stream or not self.active or not self._responding or self._started:
            return
        if status < 200:
            self._informational(status, reason, headers)
            return
        out = self._out
        self._started = True
        self._write_line(status, reason)
        if self._connect and 200 <= status < 300:
            self._write_tunnel_head(headers)
            return
        if self._connect or (self._state == WANT_BODY and self._gives_up(status)):
            # What follows a refused CONNECT may be meant for the tunnel.
            self.closing = True
        bodyless = self._head_only or status in {304, 204}
        if status == 204:
            headers = [field for field in headers if field[0] != b"content-length"]
        length = self._write_fields(headers, False)
        mode = NONE
        if not bodyless:
            if length >= 0:
                mode = LENGTH
            elif end:
                out.append(b"content-length: 0\r\n")
            elif self._version == 11:
                mode = CHUNKED
                out.append(b"transfer-encoding: chunked\r\n")
            else:
                mode = TO_EOF
                self.closing = True
        if self.closing:
            out.append(b"connection: close\r\n\r\n")
        elif self._version == 10:
            out.append(b"connection: keep-alive\r\n\r\n")
        else:
            out.append(b"\r\n")
        self._start_sending(mode, length)
        if end:
            self._end_sending()

    def _gives_up(self, status: int) -> bool:
        """Whether the rest of the request is not waited for after an answer given now: it is late, or much, or may never come."""
        body = self._body
        if status == 408 or (body.mode == LENGTH and body.left > self._limits.drain_bytes):
            return True
        return not self._continued and get(self._scanner.headers, b"expect") is not None

    def _informational(self, status: int, reason: bytes, headers: Headers) -> None:
        """Send a 1xx, or switch protocols."""
        if status == 101:
            if not self._protocol:
                raise MisuseError("101 was sent to a request that asked for no upgrade")
            self._started = True
            self._write_line(status, reason)
            self._out.append(b"connection: Upgrade\r\nupgrade: " + self._protocol + b"\r\n")
            self._write_tunnel_head(headers)
        elif self._version == 11:
            self._continued = self._continued or status == 100
            self._write_line(status, reason)
            self._write_fields(headers, True)
            self._out.append(b"\r\n")

    def _write_tunnel_head(self, headers: Headers) -> None:
        self._write_fields(headers, True)
        self._out.append(b"\r\n")
        self._tunnel()

    def _write_line(self, status: int, reason: bytes) -> None:
        line = _LINES.get(status)
        if line is not None and (not reason or reason == _PHRASES[status]):
            self._out.append(line)
        else:
            self._out.append(b"HTTP/1.1 %d %s\r\n" % (status, reason))

    def _read_head(self, data: bytes, pos: int, events: list[Event]) -> int:
        p = data
        n = len(data)
        if p[pos] == 13:  # RFC 9112, 2.2: empty lines before a request are skipped
            if pos + 1 == n:
                return -1
            if p[pos + 1] == 10:
                return pos + 2
        scanner = self._scanner
        end = scanner.locate(data, pos, pos + self._searched)
        if end == 0:
            self._searched = n - pos
            return -1
        self._searched = 0
        self._stream += 1
        if end < 0:
            # Where not even the line has ended it is the target that is long (RFC 9112, section 3).
            status = 431 if data.find(b"\n", pos, pos + self._limits.header_bytes) >= 0 else 414
            return self._fail(status, scanner.too_long("the request head"), "http1_header_bytes", events)
        if not scanner.request(data, pos):
            return self._fail(scanner.status, scanner.reason, scanner.counter, events)
        self._begin(events)
        return end

    def _begin(self, events: list[Event]) -> None:
        """Turn the head just read into an event, and get ready for its body."""
        scanner = self._scanner
        method = scanner.method
        connect = method == b"CONNECT"
        self._head_only = method == b"HEAD"
        self._protocol = scanner.protocol
        self._connect = connect
        self._continued = False
        self._version = scanner.version
        self._responding = True
        self._started = False
        self.active = 1
        self._last = scanner.close or scanner.version == 10
        if scanner.close or (scanner.version == 10 and not scanner.keep_alive):
            self.closing = True
        mode = self._body_mode(NONE)
        self._body.start(self._stream, mode, scanner.length)
        done = self._body.done
        self._state = WAIT if done else WANT_BODY
        head = RequestHead(
            self._stream,
            method,
            scanner.scheme or self._scheme,
            scanner.authority,
            scanner.path,
            scanner.headers,
            done and not connect and not scanner.protocol,
            scanner.version,
            scanner.protocol,
        )
        if scanner.scheme:
            head.absolute = True
        events.append(head)

    def _body_read(self, events: list[Event]) -> None:  # noqa: ARG002 - a hook both ends share
        if self._body.mode == TUNNEL:
            if not self._send_open:
                self._die()
            else:
                self._state = WAIT
            return
        self._state = WAIT
        if not self._responding:
            self._finish()

    def _message_sent(self) -> None:
        self._responding = False
        if self._body.mode == TUNNEL:
            if self._body.done:
                self._die()
            return
        if self._state == WAIT:
            self._finish()
        elif self.closing:
            self._die()
        # Else the answer came before the end of the body, and the rest of that is read before the next request.

    def _finish(self) -> None:
        """Both messages are complete: wait for the next request, if there may be one."""
        self.active = 0
        if self.closing or (self._eof and not self._buffer):
            self._die()
        else:
            self._state = WANT_HEAD

    def _after_eof(self, events: list[Event]) -> None:
        if self._state == WAIT and self._body.mode != TUNNEL and self.active and not self._last and not self._buffer:
            # Nobody is there any more for the answer: a client that only ends what it sends says so in its last request.
            self._lost("the client closed the connection before it had the whole answer", events)
        else:
            Http1Connection._after_eof(self, events)  # noqa: SLF001 - how Cython calls the base class

    def _check_held(self, size: int, events: list[Event]) -> None:
        if size > self._pipeline and self._body.mode != TUNNEL:
            self._fail(
                400, f"more than {self._pipeline} bytes were sent ahead of a response", "http1_pipeline_bytes", events
            )

    def _refuse(self, status: int, reason: str, counter: str) -> None:
        """Answer a broken request, unless a response is on its way already."""
        if self._started and self.active:
            return
        out = self._out
        out.append(_LINES.get(status, _LINES[400]))
        # Only what is too much is explained: it may be right, and a setting would let it in.
        body = b"%s.\n" % (reason[0].upper() + reason[1:]).encode() if status in (431, 414) else b""
        if body:
            out.append(b"content-type: text/plain; charset=utf-8\r\n")
        out.append(
            b"content-length: %d\r\nconnection: close\r\nx-tulle-error: %s\r\n\r\n%s"
            % (len(body), counter.encode(), body)
        )
