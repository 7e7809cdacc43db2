"""Time-outs by the thousand: a wheel of 10 ms ticks where setting and cancelling cost a few pointers.

In: seconds and a callback. Out: the callback, called once, at its tick or up to a tick later. Refuses nothing: what
a callback raises is logged and the other timers go on. The event loop is asked to wake us only while timers exist,
and only for the next slot that holds one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from dataplane.net.system import Kernel

TICK: Final = 0.01
"""Seconds between two slots of the near wheel."""
SLOTS: Final = 1024
"""Slots of the near wheel, whose round takes 10.24 s."""
ROUNDS: Final = 64
"""Slots of the far wheel, which turns one with each round of the near one: 11 minutes. Every slot is an object in every sidecar."""

# The same for the hot path: C numbers when compiled.
_TICK = TICK
_SLOTS = SLOTS
_ROUNDS = ROUNDS

_log = logging.getLogger("tulle.net")


class Timer:
    """A callback to come; a node of the ring of its slot."""

    __slots__ = ("callback", "due", "following", "preceding")

    def __init__(self) -> None:
        self.following: Timer = self
        self.preceding: Timer = self
        self.callback: Callable[[], object] | None = None
        self.due = 0

    @property
    def active(self) -> bool:
        """Whether it is still to come."""
        return self.callback is not None

    def cancel(self) -> None:
        """Forget it; harmless when it was called or cancelled before."""
        if self.callback is not None:
            self.callback = None
            self.unlink()

    def unlink(self) -> None:
        """Leave the ring."""
        before = self.preceding
        after = self.following
        before.following = after
        after.preceding = before
        self.following = self
        self.preceding = self

    def link(self, ring: "Timer") -> None:
        """Join a ring at its end."""
        last = ring.preceding
        last.following = self
        self.preceding = last
        self.following = ring
        ring.preceding = self


class Timers:
    """The two wheels of one event loop."""

    __slots__ = ("_far", "_handle", "_kernel", "_loop", "_near", "_start", "_tick", "_wake", "failures")

    def __init__(self, loop: asyncio.AbstractEventLoop, kernel: Kernel) -> None:
        self._loop = loop
        self._kernel = kernel
        self._near = [Timer() for _ in range(_SLOTS)]
        self._far = [Timer() for _ in range(_ROUNDS)]
        self._start = kernel.now()
        self._tick = 0
        self._wake = -1
        self._handle: asyncio.TimerHandle | None = None
        self.failures = 0

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back in so many seconds."""
        timer = Timer()
        timer.callback = callback
        now = self._now()
        if self._handle is None:
            self._tick = now
        # A part of a tick counts as one, so that nothing comes early; what division makes of whole ticks does not.
        timer.due = now + 1 + int(seconds / _TICK + 0.999)
        self._place(timer)
        if self._handle is None or timer.due < self._wake:
            self._schedule(timer.due, now)
        return timer

    def pending(self) -> int:
        """Count the timers to come (for tests and the admin page)."""
        count = 0
        for ring in self._near + self._far:
            timer = ring.following
            while timer is not ring:
                count += 1
                timer = timer.following
        return count

    def stop(self) -> None:
        """Ask the loop for nothing more; timers still there never come."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _now(self) -> int:
        return int((self._kernel.now() - self._start) / _TICK)

    def _place(self, timer: Timer) -> None:
        """Link into the slot of its due tick; `_tick` is the last tick done."""
        due = timer.due
        if due - self._tick < _SLOTS:
            slots = self._near
            index = due % _SLOTS
        else:
            slots = self._far
            rounds = due // _SLOTS
            # What lies beyond the far wheel too waits in its last slot and is placed again from there.
            last = self._tick // _SLOTS + _ROUNDS - 1
            rounds = min(rounds, last)
            index = rounds % _ROUNDS
        timer.link(slots[index])

    def _schedule(self, tick: int, now: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        # No later than the next turn of the far wheel, which may bring nearer ones.
        turn = (now // _SLOTS + 1) * _SLOTS
        self._wake = min(tick, turn)
        delay = self._start + self._wake * _TICK - self._kernel.now()
        self._handle = self._loop.call_later(max(delay, 0.001), self._turn)

    def _turn(self) -> None:
        """Call everything that is due, then sleep until the next slot that holds a timer."""
        now = self._now()
        while self._tick < now:
            # Before the cascade: the timers it brings are due within a round of this tick, not of the one before.
            tick = self._tick = self._tick + 1
            if tick % _SLOTS == 0:
                self._cascade(tick // _SLOTS)
            ring = self._near[tick % _SLOTS]
            while ring.following is not ring:
                self._fire(ring.following)
        self._handle = None
        following = self._following(now)
        if following >= 0:
            self._schedule(following, now)

    def _cascade(self, rounds: int) -> None:
        ring = self._far[rounds % _ROUNDS]
        first = ring.following
        if first is ring:
            return
        ring.unlink()
        timer = first
        # The timers of the slot form a ring without its head now; each is placed anew.
        while True:
            after = timer.following
            alone = after is timer
            timer.unlink()
            self._place(timer)
            if alone:
                return
            timer = after

    def _fire(self, timer: Timer) -> None:
        callback = timer.callback
        timer.cancel()
        try:
            if callback is not None:
                callback()
        except Exception:  # noqa: BLE001 - the supervisor of timers
            self.failures += 1
            _log.exception("a timer's callback failed")

    def _following(self, now: int) -> int:
        """The next tick with a timer in its near slot, the next turn of the far wheel if only that holds some, or -1."""
        slots = self._near
        for ahead in range(1, _SLOTS):
            ring = slots[(now + ahead) % _SLOTS]
            if ring.following is not ring:
                return now + ahead
        for ring in self._far:
            if ring.following is not ring:
                return (now // _SLOTS + 1) * _SLOTS
        return -1
