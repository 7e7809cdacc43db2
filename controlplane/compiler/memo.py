"""One pass's results, each with what it was made of, so the next pass makes only what changed.

In: a key, the inputs its value depends on, and how to make it. Out: the value made before when the inputs are equal (and, when
remaking gave an equal value, the old one too, so that everything downstream sees that nothing changed). A fault in making one value is its
own: the last one stays, `faults` has the reason, and the next pass tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


_DIRTY = (object(),)
"""Inputs that are never those of the next pass."""


class Memo(Generic[K, V]):
    """Values by key. Keys not asked for in a pass are forgotten by it."""

    __slots__ = ("_old", "entries", "faults")

    def __init__(self, previous: Memo[K, V] | None = None) -> None:
        self._old: dict[K, tuple[tuple[Any, ...], V]] = previous.entries if previous else {}
        self.entries: dict[K, tuple[tuple[Any, ...], V]] = {}
        self.faults: dict[K, Exception] = {}

    def get(self, key: K, inputs: tuple[Any, ...], make: Callable[[], V]) -> V | None:
        """Return the value of a key; None where making its first one failed."""
        seen = self._old.get(key)
        # Comparing tuples compares identity first, so unchanged nouns cost a pointer comparison each.
        if seen is not None and seen[0] == inputs:
            self.entries[key] = seen
            return seen[1]
        try:
            value = make()
        except Exception as error:  # noqa: BLE001 - the supervisor of one key
            self.faults[key] = error
            if seen is None:
                return None
            self.entries[key] = (_DIRTY, seen[1])
            return seen[1]
        if seen is not None and seen[1] == value:
            value = seen[1]
        self.entries[key] = (inputs, value)
        return value

    def carry(self) -> None:
        """Keep everything the pass before this one knew; only what is asked for or forgotten changes."""
        self.entries = dict(self._old)

    def forget(self, key: K) -> None:
        """Drop a key that is no more, after `carry`."""
        self.entries.pop(key, None)

    def close(self) -> None:
        """End the pass: let go of what the pass before it remembered."""
        self._old = {}
