"""Work cut into steps, so that whoever does it may see to something else in between.

In: a generator that yields where it may be interrupted. Out: what it returns. Nobody sees anything of it before that: what is worked on is new and nobody else's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Yields now and then, returns the result."""

SLICE = 32
"""Objects or keys between two yields; the dearest of them take some 50 us."""


def finished(steps: Steps[T]) -> T:
    """Do all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
