"""End gracefully: say so to who is connected, let what is under way finish, and go at the deadline at the latest.

In: the connections' own counts and a clock. Out: a coroutine that returns when the sidecar may go. Three ways in: the kubelet's
preStop hook on the app (`quiesce`: its callers move on while the app still answers; taken back when the app was only restarted),
`POST /drain` (`start`: the same for good; the kubelet's hook on the sidecar itself, when the pod goes), and SIGTERM (`end`). All tell the callers; what the pod's own app opens is served
through the first two, and through the third until the app has ended or the deadline is near.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from meshapi.records import record

_LOOK = 0.05
"""Seconds between looks at the counts; connections end by themselves, and no single event says that all have."""

_LAST = 1.0
"""Seconds before the deadline that are kept for those who hear of the end only then."""
_LAST_SHARE = 0.2


@record(frozen=False, kw_only=False)
class Drain:
    """The state of ending."""

    begin: Callable[[], None]
    """Tells callers to end their connections when they can."""
    wanted: Callable[[], bool]
    """Whether they have not moved on."""
    open: Callable[[], int]
    """Connections open, the own app's as well."""
    back: Callable[[], None]
    """Takes `begin` back."""
    seconds: float
    """How long the end may take at most."""
    shut: Callable[[], None] = lambda: None
    """Takes the connections that wait, and no more; tells also who was not told before."""
    draining: bool = False

    def start(self) -> None:
        """Tell the callers, once."""
        if not self.draining:
            self.draining = True
            self.begin()

    def resume(self) -> None:
        """Take the end back: the app was only restarted."""
        if self.draining:
            self.draining = False
            self.back()

    async def quiesce(self, settle: float, most: float, others: Callable[[], Awaitable[Iterable[bool]]]) -> None:
        """Tell the callers, give them `settle` seconds at least and `most` at most to learn that this pod goes away, and wait until they have moved on.

        That is so when none is served and none comes who has not heard, neither here nor in the other workers, which `others` asks. Callers whose own control plane is away hear late: until
        then this pod may be the only one they know.
        """
        self.start()
        clock = asyncio.get_running_loop().time
        deadline = clock() + most
        await asyncio.sleep(settle)
        while await self._until(lambda: not self.wanted(), deadline - clock()):
            if not any(await others()):
                return
            await asyncio.sleep(_LOOK)

    async def end(self) -> bool:
        """Tell the callers and wait until nothing is connected; False when the deadline came first.

        Connections are accepted until nobody is left, or the deadline is near: who has not heard yet that this pod goes
        away is served, once, and an app that is ending itself still calls others.
        """
        self.start()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.seconds
        await self._until(lambda: self.open() == 0, self.seconds - min(_LAST, self.seconds * _LAST_SHARE))
        self.shut()
        return await self._until(lambda: self.open() == 0, deadline - clock())

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not done():
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_LOOK)
        return True
