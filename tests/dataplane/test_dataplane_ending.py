"""The order in which a sidecar's parts end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from dataplane import app


async def test_control_plane_is_asked_until_the_last_connection_has_ended() -> None:
    """An app that is ending itself still calls whom it has not called before; only the control plane knows who that is."""
    said: list[str] = []

    async def workers() -> None:
        said.append("workers")

    async def control() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            said.append("control plane let go")

    async def end() -> None:
        await asyncio.sleep(0)
        said.append("connections ended")

    stop = asyncio.Event()
    stop.set()
    sidecar = SimpleNamespace(end=end, settings=SimpleNamespace(drain_seconds=1.0))
    await app.until(cast("Any", sidecar), stop, [workers(), control()])

    assert said == ["workers", "connections ended", "control plane let go"]
