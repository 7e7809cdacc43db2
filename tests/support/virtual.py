"""A loop whose time passes when nothing else is to be done: hours of timers in milliseconds, and always the same order.

Every test that makes an event loop of its own owns it by what is here, and is named when it leaves one open (`left_open`).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

_MADE: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time jumps to the next timer that is still wanted."""

    def __init__(self, begin: float = 1000.0) -> None:
        super().__init__()
        self.now = begin

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        own = cast("Any", self)
        due = [handle._when for handle in own._scheduled if not handle._cancelled]
        if not own._ready and due:
            self.now = max(self.now, min(due))
        super()._run_once()  # type: ignore[misc]


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """A loop of virtual time, closed at the end whatever happens."""
    with closing(VirtualLoop()) as loop:
        _MADE.add(loop)
        yield loop


@contextmanager
def real_time() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of asyncio's own, closed at the end whatever happens."""
    with closing(asyncio.new_event_loop()) as loop:
        _MADE.add(loop)
        yield loop


def left_open() -> set[asyncio.AbstractEventLoop]:
    """Loops that were made here and are not closed."""
    return {loop for loop in _MADE if not loop.is_closed()}
