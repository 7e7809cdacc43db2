"""When a burst of changes is worth acting on.

In: the time of each change and whether it is urgent (an endpoint came or went), and what acting cost. Out: the time to act: at once for an urgent change, else a short quiet after the last
change, never later than a bound after the first; and after an act a rest in proportion to its cost, so that acting takes its share of the time and no more, and what comes in a burst is acted on
together. No clock of its own.
"""

from __future__ import annotations

QUIET_SECONDS = 0.05
LEAST_SECONDS = 0.01
"""Rest after the cheapest act: for so long a burst of urgent changes gathers."""
LONGEST_SECONDS = 0.5
REST = 4.0
"""Rest after an act, in its cost: a fifth of the time is spent acting at most, until the rest would be longer than `LONGEST_SECONDS`."""


class Debounce:
    """The due time of the next act, or None while nothing is waiting."""

    def __init__(
        self, quiet: float = QUIET_SECONDS, least: float = LEAST_SECONDS, longest: float = LONGEST_SECONDS
    ) -> None:
        self._quiet = quiet
        self._least = least
        self._longest = longest
        self._first: float | None = None
        self._hurried = False
        """Whether an urgent change waits: then no later change puts off what is due."""
        self._rested = 0.0
        self.due: float | None = None

    def note(self, now: float, *, urgent: bool = False) -> None:
        """A change happened."""
        if self._first is None:
            self._first = now
        soon = now if urgent else now + self._quiet
        self._hurried = self._hurried or urgent
        if self._hurried and self.due is not None:
            soon = min(soon, self.due)
        self.due = max(min(soon, self._first + self._longest), self._rested)

    def taken(self) -> float | None:
        """The changes noted so far are being acted on; tells when the first of them happened."""
        first = self._first
        self._first = self.due = None
        self._hurried = False
        return first

    def spent(self, now: float, cost: float) -> None:
        """An act is over, and took so many seconds of work."""
        self._rested = now + min(max(cost * REST, self._least), self._longest)
        if self.due is not None:
            self.due = max(self.due, self._rested)
