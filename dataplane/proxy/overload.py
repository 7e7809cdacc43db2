"""When to refuse new requests because the sidecar itself is behind: its turns come late, or its memory runs out.

In: a timer that should come on time, the process's resident memory. Out: `reason`, empty while all is well; the proxy
answers 503 `overloaded` while it is not. Refusing early keeps what is in hand fast; memory is shed before the kernel kills.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

LOOK_SECONDS = 0.25
"""How often the clock is looked at."""
LATE_SECONDS = 1.0
"""Lateness of that look that counts as overload; it ends when a look is on time again."""
MEMORY_SHARE = 0.9
"""Of the memory limit."""

_PAGE = 4096
_UNLIMITED = 1 << 60


class Timers(Protocol):
    """What the looks are timed by."""

    def after(self, seconds: float, callback: Callable[[], object]) -> object:
        """Call back in so many seconds."""


class Overload:
    """Watches one worker."""

    __slots__ = ("_clock", "_due", "_resident", "_timers", "limit", "reason", "tell")

    def __init__(self, timers: Timers, clock: Callable[[], float], resident: Callable[[], int] | None = None) -> None:
        self._timers = timers
        self._clock = clock
        self._due = 0.0
        self._resident = resident or resident_bytes
        self.limit = memory_limit()
        """Bytes this process may have; 0 is not known."""
        self.reason = ""
        self.tell: Callable[[bool], None] = lambda _: None
        """Called when shedding begins or ends."""

    def start(self) -> None:
        """Look from now on."""
        self._due = self._clock() + LOOK_SECONDS
        self._timers.after(LOOK_SECONDS, self.look)

    def look(self) -> None:
        """Judge how late we are, and how large."""
        late = self._clock() - self._due
        reason = "late" if late > LATE_SECONDS else ""
        if not reason and self.limit and self._resident() > self.limit * MEMORY_SHARE:
            reason = "memory"
        changed = bool(reason) != bool(self.reason)
        self.reason = reason
        if changed:
            self.tell(bool(reason))
        self.start()


def resident_bytes() -> int:
    """Read this process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def memory_limit(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Read the memory limit of our cgroup (version 2, then 1); 0 where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((root / name).read_text())
        except (OSError, ValueError):
            continue
        return limit if limit < _UNLIMITED else 0
    return 0
