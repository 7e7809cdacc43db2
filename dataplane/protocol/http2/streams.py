"""The streams of one HTTP/2 connection: those that live, and what is still known of those that do not (RFC 9113, section 5.1).

In: numbers as they are opened and closed. Out: a `Http2Stream`, or the state of one that is not in the table. Only one side opens
streams, since nobody pushes: `ours` says whether that is us. Bounded: the living by the limits of both sides, the dead by
`_FORGOTTEN`.
"""

from dataplane.protocol.http2 import states
from dataplane.protocol.http2.stream import Http2Stream

_CLOSED = states.CLOSED
_IDLE = states.IDLE
_RESET = states.RESET

_FORGOTTEN = 128
"""Streams we reset lately whose late frames are ignored; older ones cost the peer credit."""


class Streams:
    """A table by stream number."""

    __slots__ = ("_lately", "_skipped_after", "_skipped_before", "_unwanted", "last", "living", "ours")

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.living: dict[int, Http2Stream] = {}
        self.last = 0
        """The highest number opened."""
        self._lately: dict[int, None] = {}
        self._unwanted = 0
        self._skipped_after = self._skipped_before = 0

    def open(self, number: int, send_window: int, receive_window: int) -> Http2Stream:
        """Take a new stream in; those between the last one and this are closed unused (section 5.1.1)."""
        if number - self.last > 2:
            self._skipped_after = self.last
            self._skipped_before = number
        self.last = number
        entry = Http2Stream(number, send_window, receive_window)
        self.living[number] = entry
        return entry

    def close(self, entry: Http2Stream) -> bool:
        """Take a stream out, by its end or before; False when it was out already."""
        if self.living.pop(entry.id, None) is None:
            return False
        if entry.state != _CLOSED:
            entry.state = states.after(entry.state, _RESET)
        return True

    def clear(self) -> None:
        """Take all out: the connection is over."""
        self.living.clear()

    def state(self, number: int) -> int:
        """Return the state of a stream that is not in the table: IDLE or CLOSED."""
        if self.ours:
            return _IDLE if number > self.last or (number % 2 == 0 and number != 0) else _CLOSED
        return _IDLE if number > self.last and number > self._unwanted else _CLOSED

    def worth(self, number: int, entry: Http2Stream | None, kind: int) -> int:
        """Return what a frame for a stream is worth (`states.verdict`); `entry`: the stream, if it lives."""
        return states.verdict(entry.state if entry is not None else self.state(number), kind)

    def skipped(self, number: int) -> bool:
        """Tell whether a closed stream is one the peer left out when it last did."""
        return self._skipped_after < number < self._skipped_before

    def ignore(self, number: int) -> None:
        """Note a stream the peer opened after we had told it not to: what comes for it means nothing."""
        self._unwanted = number
        self.forget(number)

    def forget(self, number: int) -> None:
        """Ignore what may still come for a stream the peer does not know to be over."""
        lately = self._lately
        lately[number] = None
        if len(lately) > _FORGOTTEN:
            del lately[next(iter(lately))]

    def lately(self, number: int) -> bool:
        """Tell whether the peer may not know yet that a stream is over."""
        return number in self._lately

    def beyond(self, last: int) -> list[Http2Stream]:
        """Return the streams of ours that a GOAWAY leaves out."""
        return [entry for entry in self.living.values() if entry.id > last] if self.ours else []
