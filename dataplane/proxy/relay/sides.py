"""The two ends of a relay of bytes nobody looks into: back-pressure, half-close and counting, the same both ways.

In: a stream's bytes and its end. Out: the same at the other end; `Ends` hears when one is reached, speaks first or is gone.
"""

from __future__ import annotations

from typing import Final

from dataplane.net.receiver import Receiver
from dataplane.net.splice import Pump
from dataplane.net.stream import Stream
from dataplane.net.system import RECEIVE_SIZE
from dataplane.net.tls_stream import TlsStream
from dataplane.proxy.relay.carrier import Carrier
from dataplane.telemetry.metrics import TcpSeries

_BULK = RECEIVE_SIZE
"""A read this long found more than it could take."""


class Ends:
    """Who holds both sides, as they see it."""

    __slots__ = ()

    def connected(self) -> None:
        """The endpoint is there."""

    def spoke(self) -> None:
        """The server sent something before the client did."""

    def gone(self, side: Side, reason: str) -> None:
        """One end is lost."""


class Side(Receiver):
    """One end of a relay."""

    __slots__ = ("_bypass", "_counting_in", "carrier", "other", "relay", "series", "stream")

    def __init__(self, relay: Ends, from_client: bool) -> None:
        self.relay = relay
        self.other: Side = self
        self.stream: Stream | None = None
        self.carrier: Carrier | None = None
        """What frames the stream, where it carries other connections after this."""
        self.series: TcpSeries | None = None
        self._bypass: Pump | None = None
        self._counting_in = from_client

    # --- what the relay and the other end ask -------------------------------------------------------------------------

    def hold(self, carrier: Carrier) -> None:
        """Be the end of a connection on a carrier."""
        self.carrier = carrier
        self.stream = carrier.stream
        carrier.user = self

    def leave(self) -> None:
        """The stream is gone, or carries others from here on."""
        self.stream = None
        self.carrier = None

    def send(self, data: bytes) -> None:
        """Send bytes."""
        if self.carrier is not None:
            self.carrier.write(data)
        elif self.stream is not None:
            self.stream.write(data)

    def end(self) -> None:
        """Send no more; the peer still may."""
        if self.carrier is not None:
            self.carrier.end()
        elif self.stream is not None:
            self.stream.write_eof()

    def close(self) -> None:
        """Send what waits, then close."""
        if self.carrier is not None:
            self.carrier.close()
        elif self.stream is not None:
            self.stream.close()

    # --- what the stream tells ----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The endpoint is reached."""
        self.relay.connected()

    def received(self, data: bytes) -> None:
        """Hand bytes on; a full queue at the other end stops the reading here."""
        series = self.series
        if series is None:
            self.relay.spoke()
            series = self.series
            if series is None:
                return
        self.count(len(data))
        other = self.other
        sink = other.stream
        if sink is not None:
            other.send(data)
            if sink.high and self.stream is not None:
                self.stream.pause()
            if len(data) >= _BULK:
                self._engage()

    def count(self, size: int) -> None:
        """Count bytes that came from here."""
        series = self.series
        if series is None:
            return
        if self._counting_in:
            series.received += size
        else:
            series.sent += size

    def _engage(self) -> None:
        """Bytes come in bulk: from here on they go past us, where both ends are plain sockets."""
        source, sink = self.stream, self.other.stream
        if source is None or sink is None or source.pump is not None:
            return
        if isinstance(source, TlsStream) or isinstance(sink, TlsStream):
            return
        if self.carrier is not None or self.other.carrier is not None:
            return
        if self._bypass is None:
            self._bypass = CountingPump(source, sink, self)
        source.pump = sink.feed = self._bypass

    def ended(self) -> None:
        """No more comes from here: tell the other end, which still may send."""
        if self.series is None:
            self.relay.spoke()
        self.other.end()

    def drained(self) -> None:
        """There is room here: the other end may send again."""
        if self.other.stream is not None:
            self.other.stream.resume()

    def part(self) -> None:
        """Let go of all it knows, when both ends are gone: what is left is no cycle."""
        self._bypass = None
        self.other = LOOSE
        self.relay = NOBODY

    def lost(self, reason: str) -> None:
        """The end of this end."""
        relay = self.relay  # compiled, only this holds it once its ends have parted from it
        relay.gone(self, reason)


class CountingPump(Pump):
    """A bypass whose bytes are counted where others are."""

    def __init__(self, source: Stream, sink: Stream, side: Side) -> None:
        super().__init__(source, sink)
        self._side = side

    def passed(self, size: int) -> None:
        """Count them."""
        self._side.count(size)


NOBODY: Final = Ends()
"""Who holds the ends of a relay that is over."""
LOOSE: Final = Side(NOBODY, False)
"""The other end of each of them."""
