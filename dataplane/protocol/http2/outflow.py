"""Flow control of what goes out: DATA within the peer's windows, and what waits for them (RFC 9113, sections 5.2 and 6.9).

In: pieces of bodies, trailers, and changes of windows. Out: frames, by the writer; whether a stream's end has left. What the
windows do not allow waits in its stream's queue and is sent in turn, a stream after the other, as they open. Refuses, by
False, a window opened too far.
"""

from collections import deque

from dataplane.protocol.events import Headers
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.streams import Streams
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits

_HEADER_BYTES = frames.HEADER_BYTES
_MAX_FRAME = frames.MAX_FRAME
_MAX_WINDOW = frames.MAX_WINDOW


class Outflow:
    """The windows of one connection and its streams, as the peer gives them."""

    __slots__ = ("_blocked", "_flood", "_low", "_most", "_streams", "_waiting", "_writer", "stream_window", "window")

    def __init__(self, limits: Limits, writer: FrameWriter, flood: Flood, streams: Streams) -> None:
        self._writer = writer
        self._flood = flood
        self._streams = streams
        self._low = limits.low_watermark
        self._most = limits.connection_window
        self._blocked: dict[int, Http2Stream] = {}
        self._waiting = 0
        """Bytes in the queues of all streams."""
        self.window = frames.DEFAULT_WINDOW
        """Bytes we may send on all streams together."""
        self.stream_window = frames.DEFAULT_WINDOW
        """What a stream begins with."""

    def full(self, entry: Http2Stream, most: int) -> bool:
        """Whether a stream has enough waiting: so many bytes, or any worth telling where the connection has its most."""
        return entry.pending > self._low and (entry.pending > most or self._waiting > self._most)

    def send(self, entry: Http2Stream, data: bytes, end: bool) -> bool:
        """Send a piece of a body, or have it wait; whether the stream's end has left."""
        n = len(data)
        if entry.pending == 0 and n <= _MAX_FRAME and n <= entry.send_window and n <= self.window:
            if n or end:
                self._write(entry, data, n, end)
            return end
        if entry.queue is None:
            entry.queue = deque()
        if n:
            entry.queue.append(data)
            entry.pending += n
            self._waiting += n
        entry.end_queued = end
        self._blocked[entry.id] = entry
        ended = self.drain(entry)
        if entry.pending > self._low:
            entry.blocked = True
        return ended

    def send_trailers(self, entry: Http2Stream, headers: Headers) -> bool:
        """End a message with fields, once its body has left; whether they have."""
        if entry.pending:
            entry.trailers = headers
            entry.end_queued = True
            return False
        encoder = self._writer.encoder
        encoder.begin(_HEADER_BYTES)
        encoder.fields(headers)
        self._writer.section(entry.id, True)
        return True

    def drain(self, entry: Http2Stream) -> bool:
        """Send one stream's queue as far as the windows allow; whether its end has left."""
        queue = entry.queue
        while queue and entry.send_window > 0 and self.window > 0:
            data: bytes = queue[0]
            p = data
            start = entry.offset
            left = len(data) - start
            room = min(left, _MAX_FRAME, entry.send_window, self.window)
            if room < left:
                entry.offset = start + room
                data = p[start : start + room]
            else:
                queue.popleft()
                entry.offset = 0
                if start:
                    data = p[start : start + room]
            entry.pending -= room
            self._waiting -= room
            last = not queue and entry.end_queued and entry.trailers is None
            self._write(entry, data, room, last)
            if last:
                del self._blocked[entry.id]
                return True
        if queue or entry.id not in self._blocked:
            return False
        del self._blocked[entry.id]
        if entry.trailers is not None:
            return self.send_trailers(entry, entry.trailers)
        if entry.end_queued:
            self._write(entry, b"", 0, True)
        return entry.end_queued

    def unblocked(self, entry: Http2Stream) -> bool:
        """Whether what waits has just fallen to the low mark, which is told once."""
        if entry.blocked and entry.pending <= self._low:
            entry.blocked = False
            return True
        return False

    def blocked(self) -> list[Http2Stream]:
        """Return the streams that wait for a window, whose turn it is first."""
        return list(self._blocked.values())

    def to_the_end(self, entry: Http2Stream) -> None:
        """Let the other streams have their turn, so that one cannot keep the connection's window to itself."""
        if self._blocked.pop(entry.id, None) is not None:
            self._blocked[entry.id] = entry

    def opened(self, step: int) -> bool:
        """Open the connection's window by so much; False when that is nothing or too far."""
        self.window += step
        return step > 0 and self.window <= _MAX_WINDOW

    def opened_on(self, entry: Http2Stream, step: int) -> bool:
        """The same for a stream's."""
        entry.send_window += step
        return step > 0 and entry.send_window <= _MAX_WINDOW

    def resize(self, size: int) -> bool:
        """Change what streams begin with, and the windows of those there are by as much (section 6.9.2); False when too far."""
        step = size - self.stream_window
        self.stream_window = size
        fits = True
        for entry in self._streams.living.values():
            entry.send_window += step
            if entry.send_window > _MAX_WINDOW:
                fits = False
        return fits

    def closed(self, entry: Http2Stream) -> None:
        """Drop what waits for a stream that is over."""
        if entry.queue is not None:
            self._blocked.pop(entry.id, None)
            self._waiting -= entry.pending
            entry.pending = 0
            entry.queue = None

    def clear(self) -> None:
        """Drop everything: the connection is over."""
        self._blocked.clear()
        self._waiting = 0

    def _write(self, entry: Http2Stream, data: bytes, n: int, end: bool) -> None:
        entry.send_window -= n
        self.window -= n
        self._flood.sent()
        self._writer.data(entry.id, data, n, end)
