"""A loop whose time passes when nothing else is to be done: hours of timers in milliseconds, and always the same order."""

from __future__ import annotations

import asyncio
from typing import Any, cast


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
