"""Flow control of what comes in: the windows we give the peer, and when they open again (RFC 9113, sections 5.2 and 6.9).

In: sizes of DATA as it arrives, and of what was handed on. Out: WINDOW_UPDATE frames, in large steps. A stream's window grows
while its reader keeps up, for on a link with delay it is all that can be under way. Refuses, by False, what is beyond a window. Every byte that took room in the
connection's window gives it back exactly once: handed on,
padding, or unwanted.
"""

from dataplane.protocol.http2 import frames, states
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits

_THEY_SEND = states.THEY_SEND


class Inflow:
    """The windows of one connection and its streams, as the peer sees them."""

    __slots__ = ("_returned", "_spare", "_step", "_widest", "_window", "_writer", "stream_window")

    def __init__(self, limits: Limits, writer: FrameWriter) -> None:
        self._writer = writer
        self.stream_window = limits.window
        """What a stream begins with."""
        self._window = limits.connection_window
        """Bytes the peer may send before more are given back."""
        self._returned = 0
        """Bytes handed on and not yet given back."""
        self._step = limits.connection_window // 2
        """Bytes handed on after which the peer is told that it may send as many again; of a stream, half its window."""
        self._widest = min(limits.widest_window, limits.growth)
        self._spare = limits.growth
        """Bytes by which windows may still grow."""

    def begin(self) -> None:
        """Open the connection's window from where HTTP/2 begins."""
        if self._window > frames.DEFAULT_WINDOW:
            self._writer.write(frames.window_update(0, self._window - frames.DEFAULT_WINDOW))

    def arrived(self, size: int) -> bool:
        """A whole DATA payload came: whether the connection's window had room for it."""
        self._window -= size
        if self._window < 0:
            return False
        if self._returned > self._window:
            self._give_back()
        return True

    def arrived_on(self, entry: Http2Stream, size: int, body: int) -> bool:
        """The same for its stream; of `size` bytes `body` will be handed on, and the rest is padding."""
        entry.receive_window -= size
        if entry.receive_window < 0:
            return False
        if body < size:
            self.unwanted(size - body)
            self._reopen(entry, size - body)
        return True

    def kept(self, entry: Http2Stream, body: int) -> None:
        """Bytes of a body were told to the driver, who owes `handed_on`."""
        entry.unconsumed += body

    def handed_on(self, entry: Http2Stream, size: int) -> None:
        """Take note of bytes the driver is done with, and open the windows again."""
        size = min(size, entry.unconsumed)
        entry.unconsumed -= size
        if entry.unconsumed == 0:
            entry.caught_up = True
        self.unwanted(size)
        if entry.state & _THEY_SEND:
            self._reopen(entry, size)

    def closed(self, entry: Http2Stream) -> None:
        """Nobody will hand on what is left of a stream, and others may grow by what it has; asked once a stream."""
        self._spare += entry.window - self.stream_window
        if entry.unconsumed:
            self.unwanted(entry.unconsumed)
            entry.unconsumed = 0

    def unwanted(self, size: int) -> None:
        """Return bytes to the connection's window: in large steps, and at once where streams nobody reads leave less than is owed."""
        self._returned += size
        if self._returned >= self._step or self._returned > self._window:
            self._give_back()

    def _give_back(self) -> None:
        self._writer.write(frames.window_update(0, self._returned))
        self._window += self._returned
        self._returned = 0

    def _reopen(self, entry: Http2Stream, size: int) -> None:
        """Return bytes to a stream's window."""
        entry.returned += size
        if entry.returned >= entry.window // 2:
            step = entry.returned + self._grow(entry)
            self._writer.write(frames.window_update(entry.id, step))
            entry.receive_window += step
            entry.returned = 0

    def _grow(self, entry: Http2Stream) -> int:
        """Widen a window whose reader waits for more; return by how much."""
        room = min(entry.window, self._widest - entry.window, self._spare)
        if room <= 0 or not entry.caught_up:
            return 0
        entry.caught_up = False
        entry.window += room
        self._spare -= room
        return room
