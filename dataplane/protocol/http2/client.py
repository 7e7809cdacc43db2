"""The HTTP/2 codec of the side that makes requests (RFC 9113): as many at once as the server takes.

In: a server's bytes; `send_request` and the rest of `interface.ClientCodec`. Out: the responses' events. Streams a GOAWAY
leaves out come back as Reset with REFUSED_STREAM: they are safe to send again. A malformed response resets its stream.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Headers, RequestHead, ResponseHead
from dataplane.protocol.fields import content_length, get
from dataplane.protocol.http2 import frames, settings, states
from dataplane.protocol.http2.connection import Http2Connection
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

_HEADER_BYTES = frames.HEADER_BYTES
_MAX_STREAM = frames.MAX_WINDOW
_IDLE = states.IDLE
_THEY_SEND = states.THEY_SEND


class Http2Client(Http2Connection):
    """One connection to an HTTP/2 server; the preface and SETTINGS are in the first `output()`."""

    __slots__ = ("_next",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, True)
        self._next = 1
        self.peer_streams = 100  # until the server tells; what RFC 9113 recommends as the least it should allow
        self._writer.write(frames.PREFACE + settings.ours(limits, False))
        self._inflow.begin()

    def expect(self, streams: int) -> None:
        """Open no more than so many at once until the server tells its limit: what it told on another connection."""
        self.peer_streams = streams

    @property
    def can_open(self) -> bool:
        """Whether `send_request` is allowed now."""
        return self.room(self.peer_streams)

    def room(self, most: int) -> bool:
        """Whether `send_request` is allowed now, and keeps the streams within `most` of our own."""
        return not self._endings.closing and len(self._streams.living) < min(most, self.peer_streams)

    def send_request(self, head: RequestHead, end: bool) -> int:
        """Send a request head; see `interface.ClientCodec`."""
        if not self.room(self.peer_streams):
            raise MisuseError("a request was sent on a connection that cannot take one now")
        stream = self._next
        self._next += 2
        if self._next > _MAX_STREAM:
            self._endings.closing = True
        entry = self._streams.open(stream, self._outflow.stream_window, self._inflow.stream_window)
        entry.opened = self.now
        entry.bodyless = head.method == b"HEAD"
        length = get(head.headers, b"content-length")
        if length is not None:
            entry.send_left = content_length(length)
        encoder = self._writer.encoder
        encoder.begin(_HEADER_BYTES)
        encoder.field(b":method", b"CONNECT" if head.protocol else head.method, False)
        if head.path:
            encoder.field(b":scheme", head.scheme, False)
            encoder.field(b":path", head.path, False)
        if head.authority:  # HTTP/1.0 may do without (RFC 9113, section 8.3.1)
            encoder.field(b":authority", head.authority, False)
        if head.protocol:
            encoder.field(b":protocol", head.protocol, False)
        encoder.fields(head.headers)
        self._writer.section(stream, end)
        if end:
            self._endings.ours(entry)
        return stream

    def goaway(self) -> None:
        """Open no more streams, and tell the server so."""
        if not self._endings.closing:
            self._endings.closing = True
            self._writer.write(frames.goaway(0, codes.NO_ERROR, b""))

    def shutdown(self) -> None:
        """The same as `goaway`: a server opens no streams."""
        self.goaway()

    def _head(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        """Find the stream a field section answers on."""
        entry = self._streams.living.get(stream)
        if entry is not None and entry.state & _THEY_SEND:
            self._flood.received()
            self._response(entry, fields, last, events)
        elif entry is None and self._streams.state(stream) == _IDLE:
            why = "HEADERS came on a stream nobody opened"
            self._endings.fail(codes.PROTOCOL_ERROR, why, "http2_headers", events)
        else:
            self._endings.late(stream, entry, 0, events)

    def _response(self, entry: Http2Stream, fields: Headers, last: bool, events: list[Event]) -> None:
        """Make a response of the fields, informational or final, or break its stream off."""
        if self._decoder.malformed or self._decoder.too_large:
            why = "a field name or value of the response has forbidden bytes"
            if self._decoder.too_large:
                why = f"{self._limits.too_long('the response head')}, or {self._limits.too_many()}"
            self._malformed(entry, why, events)
            return
        read = self._section.response(entry.id, fields, last)
        if not isinstance(read, ResponseHead):
            self._malformed(entry, read, events)
            return
        head = read
        if head.status >= 200:
            entry.final = True
            entry.headed = True
            if head.status == 204 or head.status == 304:  # noqa: PLR1714 - plain C compares
                entry.bodyless = True
            entry.receive_left = 0 if entry.bodyless else self._section.length
            if last and entry.receive_left > 0:
                self._malformed(entry, "Content-Length was told for no body", events)
                return
        events.append(head)
        if last:
            self._endings.theirs(entry)
