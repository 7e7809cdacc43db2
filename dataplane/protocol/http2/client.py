"""The HTTP/2 codec of the side that makes requests (RFC 9113): as many at once as the server takes.

In: a server's bytes; `send_request` and the rest of `interface.ClientCodec`. Out: the responses' events. Streams a GOAWAY
leaves out come back as Reset with REFUSED_STREAM: they are safe to send again. A malformed response resets its stream.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Goaway, Headers, RequestHead, Reset, ResponseHead
from dataplane.protocol.fields import content_length, get
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2.connection import PREFACE, Http2Connection
from dataplane.protocol.http2.stream import Stream
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits


class Http2Client(Http2Connection):
    """One connection to an HTTP/2 server; the preface and SETTINGS are in the first `output()`."""

    __slots__ = ("_next",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._next = 1
        self._push = 0
        self.peer_streams = 100  # until the server tells; what RFC 9113 recommends as the least it should allow
        told = [
            (frames.ENABLE_PUSH, 0),
            (frames.INITIAL_WINDOW_SIZE, self._window),
            (frames.MAX_HEADER_LIST_SIZE, limits.section_bytes),
        ]
        if limits.hpack_table_bytes != 4096:
            told.append((frames.HEADER_TABLE_SIZE, limits.hpack_table_bytes))
        self._out.append(PREFACE + frames.settings(told))
        if limits.connection_window > frames.DEFAULT_WINDOW:
            self._out.append(frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW))

    def expect(self, streams: int) -> None:
        """Open no more than so many at once until the server tells its limit: what it told on another connection."""
        self.peer_streams = streams

    @property
    def can_open(self) -> bool:
        """Whether `send_request` is allowed now."""
        return not self.closing and self.active < self.peer_streams

    def send_request(self, head: RequestHead, end: bool) -> int:
        """Send a request head; see `interface.ClientCodec`."""
        if self.closing or self.active >= self.peer_streams:
            raise MisuseError("a request was sent on a connection that cannot take one now")
        stream = self._next
        self._next += 2
        self._last = stream
        if self._next > frames.MAX_WINDOW:
            self.closing = True
        entry = Stream(stream, self._peer_window, self._window)
        entry.opened = self.now
        self._streams[stream] = entry
        self.active += 1
        entry.bodyless = head.method == b"HEAD"
        length = get(head.headers, b"content-length")
        if length is not None:
            entry.send_left = content_length(length)
        encoder = self._encoder
        encoder.begin(frames.HEADER_BYTES)
        encoder.field(b":method", b"CONNECT" if head.protocol else head.method, False)
        if head.path:
            encoder.field(b":scheme", head.scheme, False)
            encoder.field(b":path", head.path, False)
        if head.authority:  # HTTP/1.0 may do without (RFC 9113, section 8.3.1)
            encoder.field(b":authority", head.authority, False)
        if head.protocol:
            encoder.field(b":protocol", head.protocol, False)
        encoder.fields(head.headers)
        self._write_section(stream, end)
        if end:
            self._ended(entry)
        return stream

    def goaway(self) -> None:
        """Open no more streams, and tell the server so."""
        if not self._dead and not self.closing:
            self.closing = True
            self._out.append(frames.goaway(0, codes.NO_ERROR, b""))

    def shutdown(self) -> None:
        """The same as `goaway`: a server opens no streams."""
        self.goaway()

    def _idle(self, stream: int) -> bool:
        return stream > self._last or (stream % 2 == 0 and stream != 0)

    def _section_read(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        entry = self._streams.get(stream)
        if entry is None or not entry.receive_open:
            if self._idle(stream):
                self._fail(codes.PROTOCOL_ERROR, "HEADERS came on a stream nobody opened", "http2_headers", events)
            else:
                self._late(stream, entry, 0, events)
            return
        if entry.final:
            self._read_trailers(entry, fields, last, events)
            return
        self._flood.received()
        if self._decoder.malformed or self._decoder.too_large:
            why = "a field name or value of the response has forbidden bytes"
            if self._decoder.too_large:
                why = f"{self._limits.too_long('the response head')}, or {self._limits.too_many()}"
            self._stream_error(entry, codes.PROTOCOL_ERROR, why, events)
            return
        read = self._section.response(stream, fields, last)
        if not isinstance(read, ResponseHead):
            self._stream_error(entry, codes.PROTOCOL_ERROR, read, events)
            return
        head = read
        if head.status >= 200:
            entry.final = True
            if head.status == 204 or head.status == 304:  # noqa: PLR1714 - plain C compares
                entry.bodyless = True
            if not entry.bodyless:
                entry.receive_left = self._section.length
                if last and entry.receive_left > 0:
                    why = "Content-Length was told for no body"
                    self._stream_error(entry, codes.PROTOCOL_ERROR, why, events)
                    return
        events.append(head)
        if last:
            self._received_end(entry)

    def _data_allowed(self, entry: Stream, size: int, last: bool, events: list[Event]) -> bool:
        if not entry.final or (entry.bodyless and size):
            self._stream_error(entry, codes.PROTOCOL_ERROR, "DATA came where a response has none", events)
            return False
        return Http2Connection._data_allowed(self, entry, size, last, events)  # noqa: SLF001 - its own base

    def _costs(self, code: int) -> bool:
        """Nothing for a refusal: it answers a request of ours, and sidecars refuse for as long as their app is down."""
        return code != codes.REFUSED_STREAM

    def _goaway_frame(self, payload: bytes, events: list[Event]) -> None:
        """Take back the streams the server will not answer."""
        last = int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW
        self.closing = True
        events.append(Goaway(last, int.from_bytes(payload[4:8], "big")))
        for entry in [entry for entry in self._streams.values() if entry.id > last]:
            self._close(entry)
            events.append(Reset(entry.id, codes.REFUSED_STREAM, "the server is going away"))
