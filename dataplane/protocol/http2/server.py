"""The HTTP/2 codec of the side that takes requests (RFC 9113, and RFC 8441 for extended CONNECT).

In: a client's bytes; `send_response` and the rest of `interface.ServerCodec`. Out: requests on as many streams as the
limits allow. A stream beyond them is refused so that it is safe to retry; a malformed request resets its stream only.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Headers, RequestHead
from dataplane.protocol.fields import content_length, get
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2.connection import PREFACE, Http2Connection
from dataplane.protocol.http2.stream import Stream
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

_STATUS = {value: b"%d" % value for value in range(100, 1000)}


class Http2Server(Http2Connection):
    """One accepted HTTP/2 connection; the preface is the first thing it reads."""

    __slots__ = ("_concurrent", "_going", "_ignored", "_shut", "_skipped_after", "_skipped_before")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._preface = len(PREFACE)
        self._concurrent = limits.concurrent_streams
        self._going = False
        self._ignored = 0
        self._shut = False
        self._skipped_after = 0
        self._skipped_before = 0
        told = [
            (frames.MAX_CONCURRENT_STREAMS, limits.concurrent_streams),
            (frames.INITIAL_WINDOW_SIZE, self._window),
            (frames.MAX_HEADER_LIST_SIZE, limits.section_bytes),
            (frames.ENABLE_CONNECT_PROTOCOL, 1),
        ]
        if limits.hpack_table_bytes != 4096:
            told.append((frames.HEADER_TABLE_SIZE, limits.hpack_table_bytes))
        self._out.append(frames.settings(told))
        if limits.connection_window > frames.DEFAULT_WINDOW:
            self._out.append(frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW))

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:  # noqa: ARG002 - the shape of all codecs
        """Answer a request; see `interface.ServerCodec`. `reason` has no form in HTTP/2."""
        entry = self._streams.get(stream)
        if entry is None or not entry.send_open or entry.final:
            return
        if status < 200:
            if status == 101:
                raise MisuseError("101 does not exist in HTTP/2: answer an extended CONNECT with 200")
            end = False
        else:
            entry.final = True
            if end or status >= 300:
                entry.tunnel = False
            length = get(headers, b"content-length")
            if length is not None:
                entry.send_left = content_length(length)
            if status == 204 or status == 304:  # noqa: PLR1714 - plain C compares
                entry.bodyless = True
        encoder = self._encoder
        encoder.begin(frames.HEADER_BYTES)
        encoder.field(b":status", _STATUS[status], False)
        encoder.fields(headers)
        self._write_section(stream, end)
        if end:
            self._ended(entry)

    def goaway(self) -> None:
        """Tell the client to open no more streams, without refusing those it has sent meanwhile."""
        if not self._dead and not self._going:
            self._going = True
            self._out.append(frames.goaway(frames.MAX_WINDOW, codes.NO_ERROR, b""))

    def shutdown(self) -> None:
        """Refuse what was not opened yet; what is open is still served."""
        if not self._dead and not self._shut:
            self.closing = True
            self._shut = True
            self._out.append(frames.goaway(self._last, codes.NO_ERROR, b""))

    def _idle(self, stream: int) -> bool:
        return stream > self._last and stream > self._ignored

    def _section_read(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        entry = self._streams.get(stream)
        if entry is not None and entry.receive_open:
            self._read_trailers(entry, fields, last, events)
            return
        if stream % 2 == 0:
            self._fail(codes.PROTOCOL_ERROR, "a client opened a stream of even number", "http2_headers", events)
            return
        if stream <= self._last:
            if entry is not None or stream in self._reset_lately:
                self._late(stream, entry, 0, events)
            elif self._skipped_after < stream < self._skipped_before:
                self._fail(codes.PROTOCOL_ERROR, "streams were opened out of order", "http2_headers", events)
            else:
                self._fail(codes.STREAM_CLOSED, "HEADERS came on a closed stream", "http2_headers", events)
            return
        if self._shut:  # our GOAWAY named the last stream; the client retries this one elsewhere
            self._ignored = stream
            self._forget(stream)
            return
        self._flood.received()
        if stream - self._last > 2:
            self._skipped_after = self._last
            self._skipped_before = stream
        self._last = stream
        entry = Stream(stream, self._peer_window, self._window)
        entry.opened = self.now
        self._streams[stream] = entry
        self.active += 1
        entry.receive_open = not last
        if self.active > self._concurrent:
            self._abandon(entry, codes.REFUSED_STREAM)
            if not self._flood.premature():
                self._fail(codes.ENHANCE_YOUR_CALM, "too many streams at once", "http2_streams", events)
            return
        self._open(entry, fields, last, events)

    def _open(self, entry: Stream, fields: Headers, last: bool, events: list[Event]) -> None:
        """Make a request of the fields, or refuse it."""
        if self._decoder.too_large:
            self._too_large(entry, events)
            return
        if self._decoder.malformed:
            self._stream_error(entry, codes.PROTOCOL_ERROR, "a field name or value has forbidden bytes", events)
            return
        read = self._section.request(entry.id, fields, last)
        if not isinstance(read, RequestHead):
            self._stream_error(entry, codes.PROTOCOL_ERROR, read, events)
            return
        head = read
        entry.receive_left = self._section.length
        if last and entry.receive_left > 0:
            self._stream_error(entry, codes.PROTOCOL_ERROR, "Content-Length was told for no body", events)
            return
        entry.bodyless = head.method == b"HEAD"
        entry.tunnel = head.method == b"CONNECT"
        events.append(head)

    def _too_large(self, entry: Stream, events: list[Event]) -> None:
        """Refuse a request the driver never sees."""
        limits = self._limits
        body = f"The head is too large: {limits.too_long('it')}, or {limits.too_many()}.\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8", b"content-type"),
            (b"content-length", b"%d" % len(body), b"content-length"),
            (b"x-tulle-error", b"http2_header_bytes", b"x-tulle-error"),
        ]
        self.send_response(entry.id, 431, b"", headers, False)
        self.send_data(entry.id, body, True)
        self._flood.premature()  # twice, since the end of the stream has earned one
        if not self._flood.premature():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many requests were refused", "http2_rapid_reset", events)

    def _half_closed(self, entry: Stream) -> None:
        """The response is complete before the request: ask the client to stop, without an error (section 8.1)."""
        if entry.final and not entry.tunnel:
            self._abandon(entry, codes.NO_ERROR)
