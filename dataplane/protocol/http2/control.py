"""The frames of HTTP/2 that carry no message, and every way a stream or connection ends for what the peer did (RFC 9113).

In: frames of `connection`, which reads bytes and messages. Out: events, answers, changed windows and settings. Refuses what the
RFC calls a connection error with GOAWAY and a Failure event, a stream error with RST_STREAM and a Reset event, and floods
by `flood`.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Failure, Goaway, Pong, Reset, SettingsChanged
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2.sending import Http2Sending
from dataplane.protocol.http2.stream import Stream
from dataplane.protocol.limits import Limits

UNLIMITED = 2**31 - 1


class Http2Control(Http2Sending):
    """Between the sending half and the reading of messages."""

    __slots__ = ("_buffer", "_healed", "_last", "_pings", "_push", "_settled", "peer_connect", "peer_streams")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._buffer = b""
        self._healed = 0.0
        self._last = 0
        self._pings = 0
        self._push = 1
        """The largest ENABLE_PUSH the peer may send: a server must not ask to be pushed to (section 6.5.2)."""
        self._settled = False
        self.peer_connect = False
        self.peer_streams = UNLIMITED

    @property
    def last_stream(self) -> int:
        """The highest stream opened so far, by whichever side opens them."""
        return self._last

    def ping(self, data: bytes) -> None:
        """Ask the peer whether it is there; its answer is a Pong event with the same eight bytes."""
        if not self._dead:
            self._pings += 1
            self._out.append(frames.ping(data, 0))

    def _heal(self) -> None:
        """Give credit back for the time that passed."""
        self._flood.passed(self.now - self._healed)
        self._healed = self.now

    def _control_frame(self, kind: int, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        """Read what concerns the connection, and what is ignored, against the peer's credit."""
        if kind == frames.PING and flags & frames.ACK and self._pings > 0:
            self._pings -= 1
        elif not self._flood.control():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many control frames", "http2_control_flood", events)
            return
        if kind == frames.SETTINGS:
            self._settings_frame(flags, stream, payload, events)
        elif kind == frames.PING:
            if self._placed(stream == 0, len(payload) == 8, "http2_ping", events):
                if flags & frames.ACK:
                    events.append(Pong(payload))
                else:
                    self._written += 1
                    self._out.append(frames.ping(payload, frames.ACK))
        elif kind == frames.GOAWAY:
            if self._placed(stream == 0, len(payload) >= 8, "http2_goaway", events):
                self._goaway_frame(payload, events)
        elif kind == frames.PRIORITY:
            entry = self._streams.get(stream)
            if entry is not None and len(payload) != 5:
                self._stream_error(entry, codes.FRAME_SIZE_ERROR, "a PRIORITY is not five bytes", events)
            else:
                self._placed(stream != 0, len(payload) == 5, "http2_priority", events)
        elif kind == frames.PUSH_PROMISE:
            self._fail(codes.PROTOCOL_ERROR, "a push was promised that nobody allowed", "http2_push", events)

    def _placed(self, place: bool, size: bool, counter: str, events: list[Event]) -> bool:
        """End the connection for a frame on a stream it cannot be about, or of a size it cannot have."""
        if not place:
            self._fail(codes.PROTOCOL_ERROR, "a frame came on a stream where it has no meaning", counter, events)
        elif not size:
            self._fail(codes.FRAME_SIZE_ERROR, "a frame has another size than its type has", counter, events)
        return place and size

    def _idle(self, stream: int) -> bool:
        """Tell whether nobody has opened this stream yet."""
        raise NotImplementedError

    def _late(self, stream: int, entry: Stream | None, size: int, events: list[Event]) -> None:
        """Treat a frame for a stream whose peer side is over: ignored where the peer could not know."""
        lately = stream in self._reset_lately
        if lately and size:
            return
        if not self._flood.control():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many frames on closed streams", "http2_closed_flood", events)
        elif entry is not None:
            self._stream_error(entry, codes.STREAM_CLOSED, "a frame came after END_STREAM", events)
        elif not lately:
            self._written += 1
            self._out.append(frames.rst_stream(stream, codes.STREAM_CLOSED))

    def _reset_frame(self, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:
        if not self._placed(stream != 0 and not self._idle(stream), end - pos == 4, "http2_reset", events):
            return
        entry = self._streams.get(stream)
        if entry is None:
            if not self._flood.control():
                self._fail(codes.ENHANCE_YOUR_CALM, "too many frames on closed streams", "http2_closed_flood", events)
            return
        code = int.from_bytes(data[pos:end], "big")
        # Once the answer has begun, or after a while, giving up is what clients do, not what floods are made of.
        early = not entry.final and self.now - entry.opened < self._limits.premature_seconds
        self._close(entry)
        events.append(Reset(stream, code, f"the peer reset the stream: {codes.name(code)}"))
        if early and self._costs(code) and not self._flood.premature():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many streams were reset", "http2_rapid_reset", events)

    def _costs(self, code: int) -> bool:  # noqa: ARG002 - for the client's side
        """Whether an early reset with this code spends credit."""
        return True

    def _window_frame(self, stream: int, data: bytes, pos: int, end: int, events: list[Event]) -> None:
        if not self._placed(not self._idle(stream), end - pos == 4, "http2_window", events):
            return
        step = int.from_bytes(data[pos:end], "big") & frames.MAX_WINDOW
        code = codes.FLOW_CONTROL_ERROR if step else codes.PROTOCOL_ERROR
        if not self._flood.window():
            self._fail(codes.ENHANCE_YOUR_CALM, "too many window updates", "http2_window_flood", events)
        elif stream == 0:
            self._send_window += step
            if step == 0 or self._send_window > frames.MAX_WINDOW:
                self._fail(code, "the connection's window was opened by nothing or too far", "http2_window", events)
                return
            self._pump(events)
        else:
            entry = self._streams.get(stream)
            if entry is None:
                return
            entry.send_window += step
            if step == 0 or entry.send_window > frames.MAX_WINDOW:
                self._stream_error(entry, code, "the stream's window was opened by nothing or too far", events)
                return
            if entry.pending:
                self._proceed(entry, events)

    def _goaway_frame(self, payload: bytes, events: list[Event]) -> None:
        last = int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW
        code = int.from_bytes(payload[4:8], "big")
        self.closing = True
        events.append(Goaway(last, code))

    def _settings_frame(self, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        whole = not payload if flags & frames.ACK else len(payload) % 6 == 0
        if not self._placed(stream == 0, whole, "http2_settings", events):
            return
        if flags & frames.ACK:
            if not self._settled:
                self._fail(codes.PROTOCOL_ERROR, "the first SETTINGS is an acknowledgement", "http2_preface", events)
            return
        self._settled = True
        if len(payload) > 6 * self._limits.settings_entries:
            self._fail(codes.ENHANCE_YOUR_CALM, "too many settings in one frame", "http2_settings_entries", events)
            return
        streams = self.peer_streams
        for at in range(0, len(payload), 6):
            key = (payload[at] << 8) | payload[at + 1]
            problem = self._setting(key, int.from_bytes(payload[at + 2 : at + 6], "big"))
            if problem:
                self._fail(problem, f"setting {key} has a value it may not have", "http2_settings", events)
                return
        self._written += 1
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
            return 0 if value <= self._push else codes.PROTOCOL_ERROR
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
            if value > 1:
                return codes.PROTOCOL_ERROR
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
        self._waiting = 0
        self._buffer = b""
