"""What both ends of an HTTP/2 connection share for reading: frames out of bytes, and what carries messages (RFC 9113).

In: network bytes. Out: events. Heads are `server`'s and `client`'s, what carries no message `control`'s.
Refuses frames out of place or order, bodies beyond their window or length, field sections that never end.
"""

from dataplane.protocol import codes
from dataplane.protocol import events as kinds
from dataplane.protocol.events import Data, Event, Headers, Reset, Trailers
from dataplane.protocol.hpack.decoder import Decoder
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2.control import Http2Control
from dataplane.protocol.http2.rules import Section
from dataplane.protocol.http2.stream import Stream
from dataplane.protocol.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Copies, because C compares them without a look into another module.
_CONTINUATION = frames.CONTINUATION
_DATA = frames.DATA
_END_HEADERS = frames.END_HEADERS
_END_STREAM = frames.END_STREAM
_HEADERS = frames.HEADERS
_HEADER_BYTES = frames.HEADER_BYTES
_MAX_FRAME = frames.MAX_FRAME
_PADDED = frames.PADDED
_PRIORITIZED = frames.PRIORITIZED
_RST_STREAM = frames.RST_STREAM
_SETTINGS = frames.SETTINGS
_WINDOW_UPDATE = frames.WINDOW_UPDATE
_PIECE = kinds.DATA
_MERGED = 4096
"""DATA frames of one read and stream become one piece while it is no longer than this: small messages cost little together."""


class Http2Connection(Http2Control):
    """The common half of Http2Server and Http2Client."""

    __slots__ = (
        "_decoder",
        "_fragment",
        "_fragment_end",
        "_fragment_stream",
        "_fragments",
        "_preface",
        "_section",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._decoder = Decoder(limits)
        self._section = Section()
        self._fragment: list[bytes] = []
        self._fragment_end = False
        self._fragment_stream = 0
        self._fragments = 0
        self._preface = 0

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; see `interface.Codec`."""
        events: list[Event] = []
        if self._dead:
            return events
        if self.now - self._healed >= 1.0:
            self._heal()
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        n = len(data)
        pos = 0
        if self._preface:
            pos = self._read_preface(data, events)
        p = data
        while n - pos >= _HEADER_BYTES and not self._dead:
            length = (p[pos] << 16) | (p[pos + 1] << 8) | p[pos + 2]
            if length > _MAX_FRAME:
                self._fail(codes.FRAME_SIZE_ERROR, "a frame is longer than 16,384 bytes", "http2_frame_size", events)
                return events
            start = pos + _HEADER_BYTES
            if n - start < length:
                break
            stream = ((p[pos + 5] & 127) << 24) | (p[pos + 6] << 16) | (p[pos + 7] << 8) | p[pos + 8]
            pos = start + length
            self._frame(p[start - 6], p[start - 5], stream, data, start, pos, events)
        if pos < n and not self._dead:
            self._buffer = data[pos:] if pos else data
        return events

    def heading(self) -> bool:
        """Whether the preface or a field section has begun and the rest of it is still to come."""
        return self._fragment_stream != 0 or (self.active == 0 and (self._preface > 0 or len(self._buffer) > 0))

    def receive_eof(self) -> list[Event]:
        """Take the end of what the peer sends: nothing open can be finished."""
        events: list[Event] = []
        if not self._dead:
            for entry in list(self._streams.values()):
                self._close(entry)
                events.append(Reset(entry.id, codes.CONNECT_ERROR, "the connection ended inside a stream"))
            self._die()
        return events

    def _read_preface(self, data: bytes, events: list[Event]) -> int:
        """Read what is left of the client's preface; return the position behind it."""
        want = PREFACE[len(PREFACE) - self._preface :]
        got = data[: len(want)]
        if not want.startswith(got):
            self._fail(codes.PROTOCOL_ERROR, "the HTTP/2 preface is wrong", "http2_preface", events)
            return len(data)
        self._preface -= len(got)
        return len(got)

    def _frame(  # noqa: PLR0913, PLR0917 - a frame has that many parts, and a tuple of them would be made per frame
        self, kind: int, flags: int, stream: int, data: bytes, pos: int, end: int, events: list[Event]
    ) -> None:
        """Hand one frame to who reads its type."""
        if not self._settled and kind != _SETTINGS:
            self._fail(codes.PROTOCOL_ERROR, "the first frame is not SETTINGS", "http2_preface", events)
        elif self._fragment_stream and (kind != _CONTINUATION or stream != self._fragment_stream):
            self._fail(codes.PROTOCOL_ERROR, "a field section was interrupted", "http2_continuation", events)
        elif kind == _DATA:
            self._data_frame(flags, stream, data, pos, end, events)
        elif kind == _HEADERS:
            self._headers_frame(flags, stream, data, pos, end, events)
        elif kind == _WINDOW_UPDATE:
            self._window_frame(stream, data, pos, end, events)
        elif kind == _RST_STREAM:
            self._reset_frame(stream, data, pos, end, events)
        elif kind == _CONTINUATION:
            self._continuation_frame(flags, stream, data, pos, end, events)
        else:
            self._control_frame(kind, flags, stream, data[pos:end], events)

    def _data_frame(self, flags: int, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:  # noqa: PLR0913, PLR0917
        length = end - pos
        last = (flags & _END_STREAM) != 0
        if stream == 0 or self._idle(stream):
            self._fail(codes.PROTOCOL_ERROR, "DATA came on a stream that was never opened", "http2_data", events)
            return
        self._credit -= length
        if self._credit < 0:
            self._fail(codes.FLOW_CONTROL_ERROR, "DATA came beyond the connection's window", "http2_window", events)
            return
        if flags & _PADDED:
            if length == 0:
                self._fail(codes.FRAME_SIZE_ERROR, "DATA is too short for its flags", "http2_padding", events)
                return
            padding = data[pos] + 1
            if padding > length:
                self._fail(codes.PROTOCOL_ERROR, "padding is longer than its frame", "http2_padding", events)
                return
            pos += 1
            end -= padding - 1
        entry = self._streams.get(stream)
        if entry is None or not entry.receive_open:
            self._give_back(length)
            self._late(stream, entry, length, events)
            return
        entry.receive_window -= length
        if entry.receive_window < 0:
            self._give_back(length)
            self._stream_error(entry, codes.FLOW_CONTROL_ERROR, "DATA came beyond the stream's window", events)
            return
        size = end - pos
        if size < length:  # padding counts against the windows, and nobody will consume it
            self._give_back(length - size)
            self._reopen(entry, length - size)
        if size:
            self._flood.received()
        elif not last and not self._flood.empty():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many empty frames", "http2_empty_flood", events)
            return
        if not self._data_allowed(entry, size, last, events):
            self._give_back(size)
            return
        entry.unconsumed += size
        if not (size <= _MERGED and _merged(stream, data, pos, end, last, events)):
            events.append(Data(stream, data[pos:end], last))
        if last:
            self._received_end(entry)

    def _data_allowed(self, entry: Stream, size: int, last: bool, events: list[Event]) -> bool:
        """Hold a body to its Content-Length, and to coming after its head."""
        if entry.receive_left >= 0:
            entry.receive_left -= size
            if entry.receive_left < 0 or (last and entry.receive_left > 0):
                self._stream_error(
                    entry, codes.PROTOCOL_ERROR, "the body is not as long as Content-Length says", events
                )
                return False
        return True

    def _headers_frame(self, flags: int, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:  # noqa: PLR0913, PLR0917
        if stream == 0:
            self._fail(codes.PROTOCOL_ERROR, "HEADERS came on stream 0", "http2_headers", events)
            return
        need = (1 if flags & _PADDED else 0) + (5 if flags & _PRIORITIZED else 0)
        if end - pos < need:
            self._fail(codes.FRAME_SIZE_ERROR, "HEADERS is too short for its flags", "http2_headers", events)
            return
        if flags & _PADDED:
            padding = data[pos]
            if padding > end - pos - need:
                self._fail(codes.PROTOCOL_ERROR, "padding is longer than its frame", "http2_padding", events)
                return
            end -= padding
        pos += need
        last = (flags & _END_STREAM) != 0
        if flags & _END_HEADERS:
            self._field_section(stream, last, data, pos, end, events)
            return
        self._fragment_stream = stream
        self._fragment_end = last
        self._fragments = end - pos
        self._fragment = [data[pos:end]]

    def _continuation_frame(  # noqa: PLR0913, PLR0917
        self, flags: int, stream: int, data: bytes, pos: int, end: int, events: list[Event]
    ) -> None:
        if not self._fragment_stream:
            self._fail(codes.PROTOCOL_ERROR, "CONTINUATION came without HEADERS", "http2_continuation", events)
            return
        self._fragment.append(data[pos:end])
        self._fragments += end - pos
        if len(self._fragment) > self._limits.continuation_frames + 1 or self._fragments > self._limits.section_bytes:
            self._fail(codes.ENHANCE_YOUR_CALM, "a field section goes on for too long", "http2_continuation", events)
            return
        if flags & _END_HEADERS:
            section = b"".join(self._fragment)
            self._fragment = []
            self._fragment_stream = 0
            self._field_section(stream, self._fragment_end, section, 0, len(section), events)

    def _field_section(self, stream: int, last: bool, data: bytes, pos: int, end: int, events: list[Event]) -> None:  # noqa: PLR0913, PLR0917
        """Decompress a section whatever becomes of its stream, for the compression state is the connection's."""
        fields = self._decoder.decode(data, pos, end)
        if fields is None:
            self._fail(codes.COMPRESSION_ERROR, "the compressed fields cannot be read", "http2_hpack", events)
            return
        self._section_read(stream, fields, last, events)

    def _section_read(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        """Make a head or trailers of the fields: server and client differ."""
        raise NotImplementedError

    def _read_trailers(self, entry: Stream, fields: Headers, last: bool, events: list[Event]) -> None:
        """Take the fields after a body."""
        self._flood.received()
        problem = "a name or value has forbidden bytes" if self._decoder.malformed else self._section.trailers(fields)
        if problem is None and not last:
            problem = "fields came in the middle of a body"
        if problem is None and entry.receive_left > 0:
            problem = "the body is not as long as Content-Length says"
        if problem is not None:
            why = problem
            self._stream_error(entry, codes.PROTOCOL_ERROR, why, events)
            return
        if self._decoder.too_large:
            self._stream_error(entry, codes.ENHANCE_YOUR_CALM, "the trailers are too large", events)
            return
        events.append(Trailers(entry.id, fields))
        self._received_end(entry)

    def _received_end(self, entry: Stream) -> None:
        """The peer's side of a stream is complete."""
        entry.receive_open = False
        if not entry.send_open:
            self._flood.completed()
            self._close(entry)


def _merged(stream: int, data: bytes, pos: int, end: int, last: bool, events: list[Event]) -> bool:  # noqa: PLR0913, PLR0917
    """Put a small piece to the one before, if that is its own stream's: frames' borders mean nothing (RFC 9113, 6.1)."""
    if not events:
        return False
    event = events[-1]
    if event.kind != _PIECE or event.stream != stream:
        return False
    before: Data = event  # type: ignore[assignment]
    if len(before.data) + end - pos > _MERGED:
        return False
    before.data += data[pos:end]
    before.end = last
    return True
