"""None or one pending push a stream: what changes while a stream is still busy merges into the next push.

In: sets of changed (type, name) pairs, and turns (`Pace`). Out: `take`, which waits for something, and its turn, and hands over all of it. So a slow client costs one set,
not a queue, and gets the newest state when it is ready for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from controlplane.xds.pace import Pace
from meshapi.xds import Type

Key = tuple[Type, str]


class PushQueue:
    """The one pending push of a stream."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._pending: set[Key] = set()
        self.seen = 0.0
        """When the oldest of what is pending, or was taken last, was seen."""
        self._ended = False
        self._idle: asyncio.Future[None] | None = None
        """Whoever waits in `take` and has asked for no turn yet."""

    @property
    def waiting_since(self) -> float:
        """When the oldest change that is pending was seen; 0 where there is none."""
        return self.seen if self._pending else 0.0

    def add(self, keys: Iterable[Key], seen: float = 0.0) -> None:
        """Merge changed resources into the pending push; `seen` is when the change behind them was, by the loop's clock."""
        if not self._pending or not self.seen:
            self.seen = seen
        self._pending.update(keys)
        self._wake()

    def end(self) -> None:
        """There will be no more pushes."""
        self._ended = True
        self._wake()

    async def take(self) -> set[Key] | None:
        """Wait for a push and for a turn to make it, and take it whole; None after the end."""
        turn = self._idle = asyncio.get_running_loop().create_future()
        self._wake()
        await turn
        if self._ended:
            return None
        taken, self._pending = self._pending, set()
        return taken

    def _wake(self) -> None:
        if self._idle is not None and (self._pending or self._ended):
            turn, self._idle = self._idle, None
            self._pace.ask(turn)
