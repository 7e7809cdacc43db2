"""Wait for what no event tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(check: Callable[[], Any], seconds: float = 5) -> Any:
    """Look again every few milliseconds until it holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        value = check()
        if value:
            return value
        assert loop.time() < end, f"it did not come true within {seconds} s"
        await asyncio.sleep(0.005)
