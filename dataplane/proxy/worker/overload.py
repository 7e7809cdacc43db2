"""What to give up while the sidecar itself is behind: its turns come late, or its memory runs out.

In: a timer that should come on time, the process's resident memory. Out: a level, each including those below: connections
are not kept (`SAVE`), requests are refused with 503 `overloaded` (`SHED`), no connection is accepted (`HOLD`). Refusing
early keeps what is in hand fast; memory is given back before the kernel kills. A level ends well below where it began.
While nothing comes in nobody looks: a sidecar that idles sleeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from meshapi.records import record

EASE: Final = 0
SAVE: Final = 1
SHED: Final = 2
HOLD: Final = 3
WORDS: Final = ("ease", "save", "shed", "hold")
MEANING: Final = (
    "all is taken again",
    "connections are closed after their next answer",
    "new requests are refused",
    "no connection is accepted",
)

LOOK_SECONDS: Final = 0.25
"""How often the clock is looked at while there is anything to do."""

_PAGE = 4096
_UNLIMITED = 1 << 60
_NEVER = float("inf")


@record
class Marks:
    """Where the levels of one measure begin."""

    save: float
    shed: float
    hold: float
    relief: float
    """A level ends when the measure is below this share of its mark."""

    def level(self, value: float, now: int) -> int:
        """Return the level of a value, given the one it has."""
        return max(self._reached(value, 1.0), min(now, self._reached(value, self.relief)))

    def _reached(self, value: float, share: float) -> int:
        marks = ((HOLD, self.hold), (SHED, self.shed), (SAVE, self.save))
        return next((level for level, mark in marks if value >= mark * share), EASE)


LATE: Final = Marks(save=_NEVER, shed=1.0, hold=5.0, relief=0.5)
"""Seconds two looks in a row come late: one alone is a start, a large push or a busy neighbour, and over when it is seen.

Closing connections would only make work, so that is no step on the way."""
MEMORY: Final = Marks(save=0.8, shed=0.9, hold=0.95, relief=0.95)
"""Share of the memory limit."""


class Timers(Protocol):
    """What the looks are timed by."""

    def after(self, seconds: float, callback: Callable[[], object]) -> object:
        """Call back in so many seconds."""


class Overload:
    """Watches one worker."""

    __slots__ = (
        "_clock",
        "_due",
        "_late",
        "_lateness",
        "_looking",
        "_memory",
        "_moved",
        "_resident",
        "_timers",
        "_when_stirred",
        "level",
        "limit",
        "reason",
        "tell",
    )

    def __init__(
        self,
        timers: Timers,
        clock: Callable[[], float],
        when_stirred: Callable[[Callable[[], object]], object],
        resident: Callable[[], int] | None = None,
    ) -> None:
        """`when_stirred` is given what to call, once, when next any descriptor is ready."""
        self._timers = timers
        self._clock = clock
        self._when_stirred = when_stirred
        self._moved = False
        """Whether anything came in since the last look."""
        self._looking = False
        self._due = 0.0
        self._resident = resident or resident_bytes
        self._late = EASE
        self._lateness = 0.0
        self._memory = EASE
        self.limit = memory_limit()
        """Bytes this process may have; 0 is not known."""
        self.level = EASE
        self.reason = ""
        """`late` or `memory`; empty while all is well."""
        self.tell: Callable[[int, int], None] = lambda _, __: None
        """Called with the new level and the one before, when it changes."""

    def start(self) -> None:
        """Look from now on, for as long as anything comes in."""
        self._when_stirred(self._stirred)
        self._look_later()

    def look(self) -> None:
        """Judge how late we are, and how large; and go on to, unless all is well and nothing came in since the last look."""
        moved, self._moved = self._moved, False
        try:
            self._judge()
        finally:  # a look that fails is not the last
            if moved:
                self._when_stirred(self._stirred)
            if moved or self.level:
                self._look_later()
            else:
                self._looking = False
                self._lateness = 0.0

    def _judge(self) -> None:
        late, self._lateness = self._lateness, self._clock() - self._due
        self._late = LATE.level(min(late, self._lateness), self._late)
        if self.limit:
            with suppress(OSError):  # no descriptor is left to read it with: it is as large as it was
                self._memory = MEMORY.level(self._resident() / self.limit, self._memory)
        before = self.level
        self.level = max(self._late, self._memory)
        self.reason = "" if not self.level else "late" if self._late >= self._memory else "memory"
        if self.level != before:
            self.tell(self.level, before)

    def _look_later(self) -> None:
        self._looking = True
        self._due = self._clock() + LOOK_SECONDS
        self._timers.after(LOOK_SECONDS, self.look)

    def _stirred(self) -> None:
        """Something came in: the next look is not in vain, if need be it is the first again."""
        self._moved = True
        if not self._looking:
            self._look_later()


def resident_bytes() -> int:
    """Read this process's resident memory."""
    fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)  # three system calls, where a file object makes nine
    try:
        return int(os.read(fd, 128).split()[1]) * _PAGE
    finally:
        os.close(fd)


def memory_limit(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Read the memory limit of our cgroup (version 2, then 1); 0 where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((root / name).read_text())
        except (OSError, ValueError):
            continue
        return limit if limit < _UNLIMITED else 0
    return 0
