"""What the sidecar answered itself in the last minute, by reason, and of how many requests: for who looks now and was not there before.

In: the counters, and a timer. Out: rows of a scrape. Counters are read every few seconds and never touched, so traffic pays nothing for it. A figure is of the last
60 to 65 seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from dataplane.telemetry.metrics import Metrics

SECONDS: Final = 60.0
STEP_SECONDS: Final = 5.0


class Timers(Protocol):
    """What the reading is timed by."""

    def after(self, seconds: float, callback: Callable[[], object]) -> Any:
        """Call back in so many seconds."""


class Recent:
    """Remembers what the counters were, a minute back."""

    __slots__ = ("_metrics", "_past", "_timers")

    def __init__(self, metrics: Metrics, timers: Timers) -> None:
        self._metrics = metrics
        self._timers = timers
        self._past: deque[tuple[dict[str, int], int]] = deque(maxlen=int(SECONDS / STEP_SECONDS) + 1)

    def start(self) -> None:
        """Read now, and from now on."""
        self._past.append(self._now())
        self._timers.after(STEP_SECONDS, self.start)

    def errors(self) -> dict[str, float]:
        """Count the answers of its own in the last minute, by reason."""
        errors, _ = self._now()
        before, _ = self._past[0] if self._past else ({}, 0)
        return {reason: count - before.get(reason, 0) for reason, count in errors.items()}

    def requests(self) -> int:
        """Count the requests of the last minute."""
        _, requests = self._now()
        _, before = self._past[0] if self._past else ({}, 0)
        # Series nothing is counted in for long are dropped, with what they had counted.
        return max(0, requests - before)

    def _now(self) -> tuple[dict[str, int], int]:
        errors = {reason: counter.value for reason, counter in self._metrics.errors.values.items()}
        groups = self._metrics.groups.values()
        return errors, sum(one.count for group in groups for one in group.series.values())
