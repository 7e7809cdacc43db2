"""Bounds what is logged about traffic: lines that outside input causes must not fill a disk or hold up the loop they are written on.

In: the records of a logger, and a clock. Out: those within the rate, and all warnings; how many were left out is told by the next
line that is not, and counted. Refuses nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from dataplane.telemetry.metrics import Counter

A_SECOND = 10.0
AT_ONCE = 100.0


class Bounded(logging.Filter):
    """Lets so many lines a second pass, and somewhat more at once after a quiet time."""

    def __init__(self, clock: Callable[[], float], dropped: Counter) -> None:
        super().__init__()
        self._clock = clock
        self._dropped = dropped
        self._room = AT_ONCE
        self._seen = clock()
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        if record.levelno >= logging.WARNING:
            return True
        now = self._clock()
        self._room = min(AT_ONCE, self._room + (now - self._seen) * A_SECOND)
        self._seen = now
        if self._room < 1.0:
            self._untold += 1
            self._dropped.value += 1
            return False
        self._room -= 1.0
        if self._untold:
            record.msg = f"{record.getMessage()} ({self._untold} lines before this one were left out)"
            record.args = ()
            self._untold = 0
        return True


def bound(logger: logging.Logger, clock: Callable[[], float], dropped: Counter) -> None:
    """Bound a logger, in place of the bound it had."""
    for old in logger.filters[:]:
        if isinstance(old, Bounded):
            logger.removeFilter(old)
    logger.addFilter(Bounded(clock, dropped))
