"""When a burst of changes is worth acting on.

In: the time of each change and whether it is urgent (an endpoint came or went). Out: the time to act: a short quiet after the last
change, and never later than a bound after the first. No clock of its own.
"""

from __future__ import annotations

QUIET_SECONDS = 0.05
URGENT_SECONDS = 0.01
LONGEST_SECONDS = 0.5


class Debounce:
    """The due time of the next act, or None while nothing is waiting."""

    def __init__(
        self, quiet: float = QUIET_SECONDS, urgent: float = URGENT_SECONDS, longest: float = LONGEST_SECONDS
    ) -> None:
        self._quiet = quiet
        self._urgent = urgent
        self._longest = longest
        self._first: float | None = None
        self._hurried = False
        """Whether an urgent change waits: then no later change puts off what is due."""
        self.due: float | None = None

    def note(self, now: float, *, urgent: bool = False) -> None:
        """A change happened."""
        if self._first is None:
            self._first = now
        soon = now + (self._urgent if urgent else self._quiet)
        self._hurried = self._hurried or urgent
        if self._hurried and self.due is not None:
            soon = min(soon, self.due)
        self.due = min(soon, self._first + self._longest)

    def taken(self) -> None:
        """The changes noted so far are being acted on."""
        self._first = self.due = None
        self._hurried = False
