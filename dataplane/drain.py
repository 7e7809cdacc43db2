"""End gracefully: say so to who is connected, let what is under way finish, and go at the deadline at the latest.

In: the connections' own counts and a clock. Out: a coroutine that returns when the sidecar may go. Two ways in: the kubelet's
preStop hook on the app (`quiesce`: the app's clients move on while the app still answers), and SIGTERM (`end`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

_LOOK = 0.05
"""Seconds between looks at the counts; connections end by themselves, and no single event says that all have."""


@dataclass(slots=True)
class Drain:
    """The state of ending."""

    begin: Callable[[], None]
    """Tells all connections to end when they can."""
    busy: Callable[[], int]
    """Requests under way."""
    open: Callable[[], int]
    """Connections open."""
    back: Callable[[], None]
    """Takes `begin` back."""
    seconds: float
    """How long the end may take at most."""
    shut: Callable[[], None] = lambda: None
    """Takes the connections that wait, and no more."""
    draining: bool = False

    def start(self) -> None:
        """Tell everybody, once."""
        if not self.draining:
            self.draining = True
            self.begin()

    def resume(self) -> None:
        """Take the end back: the app was only restarted."""
        if self.draining:
            self.draining = False
            self.back()

    async def quiesce(self, settle: float, most: float) -> None:
        """Tell everybody, give callers `settle` seconds to learn that this pod goes away, and wait for quiet."""
        self.start()
        await asyncio.sleep(settle)
        await self._until(lambda: self.busy() == 0, most - settle)

    async def end(self) -> bool:
        """Tell everybody and wait until nothing is connected; False when the deadline came first.

        Connections are accepted until nobody is left: who has not heard yet that this pod goes away is served, once.
        """
        self.start()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.seconds
        quiet = await self._until(lambda: self.open() == 0, self.seconds)
        self.shut()
        return quiet and await self._until(lambda: self.open() == 0, deadline - clock())

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not done():
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_LOOK)
        return True
