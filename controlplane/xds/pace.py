"""Heavy work beside which the loop sees to others: what many streams want at once goes one after the other, what takes long goes a slice at a time.

In: tasks that wait for their turn; steps. Out: turns, in the order they were asked for: so a change that concerns all sidecars holds up a review or a renewal for a few
pushes and not for all. Refuses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from controlplane.model.steps import Steps

SLICE_SECONDS = 0.005
"""So long work holds the loop at once."""
TURNS = 20
"""Pushes and answers an iteration of the loop, most of which take 0.05 ms and few 1."""

T = TypeVar("T")


class Pace:
    """Turns for work that does not wait: a few an iteration of the loop, in the order they were asked for."""

    def __init__(self) -> None:
        self._left = TURNS
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False

    async def turn(self) -> None:
        """Wait for a turn; what is done then is over before anything is awaited."""
        if self._left and not self._waiting:
            self._used()
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        await mine

    def ask(self, turn: asyncio.Future[None]) -> None:
        """Have a future done when it is its turn: who waits for something else first is woken once and not twice."""
        self._waiting.append(turn)
        self._give()

    def _give(self) -> None:
        while self._waiting and self._left:
            first = self._waiting.popleft()
            if not first.done():  # its task may have been cancelled
                first.set_result(None)
                self._used()

    def _used(self) -> None:
        self._left -= 1
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Another iteration has begun."""
        self._left, self._counting = TURNS, False
        self._give()


async def in_slices(steps: Steps[T], between: Callable[[], None] | None = None) -> tuple[T, float]:
    """Do steps with the loop, and `between`, in between; what they return, and the CPU seconds they took."""
    work = 0.0
    while True:
        began, busy = time.perf_counter(), time.thread_time()
        try:
            next(steps)
            while time.perf_counter() <= began + SLICE_SECONDS:
                next(steps)
        except StopIteration as end:
            return end.value, work + time.thread_time() - busy
        work += time.thread_time() - busy
        if between is not None:
            between()
        await asyncio.sleep(0)
