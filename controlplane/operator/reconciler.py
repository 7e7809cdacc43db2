"""What a trigger leads to: the object it names is looked at as the store knows it, and whatever is missing in the cluster is wanted of the Writer.

In: triggers from kopf's handlers, and the store. Out: calls on who decides, by kind. A trigger carries no state: it waits until the feed has come as far as kopf has, and then the store is
read. Everything is looked at anew now and then too, so that a trigger that was lost costs that time and no more.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

from controlplane.feed.objects import ObjectStore, Ref, ref_of

RESYNC_SECONDS = 60.0
BEHIND_SECONDS = 5.0
"""How long a trigger waits for the feed; then it is looked at what is known, and the next resync does the rest."""
SLICE = 500

log = logging.getLogger(__name__)

Look = Callable[[Ref], None]
"""Compares what is wanted of an object with what the store knows of it; one that is not there any more is wanted nothing of."""


class Reached(Protocol):
    """Waits until a kind is known up to a resourceVersion, for some seconds at most."""

    def __call__(self, kind: str, version: str, seconds: float, /) -> Awaitable[bool]:
        """Tell whether it is."""


class Reconciler:
    """Triggers by kind, and who looks."""

    def __init__(
        self, store: ObjectStore, reached: Reached, looks: Mapping[str, Look], resynced: Collection[str]
    ) -> None:
        self._store = store
        self._reached = reached
        self._looks = looks
        self._resynced = resynced
        """Kinds of which every object is looked at now and then."""
        self._due: dict[str, dict[Ref, str]] = {kind: {} for kind in looks}
        self._wake = {kind: asyncio.Event() for kind in looks}

    def trigger(self, ref: Ref, version: str) -> None:
        """An object was seen to change; called in the control plane's loop."""
        self._due[ref.kind][ref] = version
        self._wake[ref.kind].set()

    async def run(self) -> None:
        """Look at what is triggered, and at everything now and then, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._looks:
                group.create_task(self._follow(kind))
            group.create_task(self._resync())

    async def _follow(self, kind: str) -> None:
        while True:
            await self._wake[kind].wait()
            self._wake[kind].clear()
            due, self._due[kind] = self._due[kind], {}
            for version in sorted(set(due.values()), key=_number)[-1:]:
                await self._reached(kind, version, BEHIND_SECONDS)
            for number, ref in enumerate(due, 1):
                self._look(ref)
                if not number % SLICE:
                    await asyncio.sleep(0)

    async def _resync(self) -> None:
        while True:
            for kind in self._resynced:
                for number, obj in enumerate(list(self._store.of(kind)), 1):
                    self._look(ref_of(kind, obj))
                    if not number % SLICE:
                        await asyncio.sleep(0)
            await asyncio.sleep(RESYNC_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spread over the replicas

    def _look(self, ref: Ref) -> None:
        try:
            self._looks[ref.kind](ref)
        except Exception:
            # The supervisor of one object: the next trigger or resync tries again, and the others go on.
            log.exception("%s %s/%s could not be looked at", *ref)


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0
