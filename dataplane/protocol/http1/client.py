"""The HTTP/1 codec of the side that makes requests (RFC 9112): one request at a time, on a kept-alive connection.

In: a server's bytes; `send_request` and the rest of `interface.ClientCodec`. Out: the response's events.
Refuses responses nobody asked for, and those framed ambiguously, with status hint 502.
"""

from dataplane.protocol.events import Event, RequestHead, ResponseHead, Upgraded
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE, TO_EOF
from dataplane.protocol.http1.connection import WANT_BODY, WANT_HEAD, Http1Connection
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))

# Copies, because C compares them without a look into another module.
_WANT_BODY = WANT_BODY
_WANT_HEAD = WANT_HEAD
_CHUNKED = CHUNKED
_LENGTH = LENGTH
_NONE = NONE
_TO_EOF = TO_EOF


class Http1Client(Http1Connection):
    """One connection to an HTTP/1 server."""

    __slots__ = ("_connect", "_head_only", "_protocol")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, True)
        self._connect = False
        self._head_only = False
        self._protocol = b""

    @property
    def can_open(self) -> bool:
        """Whether the connection is idle and stays open."""
        return not self.active and not self.closing and not self._buffer

    def send_request(self, head: RequestHead, end: bool) -> int:
        """Send a request head; see `interface.ClientCodec`."""
        if self.active or self.closing or self._buffer:
            raise MisuseError("a request was sent on a connection that cannot take one now")
        out = self._writer.out
        method = head.method
        self._stream += 1
        self.active = 1
        self._owed = True
        self._searched = 0
        self._state = _WANT_HEAD
        self._head_only = method == b"HEAD"
        self._connect = method == b"CONNECT" and not head.protocol
        self._protocol = head.protocol
        out.append(method)
        out.append(b" ")
        if head.absolute:
            out.append(head.scheme)
            out.append(b"://")
            out.append(head.authority)
        if self._connect:
            out.append(head.authority)
        elif not head.absolute or head.path != b"*":
            out.append(head.path)
        out.append(b" HTTP/1.1\r\nHost: ")
        out.append(head.authority)
        out.append(b"\r\n")
        # A request for a tunnel has no body: a length told all the same would make its server wait for one.
        tunnel = self._connect or self._protocol != b""
        length = self._writer.fields(head.headers, tunnel)
        mode = _NONE
        if self._protocol:
            out.append(b"Connection: Upgrade\r\nUpgrade: ")
            out.append(self._protocol)
            out.append(b"\r\n")
        elif not tunnel:
            if length >= 0:
                mode = _LENGTH
            elif not end:
                mode = _CHUNKED
                out.append(b"Transfer-Encoding: chunked\r\n")
            elif method in _WITH_BODY:
                out.append(b"Content-Length: 0\r\n")
        out.append(b"\r\n")
        self._writer.start(mode, length)
        if end or tunnel:
            self._our_end()
        return self._stream

    def _read_head(self, events: list[Event]) -> bool:
        """Read a head of the response; False when it is not whole, or broken."""
        scanner = self._scanner
        data = self._buffer
        pos = self._at
        end = scanner.response(data, pos, pos + self._searched)
        if end == 0:
            self._searched = len(data) - pos
            return False
        self._searched = 0
        if end < 0:
            self._fail(502, scanner.reason, scanner.counter, events)
            return False
        self._at = end
        if scanner.status < 200:
            self._informational(events)
        else:
            self._begin(events)
        return True

    def _informational(self, events: list[Event]) -> None:
        scanner = self._scanner
        status = scanner.status
        if status == 101 and not self._protocol:
            self._fail(502, "101 came to a request that asked for no upgrade", "http1_upgrade", events)
            return
        events.append(ResponseHead(self._stream, status, scanner.phrase, scanner.headers, False, scanner.version))
        if status == 101:
            self._tunnel()
            events.append(Upgraded(self._stream, scanner.protocol or self._protocol))

    def _begin(self, events: list[Event]) -> None:
        """Turn the final head just read into an event, and get ready for its body."""
        scanner = self._scanner
        status = scanner.status
        tunnel = self._connect and 200 <= status < 300
        if scanner.close or (scanner.version == 10 and not scanner.keep_alive):
            self.closing = True
        if tunnel or self._head_only or status == 204 or status == 304:  # noqa: PLR1714 - plain C compares
            self._body.start(self._stream, _NONE)
        else:
            self._body.begin(self._stream, _TO_EOF)
            if self._body.mode == _TO_EOF:
                self.closing = True
        done = self._body.done and not tunnel
        events.append(ResponseHead(self._stream, status, scanner.phrase, scanner.headers, done, scanner.version))
        if tunnel:
            self._tunnel()
            events.append(Upgraded(self._stream, b""))
        elif done:
            self._their_end()
        else:
            self._state = _WANT_BODY
