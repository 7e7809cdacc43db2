"""Parts of the control plane that run for as long as a test looks at them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol


class Part(Protocol):
    """What has something to do until it is told to stop."""

    def run(self) -> Awaitable[None]: ...


@asynccontextmanager
async def running(part: Part) -> AsyncIterator[asyncio.Task[None]]:
    """Run a part, and cancel it in the end."""
    task = asyncio.ensure_future(part.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
