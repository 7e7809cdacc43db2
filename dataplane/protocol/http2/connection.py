"""One end of an HTTP/2 connection, put together of its parts (RFC 9113): what both ends do alike.

In: network bytes, and the commands of `interface.Codec`. Out: events and bytes. `reader` makes frames of bytes and `writer`
bytes of frames; `streams` knows who is there, `states` what a frame is worth for whom; `inflow` and `outflow` keep the
windows, `flood` the credit, `rules` the fields, and `endings` is how any of it ends. Here each frame is led to who answers
for it. Heads that open or answer something are the business of `server` and `client`, which get them by `_head`.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Goaway, Headers, Pong, SettingsChanged, Trailers, Writable
from dataplane.protocol.hpack.decoder import Decoder
from dataplane.protocol.http2 import frames, pieces, settings, states
from dataplane.protocol.http2.endings import Endings
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.inflow import Inflow
from dataplane.protocol.http2.outflow import Outflow
from dataplane.protocol.http2.reader import FrameReader
from dataplane.protocol.http2.rules import Section
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.streams import Streams
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

UNLIMITED = 2**31 - 1

# Copies, because C compares them without a look into another module.
_DATA = frames.DATA
_END_STREAM = frames.END_STREAM
_HEADERS = frames.HEADERS
_RST_STREAM = frames.RST_STREAM
_WINDOW_UPDATE = frames.WINDOW_UPDATE
_MAX_WINDOW = frames.MAX_WINDOW
_THEY_SEND = states.THEY_SEND
_WE_SEND = states.WE_SEND
_TAKE = states.TAKE
_NEVER = states.NEVER
_LENGTH = "the body is not as long as Content-Length says"


class Http2Connection:
    """What Http2Server and Http2Client have in common."""

    __slots__ = (
        "_decoder",
        "_endings",
        "_flood",
        "_healed",
        "_inflow",
        "_limits",
        "_outflow",
        "_pings",
        "_reader",
        "_section",
        "_streams",
        "_writer",
        "now",
        "peer_connect",
        "peer_streams",
        "write_eof",
    )

    def __init__(self, limits: Limits, client: bool) -> None:
        self._limits = limits
        self._reader = FrameReader(limits, not client)
        self._writer = FrameWriter(limits)
        self._flood = Flood(limits)
        self._streams = Streams(client)
        self._inflow = Inflow(limits, self._writer)
        self._outflow = Outflow(limits, self._writer, self._flood, self._streams)
        self._decoder = Decoder(limits)
        self._section = Section()
        self._endings = Endings(self._streams, self._writer, self._flood, self._inflow, self._outflow)
        self._healed = 0.0
        self._pings = 0
        self.now = 0.0
        """The driver's clock in seconds, set before `receive`; never set, time heals nothing and all resets are early."""
        self.peer_connect = False
        self.peer_streams = UNLIMITED
        self.write_eof = False

    # --- what the driver asks -----------------------------------------------------------------------------------------

    @property
    def active(self) -> int:
        """Streams open now."""
        return len(self._streams.living)

    @property
    def closing(self) -> bool:
        """No more streams will be opened: close when nothing is active."""
        return self._endings.closing

    def held(self) -> int:
        """HTTP/2 never makes one message wait for another."""
        return 0

    @property
    def last_stream(self) -> int:
        """The highest stream opened so far, by whichever side opens them."""
        return self._streams.last

    def heading(self) -> bool:
        """Whether the preface or a field section has begun and the rest of it is still to come."""
        return self._reader.gathering() or (not self._streams.living and self._reader.midway())

    def output(self) -> bytes:
        """Return everything to write since the last call."""
        return self._writer.output()

    def unread(self, waiting: int) -> bool:
        """Tell, before writing more, how many bytes the peer has not taken; True when it leaves too many frames to us."""
        return self._writer.unread(waiting)

    def pending(self, stream: int) -> int:
        """Bytes of the stream that wait for the peer's window."""
        entry = self._streams.living.get(stream)
        return entry.pending if entry is not None else 0

    def full(self, stream: int, most: int) -> bool:
        """Whether a stream has enough waiting: `most` bytes, or any worth telling where the connection has its most."""
        entry = self._streams.living.get(stream)
        return entry is not None and self._outflow.full(entry, most)

    # --- what the driver tells ----------------------------------------------------------------------------------------

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Send a piece of a body or tunnel; see `interface.Codec`."""
        entry = self._streams.living.get(stream)
        if entry is None or not entry.state & _WE_SEND or entry.end_queued:
            return
        if entry.send_left >= 0 and not entry.bodyless:
            entry.send_left -= len(data)
            if entry.send_left < 0:
                raise MisuseError("more body bytes were sent than Content-Length said")
        if self._outflow.send(entry, data, end):
            self._endings.ours(entry)

    def send_trailers(self, stream: int, headers: Headers) -> None:
        """End a message with fields; see `interface.Codec`."""
        entry = self._streams.living.get(stream)
        if entry is None or not entry.state & _WE_SEND or entry.end_queued:
            return
        if self._outflow.send_trailers(entry, headers):
            self._endings.ours(entry)

    def reset(self, stream: int, code: int) -> None:
        """Give a stream up; see `interface.Codec`."""
        entry = self._streams.living.get(stream)
        if entry is not None:
            self._endings.abandon(entry, code)

    def consumed(self, stream: int, size: int) -> None:
        """Note that `size` received body bytes were handed on."""
        entry = self._streams.living.get(stream)
        if entry is not None:
            self._inflow.handed_on(entry, size)

    def ping(self, data: bytes) -> None:
        """Ask the peer whether it is there; its answer is a Pong event with the same eight bytes."""
        if not self._endings.dead:
            self._pings += 1
            self._writer.write(frames.ping(data, 0))

    def receive_eof(self) -> list[Event]:
        """Take the end of what the peer sends: nothing open can be finished."""
        events: list[Event] = []
        if not self._endings.dead:
            self._endings.lost(events)
            self._reader.stop()
        return events

    # --- what the peer sends ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; see `interface.Codec`."""
        events: list[Event] = []
        if self._endings.dead:
            return events
        passed = self.now - self._healed
        if passed >= 1.0:
            self._flood.passed(passed)
            self._healed = self.now
        self._reader.feed(data)
        self._read(events)
        return events

    def _read(self, events: list[Event]) -> None:
        """Deal with frame after frame, until no whole one is left."""
        reader = self._reader
        while not self._endings.dead and reader.next():
            kind = reader.kind
            if kind == _DATA:
                self._data_frame(reader, events)
            elif kind == _HEADERS:
                self._head_frame(reader, events)
            elif kind == _WINDOW_UPDATE:
                self._window_frame(reader, events)
            elif kind == _RST_STREAM:
                self._reset_frame(reader, events)
            else:
                self._control_frame(reader, events)
        if reader.code:
            self._endings.fail(reader.code, reader.reason, reader.counter, events)
        if self._endings.dead:
            reader.stop()

    def _data_frame(self, reader: FrameReader, events: list[Event]) -> None:
        stream = reader.stream
        entry = self._streams.living.get(stream)
        worth = self._streams.worth(stream, entry, _DATA)
        if stream == 0 or worth == _NEVER:
            self._endings.fail(
                codes.PROTOCOL_ERROR, "DATA came on a stream that was never opened", "http2_data", events
            )
            return
        if not self._inflow.arrived(reader.size):
            self._endings.fail(
                codes.FLOW_CONTROL_ERROR, "DATA came beyond the connection's window", "http2_window", events
            )
            return
        if worth != _TAKE or entry is None:
            self._inflow.unwanted(reader.size)
            self._endings.late(stream, entry, reader.size, events)
            return
        size = reader.end - reader.pos
        if not self._inflow.arrived_on(entry, reader.size, size):
            self._inflow.unwanted(reader.size)
            self._endings.broken(entry, codes.FLOW_CONTROL_ERROR, "DATA came beyond the stream's window", events)
            return
        last = (reader.flags & _END_STREAM) != 0
        if size:
            self._flood.received()
        elif not last and not self._flood.empty():
            self._endings.fail(codes.ENHANCE_YOUR_CALM, "too many empty frames", "http2_empty_flood", events)
            return
        if not entry.headed or (entry.bodyless and size and entry.receive_left == 0):
            self._inflow.unwanted(size)
            self._malformed(entry, "DATA came where a response has none", events)
            return
        if entry.receive_left >= 0:
            entry.receive_left -= size
            if entry.receive_left < 0 or (last and entry.receive_left > 0):
                self._inflow.unwanted(size)
                self._malformed(entry, _LENGTH, events)
                return
        self._inflow.kept(entry, size)
        pieces.tell(reader, last, events)
        if last:
            self._endings.theirs(entry)

    def _head_frame(self, reader: FrameReader, events: list[Event]) -> None:
        """Decompress a section whatever becomes of its stream, for the compression state is the connection's."""
        fields = self._decoder.decode(reader.data, reader.pos, reader.end)
        if fields is None:
            self._endings.fail(codes.COMPRESSION_ERROR, "the compressed fields cannot be read", "http2_hpack", events)
            return
        last = (reader.flags & _END_STREAM) != 0
        entry = self._streams.living.get(reader.stream)
        if entry is None or not entry.headed or not entry.state & _THEY_SEND:
            self._head(reader.stream, fields, last, events)
        else:
            self._trailers(entry, fields, last, events)

    def _head(self, stream: int, fields: Headers, last: bool, events: list[Event]) -> None:
        """A hook: fields came that are no trailers, so they open a stream or answer on one; what is wrong with them is in the decoder."""

    def _malformed(self, entry: Http2Stream, reason: str, events: list[Event]) -> None:
        self._endings.broken(entry, codes.PROTOCOL_ERROR, reason, events)

    def _trailers(self, entry: Http2Stream, fields: Headers, last: bool, events: list[Event]) -> None:
        """Take the fields after a body."""
        self._flood.received()
        problem = "a name or value has forbidden bytes" if self._decoder.malformed else self._section.trailers(fields)
        if problem is None and not last:
            problem = "fields came in the middle of a body"
        if problem is not None:
            self._malformed(entry, problem, events)
        elif entry.receive_left > 0:
            self._malformed(entry, _LENGTH, events)
        elif self._decoder.too_large:
            self._endings.broken(entry, codes.ENHANCE_YOUR_CALM, "the trailers are too large", events)
        else:
            events.append(Trailers(entry.id, fields))
            self._endings.theirs(entry)

    def _reset_frame(self, reader: FrameReader, events: list[Event]) -> None:
        stream = reader.stream
        entry = self._streams.living.get(stream)
        if self._streams.worth(stream, entry, _RST_STREAM) == _NEVER:
            self._endings.fail(codes.PROTOCOL_ERROR, "a stream was reset that nobody opened", "http2_reset", events)
            return
        if entry is None:
            self._endings.late_reset(events)
            return
        code = frames.number(reader.data, reader.pos)
        # Once the answer has begun, or after a while, giving up is what clients do, not what floods are made of; and a
        # refusal answers a request of ours: sidecars refuse for as long as their app is down.
        early = not entry.final and self.now - entry.opened < self._limits.premature_seconds
        self._endings.reset(entry, code, early and not (self._streams.ours and code == codes.REFUSED_STREAM), events)

    def _window_frame(self, reader: FrameReader, events: list[Event]) -> None:
        stream = reader.stream
        entry = self._streams.living.get(stream)
        if stream and self._streams.worth(stream, entry, _WINDOW_UPDATE) == _NEVER:
            why = "the window of a stream was opened that nobody opened"
            self._endings.fail(codes.PROTOCOL_ERROR, why, "http2_window", events)
            return
        step = frames.number(reader.data, reader.pos) & _MAX_WINDOW
        code = codes.FLOW_CONTROL_ERROR if step else codes.PROTOCOL_ERROR
        if not self._flood.window():
            self._endings.fail(codes.ENHANCE_YOUR_CALM, "too many window updates", "http2_window_flood", events)
        elif stream == 0:
            if self._outflow.opened(step):
                self._pump(events)
            else:
                self._endings.fail(
                    code, "the connection's window was opened by nothing or too far", "http2_window", events
                )
        elif entry is not None:
            if not self._outflow.opened_on(entry, step):
                self._endings.broken(entry, code, "the stream's window was opened by nothing or too far", events)
            elif entry.pending:
                self._proceed(entry, events)

    def _control_frame(self, reader: FrameReader, events: list[Event]) -> None:
        """Read what concerns the connection, and what is ignored, against the peer's credit."""
        kind = reader.kind
        stream = reader.stream
        payload = reader.data[reader.pos : reader.end]
        ack = (reader.flags & frames.ACK) != 0
        if kind == frames.PING and ack and self._pings > 0:
            self._pings -= 1
        elif not self._flood.control():
            self._endings.fail(codes.ENHANCE_YOUR_CALM, "too many control frames", "http2_control_flood", events)
            return
        if kind == frames.SETTINGS and not ack:
            self._settings_frame(payload, events)
        elif kind == frames.PING and ack:
            events.append(Pong(payload))
        elif kind == frames.PING:
            self._writer.answer(frames.ping(payload, frames.ACK))
        elif kind == frames.GOAWAY:
            last = frames.number(payload, 0) & _MAX_WINDOW
            events.append(Goaway(last, frames.number(payload, 4)))
            self._endings.left_out(last, events)
        elif kind == frames.PRIORITY and reader.size != 5:
            self._endings.misshapen(stream, "a PRIORITY is not five bytes", "http2_priority", events)
        elif kind == frames.PUSH_PROMISE:
            self._endings.fail(codes.PROTOCOL_ERROR, "a push was promised that nobody allowed", "http2_push", events)

    def _settings_frame(self, payload: bytes, events: list[Event]) -> None:
        if len(payload) > settings.ENTRY_BYTES * self._limits.settings_entries:
            self._endings.fail(
                codes.ENHANCE_YOUR_CALM, "too many settings in one frame", "http2_settings_entries", events
            )
            return
        before = self.peer_streams
        for key, value in settings.read(payload):
            code = settings.problem(key, value) or self._apply(key, value)
            if code:
                self._endings.fail(code, f"setting {key} has a value it may not have", "http2_settings", events)
                return
        self._writer.answer(frames.SETTINGS_ACK)
        if before != self.peer_streams:
            events.append(SettingsChanged(self.peer_streams))
        self._pump(events)

    def _apply(self, key: int, value: int) -> int:
        """Do as a setting says; return an error code where that cannot be, else 0."""
        if key == settings.HEADER_TABLE_SIZE:
            self._writer.encoder.resize(value)
        elif key == settings.MAX_CONCURRENT_STREAMS:
            self.peer_streams = min(value, UNLIMITED)
        elif key == settings.INITIAL_WINDOW_SIZE:
            return 0 if self._outflow.resize(value) else codes.FLOW_CONTROL_ERROR
        elif key == settings.ENABLE_CONNECT_PROTOCOL:
            self.peer_connect = value == 1
        elif key == settings.ENABLE_PUSH and self._streams.ours and value:
            return codes.PROTOCOL_ERROR  # a server must not ask to be pushed to
        return 0

    # --- what waited for a window -------------------------------------------------------------------------------------

    def _pump(self, events: list[Event]) -> None:
        """Send what waits after a window opened, and tell who may go on."""
        for entry in self._outflow.blocked():
            if self._outflow.window <= 0:
                return
            self._proceed(entry, events)
            self._outflow.to_the_end(entry)

    def _proceed(self, entry: Http2Stream, events: list[Event]) -> None:
        """Send what a stream's own window allows now."""
        if self._outflow.drain(entry):
            self._endings.ours(entry)
        if self._outflow.unblocked(entry) and entry.state & _WE_SEND:
            events.append(Writable(entry.id))
