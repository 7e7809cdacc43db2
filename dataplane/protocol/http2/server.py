"""The HTTP/2 codec of the side that takes requests (RFC 9113, and RFC 8441 for extended CONNECT).

In: a client's bytes; `send_response` and the rest of `interface.ServerCodec`. Out: requests on as many streams as the
limits allow. A stream beyond them is refused so that it is safe to retry; a malformed request resets its stream only.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Headers, RequestHead
from dataplane.protocol.fields import content_length, get
from dataplane.protocol.http2 import frames, settings, states
from dataplane.protocol.http2.connection import Http2Connection
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

_STATUS = tuple(b"%d" % value for value in range(1000))
_HEADER_BYTES = frames.HEADER_BYTES
_THEIR_END = states.THEIR_END
_WE_SEND = states.WE_SEND


class Http2Server(Http2Connection):
    """One accepted HTTP/2 connection; the preface is the first thing it reads."""

    __slots__ = ("_concurrent", "_going", "_shut")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits, False)
        self._concurrent = limits.concurrent_streams
        self._going = False
        self._shut = False
        self._writer.write(settings.ours(limits, True))
        self._inflow.begin()

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:  # noqa: ARG002 - the shape of all codecs
        """Answer a request; see `interface.ServerCodec`. `reason` has no form in HTTP/2."""
        entry = self._streams.living.get(stream)
        if entry is None or not entry.state & _WE_SEND or entry.final:
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
        encoder = self._writer.encoder
        encoder.begin(_HEADER_BYTES)
        encoder.field(b":status", _STATUS[status], False)
        encoder.fields(headers)
        self._writer.section(stream, end)
        if end:
            self._endings.ours(entry)

    def goaway(self) -> None:
        """Tell the client to open no more streams, without refusing those it has sent meanwhile."""
        if not self._endings.dead and not self._going:
            self._going = True
            self._writer.write(frames.goaway(frames.MAX_WINDOW, codes.NO_ERROR, b""))

    def shutdown(self) -> None:
        """Refuse what was not opened yet; what is open is still served."""
        if not self._endings.dead and not self._shut:
            self._endings.closing = True
            self._shut = True
            self._writer.write(frames.goaway(self._streams.last, codes.NO_ERROR, b""))

    def _head(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        """Open a stream for a field section, if it may be opened."""
        streams = self._streams
        if stream % 2 == 0:
            self._disorder("a client opened a stream of even number", events)
            return
        if stream <= streams.last:
            entry = streams.living.get(stream)
            if entry is not None or streams.lately(stream):
                self._endings.late(stream, entry, 0, events)
            elif streams.skipped(stream):
                self._disorder("streams were opened out of order", events)
            else:
                self._endings.fail(codes.STREAM_CLOSED, "HEADERS came on a closed stream", "http2_headers", events)
            return
        if self._shut:  # our GOAWAY named the last stream; the client retries this one elsewhere
            streams.ignore(stream)
            return
        self._flood.received()
        entry = streams.open(stream, self._outflow.stream_window, self._inflow.stream_window)
        entry.opened = self.now
        entry.headed = True
        if last:
            entry.state = states.after(entry.state, _THEIR_END)
        if len(streams.living) > self._concurrent:
            self._endings.abandon(entry, codes.REFUSED_STREAM)
            if not self._flood.premature():
                self._endings.fail(codes.ENHANCE_YOUR_CALM, "too many streams at once", "http2_streams", events)
            return
        self._open(entry, fields, last, events)

    def _disorder(self, reason: str, events: list[Event]) -> None:
        self._endings.fail(codes.PROTOCOL_ERROR, reason, "http2_headers", events)

    def _open(self, entry: Http2Stream, fields: Headers, last: bool, events: list[Event]) -> None:
        """Make a request of the fields, or refuse it."""
        if self._decoder.too_large:
            self._too_large(entry, events)
            return
        if self._decoder.malformed:
            self._malformed(entry, "a field name or value has forbidden bytes", events)
            return
        read = self._section.request(entry.id, fields, last)
        if not isinstance(read, RequestHead):
            self._malformed(entry, read, events)
            return
        head = read
        entry.receive_left = self._section.length
        if last and entry.receive_left > 0:
            self._malformed(entry, "Content-Length was told for no body", events)
            return
        entry.bodyless = head.method == b"HEAD"
        entry.tunnel = head.method == b"CONNECT"
        events.append(head)

    def _too_large(self, entry: Http2Stream, events: list[Event]) -> None:
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
            self._endings.fail(codes.ENHANCE_YOUR_CALM, "too many requests were refused", "http2_rapid_reset", events)
