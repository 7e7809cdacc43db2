"""Every way a stream or the connection ends (RFC 9113, sections 5.1, 5.4 and 8.1).

In: ends of messages, and what the peer did wrong. Out: RST_STREAM with a Reset event, GOAWAY with a Failure event; windows and
queues as if the stream had never been. What one end costs the peer's credit is decided here.
"""

from dataplane.protocol import codes
from dataplane.protocol.events import Event, Failure, Reset
from dataplane.protocol.http2 import frames, states
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.inflow import Inflow
from dataplane.protocol.http2.outflow import Outflow
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.streams import Streams
from dataplane.protocol.http2.writer import FrameWriter

_CLOSED = states.CLOSED
_OUR_END = states.OUR_END
_THEIR_END = states.THEIR_END


class Endings:
    """Of one connection and its streams."""

    __slots__ = ("_flood", "_inflow", "_outflow", "_streams", "_writer", "closing", "dead")

    def __init__(self, streams: Streams, writer: FrameWriter, flood: Flood, inflow: Inflow, outflow: Outflow) -> None:
        self._streams = streams
        self._writer = writer
        self._flood = flood
        self._inflow = inflow
        self._outflow = outflow
        self.closing = False
        """No more streams will be opened."""
        self.dead = False
        """Nothing is read or written any more, save what waits for `output`."""

    def ours(self, entry: Http2Stream) -> None:
        """Our side of a stream is complete."""
        entry.state = states.after(entry.state, _OUR_END)
        if entry.state == _CLOSED:
            self._flood.completed()
            self.close(entry)
        elif entry.final and not entry.tunnel and not self._streams.ours:
            # The response is complete before the request: ask the client to stop, without an error (section 8.1).
            self.abandon(entry, codes.NO_ERROR)

    def theirs(self, entry: Http2Stream) -> None:
        """The peer's side of a stream is complete."""
        entry.state = states.after(entry.state, _THEIR_END)
        if entry.state == _CLOSED:
            self._flood.completed()
            self.close(entry)

    def abandon(self, entry: Http2Stream, code: int) -> None:
        """Reset a stream and forget it."""
        self._writer.answer(frames.rst_stream(entry.id, code))
        self._streams.forget(entry.id)
        self.close(entry)

    def close(self, entry: Http2Stream) -> None:
        """Take a stream out; what was not handed on goes back to the connection's window."""
        if self._streams.close(entry):
            self._outflow.closed(entry)
            self._inflow.closed(entry)

    def late(self, number: int, entry: Http2Stream | None, size: int, events: list[Event]) -> None:
        """A frame came for a stream whose peer side is over: ignored where the peer could not know."""
        lately = self._streams.lately(number)
        if lately and size:
            return
        if not self._flood.control():
            self._closed_flood(events)
        elif entry is not None:
            self.broken(entry, codes.STREAM_CLOSED, "a frame came after END_STREAM", events)
        elif not lately:
            self._writer.answer(frames.rst_stream(number, codes.STREAM_CLOSED))

    def late_reset(self, events: list[Event]) -> None:
        """The peer gave up a stream that is over."""
        if not self._flood.control():
            self._closed_flood(events)

    def _closed_flood(self, events: list[Event]) -> None:
        self.fail(codes.ENHANCE_YOUR_CALM, "too many frames on closed streams", "http2_closed_flood", events)

    def reset(self, entry: Http2Stream, code: int, costs: bool, events: list[Event]) -> None:
        """The peer gave a stream up; `costs`: before anything came of it."""
        self.close(entry)
        events.append(Reset(entry.id, code, f"the peer reset the stream: {codes.name(code)}"))
        if costs and not self._flood.premature():
            self.fail(codes.ENHANCE_YOUR_CALM, "too many streams were reset", "http2_rapid_reset", events)

    def left_out(self, last: int, events: list[Event]) -> None:
        """The peer goes away and will not answer the streams of ours beyond one."""
        self.closing = True
        for entry in self._streams.beyond(last):
            self.close(entry)
            events.append(Reset(entry.id, codes.REFUSED_STREAM, "the server is going away"))

    def broken(self, entry: Http2Stream, code: int, reason: str, events: list[Event]) -> None:
        """End one stream for what the peer did on it."""
        self.abandon(entry, code)
        events.append(Reset(entry.id, code, reason))
        if not self._flood.premature():
            self.fail(codes.ENHANCE_YOUR_CALM, "too many streams were broken", "http2_rapid_reset", events)

    def misshapen(self, number: int, reason: str, counter: str, events: list[Event]) -> None:
        """A frame of a wrong size that changes nothing but its stream: an error of that, where there is one (section 4.2)."""
        entry = self._streams.living.get(number)
        if entry is not None:
            self.broken(entry, codes.FRAME_SIZE_ERROR, reason, events)
        else:
            self.fail(codes.FRAME_SIZE_ERROR, reason, counter, events)

    def fail(self, code: int, reason: str, counter: str, events: list[Event]) -> None:
        """End the connection for what the peer did."""
        if not self.dead:
            self._writer.write(frames.goaway(self._streams.last, code, counter.encode()))
            self._die()
            events.append(Failure(code, 400, reason, counter))

    def lost(self, events: list[Event]) -> None:
        """The peer sends nothing more: nothing open can be finished."""
        why = "the connection ended inside a stream"
        events += [Reset(number, codes.CONNECT_ERROR, why) for number in self._streams.living]
        self._die()

    def _die(self) -> None:
        self.dead = True
        self.closing = True
        self._streams.clear()
        self._outflow.clear()
