"""Turns by weight: whoever is due first is taken, and is due again after a time that its weight shortens (earliest deadline first).

In: those that take turns, each with the time it is due at. Out: the first of them, and the order after it was put off, in as many steps as the logarithm of how many there
are. Time is no clock: it goes on with the turns. Within one unit of it everybody is taken as often as it was put off for one of so many parts. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable


class Turn:
    """Somebody who takes turns."""

    __slots__ = ("due",)

    def __init__(self) -> None:
        self.due = -1.0
        """Before any time, for who never had one."""


def _due(one: Turn) -> float:
    return one.due


class Turns:
    """Those who take turns now: a heap, the first on top (Williams 1964)."""

    __slots__ = ("_queue",)

    def __init__(self, among: Iterable[Turn]) -> None:
        """Line up one and more; of those due at the same time the first comes first."""
        self._queue = sorted(among, key=_due)

    def first(self) -> Turn:
        """Whose turn it is."""
        return self._queue[0]

    def put_off(self, until: float) -> None:
        """Have the first be due then, which is no sooner than now."""
        queue = self._queue
        count = len(queue)
        moved = queue[0]
        moved.due = until
        at = 0
        below = 1
        while below < count:
            sooner = queue[below]
            if below + 1 < count:
                other = queue[below + 1]
                if other.due < sooner.due:
                    sooner = other
                    below += 1
            if until <= sooner.due:
                break
            queue[at] = sooner
            at = below
            below = 2 * at + 1
        queue[at] = moved
