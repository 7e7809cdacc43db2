"""Flow control of what comes in: the windows we give the peer, and when they open again (RFC 9113, sections 5.2 and 6.9).

In: sizes of DATA as it arrives, and of what was handed on. Out: WINDOW_UPDATE frames, in large steps. Refuses, by False,
what is beyond a window. Every byte that took room in the connection's window gives it back exactly once: handed on,
padding, or unwanted.
"""

from dataplane.protocol.http2 import frames, states
from dataplane.protocol.http2.stream import Stream
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits

_THEY_SEND = states.THEY_SEND


class Inflow:
    """The windows of one connection and its streams, as the peer sees them."""

    __slots__ = ("_returned", "_step", "_stream_step", "_window", "_writer", "stream_window")

    def __init__(self, limits: Limits, writer: FrameWriter) -> None:
        self._writer = writer
        self.stream_window = limits.window
        """What a stream begins with."""
        self._window = limits.connection_window
        """Bytes the peer may send before more are given back."""
        self._returned = 0
        """Bytes handed on and not yet given back."""
        self._step = limits.connection_window // 2
        self._stream_step = limits.window // 2
        """Bytes handed on after which the peer is told that it may send as many again."""

    def begin(self) -> None:
        """Open the connection's window from where HTTP/2 begins."""
        if self._window > frames.DEFAULT_WINDOW:
            self._writer.write(frames.window_update(0, self._window - frames.DEFAULT_WINDOW))

    def arrived(self, size: int) -> bool:
        """A whole DATA payload came: whether the connection's window had room for it."""
        self._window -= size
        return self._window >= 0

    def arrived_on(self, entry: Stream, size: int, body: int) -> bool:
        """The same for its stream; of `size` bytes `body` will be handed on, and the rest is padding."""
        entry.receive_window -= size
        if entry.receive_window < 0:
            return False
        if body < size:
            self.unwanted(size - body)
            self._reopen(entry, size - body)
        return True

    def kept(self, entry: Stream, body: int) -> None:
        """Bytes of a body were told to the driver, who owes `handed_on`."""
        entry.unconsumed += body

    def handed_on(self, entry: Stream, size: int) -> None:
        """Take note of bytes the driver is done with, and open the windows again."""
        size = min(size, entry.unconsumed)
        entry.unconsumed -= size
        self.unwanted(size)
        if entry.state & _THEY_SEND:
            self._reopen(entry, size)

    def closed(self, entry: Stream) -> None:
        """Nobody will hand on what is left of a stream."""
        if entry.unconsumed:
            self.unwanted(entry.unconsumed)
            entry.unconsumed = 0

    def unwanted(self, size: int) -> None:
        """Return bytes to the connection's window: in large steps, and in any where streams nobody reads leave little."""
        self._returned += size
        if self._returned >= self._step or self._returned > self._window:
            self._writer.write(frames.window_update(0, self._returned))
            self._window += self._returned
            self._returned = 0

    def _reopen(self, entry: Stream, size: int) -> None:
        """Return bytes to a stream's window."""
        entry.returned += size
        if entry.returned >= self._stream_step:
            self._writer.write(frames.window_update(entry.id, entry.returned))
            entry.receive_window += entry.returned
            entry.returned = 0
