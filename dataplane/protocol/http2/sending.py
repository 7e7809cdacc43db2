"""The sending half of an HTTP/2 connection: frames out, within the peer's windows (RFC 9113, sections 5.2 and 6.9).

In: `send_data`, `send_trailers`, `reset`, and window changes from the receiving half. Out: bytes by `output()`. What the
windows do not allow waits in its stream's queue and is sent in turn, a frame a stream, as they open.
"""

from collections import deque

from dataplane.protocol.events import Event, Headers, Writable
from dataplane.protocol.hpack.encoder import Encoder
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.stream import Stream
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits

# Copies, because C uses them without a look into another module.
_CONTINUATION = frames.CONTINUATION
_DATA = frames.DATA
_END_HEADERS = frames.END_HEADERS
_END_STREAM = frames.END_STREAM
_HEADERS = frames.HEADERS
_HEADER_BYTES = frames.HEADER_BYTES

_FORGOTTEN = 128
"""Streams we reset lately whose late frames are ignored; older ones cost the peer credit."""


class Http2Sending:
    """What both codecs share for writing; `Http2Connection` adds the reading."""

    __slots__ = (
        "_blocked",
        "_connection_step",
        "_credit",
        "_dead",
        "_encoder",
        "_flood",
        "_limits",
        "_low",
        "_mark",
        "_most",
        "_older",
        "_out",
        "_passed",
        "_peer_frame",
        "_peer_window",
        "_reset_lately",
        "_returned",
        "_send_window",
        "_step",
        "_streams",
        "_waiting",
        "_window",
        "_written",
        "active",
        "closing",
        "now",
        "write_eof",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._low = limits.low_watermark
        self._window, self._most = limits.window, limits.connection_window
        self._step, self._connection_step = self._window // 2, self._most // 2
        """Bytes handed on after which the peer is told that it may send as many again."""
        self._encoder = Encoder(limits)
        self._flood = Flood(limits)
        self._streams: dict[int, Stream] = {}
        self._blocked: dict[int, Stream] = {}
        self._reset_lately: dict[int, None] = {}
        self._out: list[bytes] = []
        self._dead = False
        self._peer_frame = frames.MAX_FRAME
        self._peer_window = frames.DEFAULT_WINDOW
        self._send_window = frames.DEFAULT_WINDOW
        self._credit = self._most
        self._waiting = 0
        """Bytes in the queues of all streams."""
        self._returned = 0
        self._written = 0
        """Frames without a window since the mark; `_older` are those before it that the peer has not taken."""
        self._older = 0
        self._passed = self._mark = 0
        """Bytes that left us; of them those up to the mark."""
        self.active = 0
        self.closing = False
        self.now = 0.0
        """The driver's clock in seconds, set before `receive`; never set, time heals nothing and all resets are early."""
        self.write_eof = False

    @property
    def held(self) -> int:
        """HTTP/2 never makes one message wait for another."""
        return 0

    def output(self) -> bytes:
        """Return everything to write since the last call."""
        out = self._out
        if not out:
            return b""
        joined = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        self._passed += len(joined)
        return joined

    def unread(self, waiting: int) -> bool:
        """Tell, before writing more, how many bytes the peer has not taken; True when it leaves too many frames to us.

        Windows bound DATA. Answers to PING and SETTINGS, resets, and heads have no window, so a peer that asks and
        never reads would have us keep them all (CVE-2019-9512, 9514, 9515, 9517): close such a connection at once.
        A peer that is always behind and always reading is none: once it has taken all up to the mark, the mark moves to
        the end. So what is counted is never more than twice what waits.
        """
        if waiting == 0:
            self._older = self._written = 0
            self._mark = self._passed
        elif self._passed - waiting >= self._mark:
            self._older = self._written
            self._written = 0
            self._mark = self._passed
        return self._older + self._written > self._limits.unread_frames

    def pending(self, stream: int) -> int:
        """Bytes of the stream that wait for the peer's window."""
        entry = self._streams.get(stream)
        return entry.pending if entry is not None else 0

    def full(self, stream: int, most: int) -> bool:
        """Whether a stream has enough waiting: so many bytes, or any worth telling where the connection has its most."""
        entry = self._streams.get(stream)
        if entry is None or entry.pending <= self._low:
            return False
        return entry.pending > most or self._waiting > self._most

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Send a piece of a body or tunnel; see `interface.Codec`."""
        entry = self._streams.get(stream)
        if entry is None or not entry.send_open or entry.end_queued:
            return
        n = len(data)
        if entry.send_left >= 0 and not entry.bodyless:
            entry.send_left -= n
            if entry.send_left < 0:
                raise MisuseError("more body bytes were sent than Content-Length said")
        if entry.pending == 0 and n <= self._peer_frame and n <= entry.send_window and n <= self._send_window:
            if n or end:
                self._write_data(entry, data, n, end)
            return
        if entry.queue is None:
            entry.queue = deque()
        if n:
            entry.queue.append(data)
            entry.pending += n
            self._waiting += n
        entry.end_queued = end
        self._blocked[stream] = entry
        self._drain(entry)
        if entry.pending > self._low:
            entry.blocked = True

    def send_trailers(self, stream: int, headers: Headers) -> None:
        """End a message with fields; see `interface.Codec`."""
        entry = self._streams.get(stream)
        if entry is None or not entry.send_open or entry.end_queued:
            return
        if entry.pending:
            entry.trailers = headers
            entry.end_queued = True
            return
        self._write_trailers(entry, headers)

    def reset(self, stream: int, code: int) -> None:
        """Give a stream up; see `interface.Codec`."""
        entry = self._streams.get(stream)
        if entry is not None:
            self._abandon(entry, code)

    def consumed(self, stream: int, size: int) -> None:
        """Note that `size` received body bytes were handed on, and open the windows again in large steps."""
        entry = self._streams.get(stream)
        if entry is None:
            return
        size = min(size, entry.unconsumed)
        entry.unconsumed -= size
        self._give_back(size)
        if not entry.receive_open:
            return
        self._reopen(entry, size)

    def _reopen(self, entry: Stream, size: int) -> None:
        """Return bytes to a stream's window."""
        entry.returned += size
        if entry.returned >= self._step:
            self._out.append(frames.window_update(entry.id, entry.returned))
            entry.receive_window += entry.returned
            entry.returned = 0

    def _give_back(self, size: int) -> None:
        """Return bytes to the connection's window: in large steps, and in any where streams nobody reads leave little."""
        self._returned += size
        if self._returned >= self._connection_step or self._returned > self._credit:
            self._out.append(frames.window_update(0, self._returned))
            self._credit += self._returned
            self._returned = 0

    def _write_data(self, entry: Stream, data: bytes, n: int, end: bool) -> None:
        entry.send_window -= n
        self._send_window -= n
        self._flood.sent()
        self._out.append(frames.header(n, _DATA, _END_STREAM if end else 0, entry.id))
        if n:
            self._out.append(data)
        if end:
            self._ended(entry)

    def _write_trailers(self, entry: Stream, headers: Headers) -> None:
        self._encoder.begin(_HEADER_BYTES)
        self._encoder.fields(headers)
        self._write_section(entry.id, True)
        self._ended(entry)

    def _write_section(self, stream: int, end: bool) -> None:
        """Frame what the encoder holds: HEADERS, and CONTINUATION where it is longer than a frame may be."""
        buffer = self._encoder.finish()
        size = self._encoder.size - _HEADER_BYTES
        self._written += 1 + (size >> 10)
        flags = _END_STREAM if end else 0
        if size <= self._peer_frame:
            frames.put_header(buffer, size, _HEADERS, flags | _END_HEADERS, stream)
            self._out.append(bytes(buffer[: size + _HEADER_BYTES]))
            return
        section = bytes(buffer[_HEADER_BYTES : size + _HEADER_BYTES])
        step = self._peer_frame
        for start in range(0, size, step):
            piece = section[start : start + step]
            kind = _CONTINUATION if start else _HEADERS
            last = _END_HEADERS if start + step >= size else 0
            self._out.append(frames.header(len(piece), kind, last | (0 if start else flags), stream))
            self._out.append(piece)

    def _drain(self, entry: Stream) -> bool:
        """Send one stream's queue as far as the windows allow; False when nothing moved."""
        moved = False
        queue = entry.queue
        while queue and entry.send_window > 0 and self._send_window > 0:
            data: bytes = queue[0]
            start = entry.offset
            left = len(data) - start
            room = min(left, self._peer_frame, entry.send_window, self._send_window)
            if room < left:
                entry.offset = start + room
                data = data[start : start + room]
            else:
                queue.popleft()
                entry.offset = 0
                if start:
                    data = data[start:]
            entry.pending -= room
            self._waiting -= room
            moved = True
            self._write_data(entry, data, room, not queue and entry.end_queued and entry.trailers is None)
        if not queue and entry.id in self._blocked:
            del self._blocked[entry.id]
            if entry.trailers is not None:
                self._write_trailers(entry, entry.trailers)
            elif entry.end_queued and entry.send_open:
                self._write_data(entry, b"", 0, True)
        return moved

    def _pump(self, events: list[Event]) -> None:
        """Send what waits after a window opened, and tell who may go on."""
        for entry in list(self._blocked.values()):
            if self._send_window <= 0:
                return
            self._proceed(entry, events)
            if entry.id in self._blocked:
                # To the end of the line, so that one stream cannot keep the connection's window to itself.
                del self._blocked[entry.id]
                self._blocked[entry.id] = entry

    def _proceed(self, entry: Stream, events: list[Event]) -> None:
        """Send what a stream's own window allows now."""
        self._drain(entry)
        if entry.blocked and entry.pending <= self._low:
            entry.blocked = False
            if entry.send_open:
                events.append(Writable(entry.id))

    def _ended(self, entry: Stream) -> None:
        """Our side of a stream is complete."""
        entry.send_open = False
        if not entry.receive_open:
            self._flood.completed()
            self._close(entry)
        else:
            self._half_closed(entry)

    def _half_closed(self, entry: Stream) -> None:
        """We have ended a stream whose other side is open: a hook for the server."""

    def _abandon(self, entry: Stream, code: int) -> None:
        """Reset a stream and forget it."""
        self._written += 1
        self._out.append(frames.rst_stream(entry.id, code))
        self._forget(entry.id)
        self._close(entry)

    def _forget(self, stream: int) -> None:
        """Ignore what may still come for a stream the peer does not know to be over."""
        lately = self._reset_lately
        lately[stream] = None
        if len(lately) > _FORGOTTEN:
            del lately[next(iter(lately))]

    def _close(self, entry: Stream) -> None:
        """Take a stream out of the state; what was not handed on goes back to the connection's window."""
        if self._streams.pop(entry.id, None) is None:
            return
        self.active -= 1
        self._blocked.pop(entry.id, None)
        entry.send_open = False
        entry.receive_open = False
        self._waiting -= entry.pending
        entry.pending = 0
        entry.queue = None
        if entry.unconsumed:
            self._give_back(entry.unconsumed)
            entry.unconsumed = 0
