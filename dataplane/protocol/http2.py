"""What both ends of an HTTP/2 connection share for reading: frames, windows, settings, and every way to end (RFC 9113).

In: network bytes. Out: events. Heads are `http2_server`'s and `http2_client`'s. Refuses what the RFC calls a connection
error with GOAWAY and a Failure event, a stream error with RST_STREAM and a Reset event, and floods by `http2_flood`.
"""

from dataplane.protocol import codes
from dataplane.protocol import http2_frames as frames
from dataplane.protocol.events import Data, Event, Failure, Goaway, Headers, Pong, Reset, SettingsChanged, Trailers
from dataplane.protocol.hpack_decoder import Decoder
from dataplane.protocol.http2_rules import Section
from dataplane.protocol.http2_sending import Http2Sending
from dataplane.protocol.http2_stream import Stream
from dataplane.protocol.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UNLIMITED = 2**31 - 1


class Http2Connection(Http2Sending):
    """The common half of Http2Server and Http2Client."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_fragment",
        "_fragment_end",
        "_fragment_stream",
        "_fragments",
        "_last",
        "_preface",
        "_section",
        "_settled",
        "peer_connect",
        "peer_streams",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._buffer = b""
        self._decoder = Decoder(limits)
        self._section = Section()
        self._fragment: list[bytes] = []
        self._fragment_end = False
        self._fragment_stream = 0
        self._fragments = 0
        self._last = 0
        self._preface = 0
        self._settled = False
        self.peer_connect = False
        self.peer_streams = UNLIMITED

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; see `interface.Codec`."""
        events: list[Event] = []
        if self._dead:
            return events
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        n = len(data)
        pos = 0
        if self._preface:
            pos = self._read_preface(data, events)
        p = data
        while n - pos >= frames.HEADER_BYTES and not self._dead:
            length = (p[pos] << 16) | (p[pos + 1] << 8) | p[pos + 2]
            if length > frames.MAX_FRAME:
                self._fail(codes.FRAME_SIZE_ERROR, "a frame is longer than 16,384 bytes", "http2_frame_size", events)
                return events
            start = pos + frames.HEADER_BYTES
            if n - start < length:
                break
            stream = ((p[pos + 5] & 127) << 24) | (p[pos + 6] << 16) | (p[pos + 7] << 8) | p[pos + 8]
            pos = start + length
            self._frame(p[start - 6], p[start - 5], stream, data, start, pos, events)
        if pos < n and not self._dead:
            self._buffer = data[pos:] if pos else data
        return events

    @property
    def last_stream(self) -> int:
        """The highest stream opened so far, by whichever side opens them."""
        return self._last

    def receive_eof(self) -> list[Event]:
        """Take the end of what the peer sends: nothing open can be finished."""
        events: list[Event] = []
        if not self._dead:
            for entry in list(self._streams.values()):
                self._close(entry)
                events.append(Reset(entry.id, codes.CONNECT_ERROR, "the connection ended inside a stream"))
            self._die()
        return events

    def ping(self, data: bytes) -> None:
        """Ask the peer whether it is there; its answer is a Pong event with the same eight bytes."""
        self._out.append(frames.ping(data, 0))

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
        if not self._settled and kind != frames.SETTINGS:
            self._fail(codes.PROTOCOL_ERROR, "the first frame is not SETTINGS", "http2_preface", events)
        elif self._fragment_stream and (kind != frames.CONTINUATION or stream != self._fragment_stream):
            self._fail(codes.PROTOCOL_ERROR, "a field section was interrupted", "http2_continuation", events)
        elif kind == frames.DATA:
            self._data_frame(flags, stream, data, pos, end, events)
        elif kind == frames.HEADERS:
            self._headers_frame(flags, stream, data, pos, end, events)
        elif kind == frames.WINDOW_UPDATE:
            self._window_frame(stream, data, pos, end, events)
        elif kind == frames.RST_STREAM:
            self._reset_frame(stream, data, pos, end, events)
        elif kind == frames.CONTINUATION:
            self._continuation_frame(flags, stream, data, pos, end, events)
        else:
            self._control_frame(kind, flags, stream, data[pos:end], events)

    def _control_frame(self, kind: int, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        """Read what concerns the connection, and what is ignored, against the peer's credit."""
        if not self._flood.control():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many control frames", "http2_control_flood", events)
        elif kind == frames.SETTINGS:
            self._settings_frame(flags, stream, payload, events)
        elif kind == frames.PING:
            if stream or len(payload) != 8:
                self._fail(codes.FRAME_SIZE_ERROR, "a PING is not eight bytes on stream 0", "http2_ping", events)
            elif flags & frames.ACK:
                events.append(Pong(payload))
            else:
                self._out.append(frames.ping(payload, frames.ACK))
        elif kind == frames.GOAWAY:
            if stream or len(payload) < 8:
                self._fail(codes.FRAME_SIZE_ERROR, "a GOAWAY is too short or on a stream", "http2_goaway", events)
            else:
                self._goaway_frame(payload, events)
        elif kind == frames.PRIORITY:
            if stream == 0 or len(payload) != 5:
                self._fail(codes.FRAME_SIZE_ERROR, "a PRIORITY is not five bytes on a stream", "http2_priority", events)
        elif kind == frames.PUSH_PROMISE:
            self._fail(codes.PROTOCOL_ERROR, "a push was promised that nobody allowed", "http2_push", events)

    def _data_frame(self, flags: int, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:  # noqa: PLR0913, PLR0917
        length = end - pos
        last = (flags & frames.END_STREAM) != 0
        if stream == 0 or self._idle(stream):
            self._fail(codes.PROTOCOL_ERROR, "DATA came on a stream that was never opened", "http2_data", events)
            return
        self._credit -= length
        if self._credit < 0:
            self._fail(codes.FLOW_CONTROL_ERROR, "DATA came beyond the connection's window", "http2_window", events)
            return
        if flags & frames.PADDED:
            padding = data[pos] + 1 if length else 1
            if padding > length:
                self._fail(codes.PROTOCOL_ERROR, "padding is longer than its frame", "http2_padding", events)
                return
            pos += 1
            end -= padding - 1
        entry = self._streams.get(stream)
        if entry is None or not entry.receive_open:
            self._give_back(length)
            self._late(stream, entry, events)
            return
        entry.receive_window -= length
        if entry.receive_window < 0:
            self._stream_error(entry, codes.FLOW_CONTROL_ERROR, "DATA came beyond the stream's window", events)
            return
        size = end - pos
        if size < length:  # padding counts against the windows, and nobody will consume it
            self._give_back(length - size)
            entry.returned += length - size
        if size:
            self._flood.received()
        elif not last and not self._flood.empty():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many empty frames", "http2_empty_flood", events)
            return
        if not self._data_allowed(entry, size, last, events):
            self._give_back(size)
            return
        entry.unconsumed += size
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

    def _late(self, stream: int, entry: Stream | None, events: list[Event]) -> None:
        """Treat a frame for a stream whose peer side is over: ignored where the peer could not know."""
        if stream in self._reset_lately:
            return
        if not self._flood.control():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many frames on closed streams", "http2_closed_flood", events)
        elif entry is not None:
            self._stream_error(entry, codes.STREAM_CLOSED, "a frame came after END_STREAM", events)
        else:
            self._out.append(frames.rst_stream(stream, codes.STREAM_CLOSED))

    def _headers_frame(self, flags: int, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:  # noqa: PLR0913, PLR0917
        if stream == 0:
            self._fail(codes.PROTOCOL_ERROR, "HEADERS came on stream 0", "http2_headers", events)
            return
        need = (1 if flags & frames.PADDED else 0) + (5 if flags & frames.PRIORITIZED else 0)
        if end - pos < need:
            self._fail(codes.FRAME_SIZE_ERROR, "HEADERS is too short for its flags", "http2_headers", events)
            return
        if flags & frames.PADDED:
            padding = data[pos]
            if padding > end - pos - need:
                self._fail(codes.PROTOCOL_ERROR, "padding is longer than its frame", "http2_padding", events)
                return
            end -= padding
        pos += need
        last = (flags & frames.END_STREAM) != 0
        if flags & frames.END_HEADERS:
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
        if len(self._fragment) > self._limits.continuation_frames + 1 or self._fragments > self._limits.header_bytes:
            self._fail(codes.ENHANCE_YOUR_CALM, "a field section goes on for too long", "http2_continuation", events)
            return
        if flags & frames.END_HEADERS:
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
        self._flood.received()
        self._section_read(stream, fields, last, events)

    def _section_read(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        """Make a head or trailers of the fields: server and client differ."""
        raise NotImplementedError

    def _idle(self, stream: int) -> bool:
        """Tell whether nobody has opened this stream yet."""
        raise NotImplementedError

    def _read_trailers(self, entry: Stream, fields: Headers, last: bool, events: list[Event]) -> None:
        """Take the fields after a body."""
        problem = self._section.trailers(fields)
        if self._decoder.malformed or problem is not None or not last or entry.receive_left > 0:
            why = problem or ("the trailers are malformed" if last else "fields came in the middle of a body")
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

    def _reset_frame(self, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:
        if end - pos != 4 or stream == 0 or self._idle(stream):
            self._fail(codes.PROTOCOL_ERROR, "RST_STREAM is misplaced or not four bytes", "http2_reset", events)
            return
        entry = self._streams.get(stream)
        if entry is None:
            if not self._flood.control():
                self._fail(codes.ENHANCE_YOUR_CALM, "too many frames on closed streams", "http2_closed_flood", events)
            return
        code = int.from_bytes(data[pos:end], "big")
        self._close(entry)
        events.append(Reset(stream, code, f"the peer reset the stream: {codes.name(code)}"))
        if not self._flood.premature():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many streams were reset", "http2_rapid_reset", events)

    def _window_frame(self, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:
        if end - pos != 4 or self._idle(stream):
            self._fail(codes.FRAME_SIZE_ERROR, "WINDOW_UPDATE is misplaced or not four bytes", "http2_window", events)
            return
        step = int.from_bytes(data[pos:end], "big") & frames.MAX_WINDOW
        if not self._flood.window():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many window updates", "http2_window_flood", events)
        elif stream == 0:
            self._send_window += step
            if step == 0 or self._send_window > frames.MAX_WINDOW:
                code = codes.FLOW_CONTROL_ERROR if step else codes.PROTOCOL_ERROR
                self._fail(code, "the connection's window was opened by nothing or too far", "http2_window", events)
                return
            self._pump(events)
        else:
            entry = self._streams.get(stream)
            if entry is None:
                return
            entry.send_window += step
            if step == 0 or entry.send_window > frames.MAX_WINDOW:
                code = codes.FLOW_CONTROL_ERROR if step else codes.PROTOCOL_ERROR
                self._stream_error(entry, code, "the stream's window was opened by nothing or too far", events)
                return
            if entry.pending:
                self._pump(events)

    def _goaway_frame(self, payload: bytes, events: list[Event]) -> None:
        last = int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW
        code = int.from_bytes(payload[4:8], "big")
        self.closing = True
        events.append(Goaway(last, code))

    def _settings_frame(self, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        if stream or len(payload) % 6 or (flags & frames.ACK and payload):
            self._fail(codes.FRAME_SIZE_ERROR, "SETTINGS is misplaced or cut", "http2_settings", events)
            return
        self._settled = True
        if flags & frames.ACK:
            return
        streams = self.peer_streams
        for at in range(0, len(payload), 6):
            key = (payload[at] << 8) | payload[at + 1]
            problem = self._setting(key, int.from_bytes(payload[at + 2 : at + 6], "big"))
            if problem:
                self._fail(problem, f"setting {key} has a value it may not have", "http2_settings", events)
                return
        self._out.append(frames.SETTINGS_ACK)
        if streams != self.peer_streams:
            events.append(SettingsChanged(self.peer_streams))
        if self._blocked:
            self._pump(events)

    def _setting(self, key: int, value: int) -> int:
        """Apply one setting; return an error code when it may not be (RFC 9113, section 6.5.2)."""
        if key == frames.HEADER_TABLE_SIZE:
            self._encoder.resize(value)
        elif key == frames.ENABLE_PUSH:
            return 0 if value <= 1 else codes.PROTOCOL_ERROR
        elif key == frames.MAX_CONCURRENT_STREAMS:
            self.peer_streams = min(value, UNLIMITED)
        elif key == frames.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                return codes.FLOW_CONTROL_ERROR
            step = value - self._peer_window
            self._peer_window = value
            for entry in self._streams.values():
                entry.send_window += step
                if entry.send_window > frames.MAX_WINDOW:
                    return codes.FLOW_CONTROL_ERROR
        elif key == frames.MAX_FRAME_SIZE:
            if not frames.MAX_FRAME <= value < 2**24:
                return codes.PROTOCOL_ERROR
        elif key == frames.ENABLE_CONNECT_PROTOCOL:
            self.peer_connect = value == 1
        return 0

    def _stream_error(self, entry: Stream, code: int, reason: str, events: list[Event]) -> None:
        """End one stream for what the peer did on it."""
        self._abandon(entry, code)
        events.append(Reset(entry.id, code, reason))
        if not self._flood.premature():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many streams were broken", "http2_rapid_reset", events)

    def _fail(self, code: int, reason: str, counter: str, events: list[Event]) -> None:
        """End the connection for what the peer did."""
        if self._dead:
            return
        self._out.append(frames.goaway(self._last, code, counter.encode()))
        self._die()
        events.append(Failure(code, 400, reason, counter))

    def _die(self) -> None:
        self._dead = True
        self.closing = True
        self.active = 0
        self._streams.clear()
        self._blocked.clear()
        self._buffer = b""
