"""The HTTP/1 codec of the side that takes requests (RFC 9112).

In: a client's bytes; `send_response` and the rest of `interface.ServerCodec`. Out: one request at a time, pipelined
ones after the response before them is finished. An end of sending while an answer is due gives the request up, unless it
said that it is the last one (HTTP/1.0, `connection: close`). A broken request is answered here with its status and
`x-tulle-error`, and reported as a Failure.
"""

from http import HTTPStatus

from dataplane.protocol.events import Event, Headers, RequestHead
from dataplane.protocol.fields import get
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE, TO_EOF
from dataplane.protocol.http1.connection import WAIT, WANT_BODY, Http1Connection
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

_NEWER = {
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}
"""As RFC 9110 section 15 has them; a Python before 3.13 has those of the RFCs before."""
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus} | _NEWER
_LINES = {value: b"HTTP/1.1 %d %s\r\n" % (value, phrase) for value, phrase in _PHRASES.items()}

# Copies, because C compares them without a look into another module.
_WAIT = WAIT
_WANT_BODY = WANT_BODY
_CHUNKED = CHUNKED
_LENGTH = LENGTH
_NONE = NONE
_TO_EOF = TO_EOF


class Http1Server(Http1Connection):
    """One accepted HTTP/1 connection."""

    __slots__ = (
        "_connect",
        "_continued",
        "_head_only",
        "_protocol",
        "_scheme",
        "_started",
        "_version",
    )

    def __init__(self, limits: Limits, scheme: bytes = b"http") -> None:
        super().__init__(limits, False)
        self._scheme = scheme
        self._connect = False
        self._continued = False
        self._head_only = False
        self._protocol = b""
        self._started = False
        self._version = 11

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:
        """Answer the current request; see `interface.ServerCodec`."""
        if stream != self._stream or not self.active or not self._owed or self._started:
            return
        if status < 200:
            self._informational(status, reason, headers)
            return
        out = self._writer.out
        self._started = True
        self._write_line(status, reason)
        if self._connect and 200 <= status < 300:
            self._write_tunnel_head(headers)
            return
        if self._connect or (self._state == _WANT_BODY and self._gives_up(status)):
            # What follows a refused CONNECT may be meant for the tunnel.
            self.closing = True
        bodyless = self._head_only or status in {304, 204}
        if status == 204:
            headers = [field for field in headers if field[0] != b"content-length"]
        length = self._writer.fields(headers, False)
        mode = _NONE
        if not bodyless:
            if length >= 0:
                mode = _LENGTH
            elif end:
                out.append(b"content-length: 0\r\n")
            elif self._version == 11:
                mode = _CHUNKED
                out.append(b"transfer-encoding: chunked\r\n")
            else:
                mode = _TO_EOF
                self.closing = True
        if self.closing:
            out.append(b"connection: close\r\n\r\n")
        elif self._version == 10:
            out.append(b"connection: keep-alive\r\n\r\n")
        else:
            out.append(b"\r\n")
        self._writer.start(mode, length)
        if end:
            self._our_end()

    def _gives_up(self, status: int) -> bool:
        """Whether the rest of the request is not waited for after an answer given now: it is late, or much, or may never come."""
        body = self._body
        if status == 408 or (body.mode == _LENGTH and body.left > self._limits.drain_bytes):
            return True
        return not self._continued and get(self._scanner.headers, b"expect") is not None

    def _informational(self, status: int, reason: bytes, headers: Headers) -> None:
        """Send a 1xx, or switch protocols."""
        if status == 101:
            if not self._protocol:
                raise MisuseError("101 was sent to a request that asked for no upgrade")
            self._started = True
            self._write_line(status, reason)
            self._writer.out.append(b"connection: Upgrade\r\nupgrade: " + self._protocol + b"\r\n")
            self._write_tunnel_head(headers)
        elif self._version == 11:
            self._continued = self._continued or status == 100
            self._write_line(status, reason)
            self._writer.fields(headers, True)
            self._writer.out.append(b"\r\n")

    def _write_tunnel_head(self, headers: Headers) -> None:
        self._writer.fields(headers, True)
        self._writer.out.append(b"\r\n")
        self._tunnel()

    def _write_line(self, status: int, reason: bytes) -> None:
        line = _LINES.get(status)
        if line is not None and (not reason or reason == _PHRASES[status]):
            self._writer.out.append(line)
        else:
            self._writer.out.append(b"HTTP/1.1 %d %s\r\n" % (status, reason))

    def _read_head(self, events: list[Event]) -> bool:
        """Read the head of the next request; False when it is not whole, or broken."""
        data = self._buffer
        pos = self._at
        p = data
        n = len(data)
        if p[pos] == 13:  # RFC 9112, 2.2: empty lines before a request are skipped
            if pos + 1 == n:
                return False
            if p[pos + 1] == 10:
                self._at = pos + 2
                return True
        scanner = self._scanner
        end = scanner.request(data, pos, pos + self._searched)
        if end == 0:
            self._searched = n - pos
            return False
        self._searched = 0
        self._started = False
        self._stream += 1
        if end < 0:
            self._fail(scanner.status, scanner.reason, scanner.counter, events)
            return False
        self._at = end
        self._begin(events)
        return True

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
        self._owed = True
        self.active = 1
        self._last = scanner.close or scanner.version == 10
        if scanner.close or (scanner.version == 10 and not scanner.keep_alive):
            self.closing = True
        self._body.begin(self._stream, _NONE)
        done = self._body.done
        self._state = _WAIT if done else _WANT_BODY
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

    def _refuse(self, status: int, reason: str, counter: str) -> None:
        """Answer a broken request, unless a response is on its way already."""
        if self._started:
            return
        out = self._writer.out
        out.append(_LINES.get(status, _LINES[400]))
        # Only what is too much is explained: it may be right, and a setting would let it in.
        body = b"%s.\n" % (reason[0].upper() + reason[1:]).encode() if status in (431, 414) else b""
        if body:
            out.append(b"content-type: text/plain; charset=utf-8\r\n")
        out.append(
            b"content-length: %d\r\nconnection: close\r\nx-tulle-error: %s\r\n\r\n%s"
            % (len(body), counter.encode(), body)
        )
