"""A clock that a test moves, and the loop that timers on it are woken by."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from dataplane.net.system import Kernel


class Clock(Kernel):
    """Time that the test moves, and the loop that wakes the wheel: late where the test says so, never early."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.calls: list[tuple[float, int, Wake]] = []

    def now(self) -> float:
        return self.time

    def call_later(self, delay: float, callback: Callable[[], object]) -> Wake:
        wake = Wake(callback)
        heapq.heappush(self.calls, (self.time + delay, id(wake), wake))
        return wake

    def advance(self, seconds: float, *, late: bool = False) -> None:
        """Let time pass; a late loop sees none of it until the end."""
        end = self.time + seconds
        while self.calls and self.calls[0][0] <= end:
            due, _, wake = heapq.heappop(self.calls)
            self.time = end if late else max(due, self.time)
            if wake.callback is not None:
                wake.callback()
        self.time = end


class Wake:
    """A call the loop owes."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None
