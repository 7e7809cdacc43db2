"""Every time-out of one exchange, in one place with one end.

In: what the time is for, seconds, whom to call. Out: the call, unless `stop` or `end` came first. An exchange without a
time-out has none of these; `end()` is the only thing its own end has to do about time.
"""

from __future__ import annotations

from collections.abc import Callable

from dataplane.net.timers import Timer, Timers

DURATION = 0
"""The request with its answer."""
BODY = 1
"""The request alone, from its head to its end."""
ROUTE = 2
"""From the end of the request to the end of its answer, with all tries."""
_KINDS = 3


class Deadlines:
    """The timers that are running; of each kind at most one."""

    __slots__ = ("_running", "_timers")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._running: list[Timer | None] = [None] * _KINDS

    def set(self, kind: int, seconds: float, call: Callable[[], object]) -> None:
        """Call in so many seconds, and not when an earlier one of this kind would have."""
        self.stop(kind)
        self._running[kind] = self._timers.after(seconds, call)

    def runs(self, kind: int) -> bool:
        """Whether one of this kind was set, also when it has come."""
        return self._running[kind] is not None

    def stop(self, kind: int) -> None:
        """Forget one kind."""
        timer = self._running[kind]
        if timer is not None:
            self._running[kind] = None
            timer.cancel()

    def end(self) -> None:
        """Forget all."""
        for timer in self._running:
            if timer is not None:
                timer.cancel()
        self._running = [None] * _KINDS
