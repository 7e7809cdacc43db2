"""What every pod of the node needs of it: one noun, made by `kubelet`, handed to pods and containers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from devcluster.api.registry import Registry
from devcluster.controllers.events import Recorder
from devcluster.runtime.images import Images
from devcluster.runtime.network import Network
from devcluster.runtime.spawner import Spawner
from devcluster.runtime.volumes import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Facilities:
    """The node as its pods see it."""

    registry: Registry
    network: Network
    spawner: Spawner
    events: Recorder
    tokens: Tokens
    images: Images
    root: Path
    one_user: bool
    """Whether only one user exists here, so that every container runs as that one."""


class Changes:
    """A bell: whoever waits is woken by the next ring."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float, *, unless: asyncio.Event | None = None) -> None:
        """Wait for the next ring, at most so long, and not beyond another event."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._event, unless) if event is not None]
        try:
            await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event at most so long; tell whether it came."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
