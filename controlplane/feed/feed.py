"""All kinds at once into one store: the one source of what the control plane knows of the cluster.

In: a Cluster and a store. Out: the store filled and kept, `missing` until it is whole, and how each kind goes. One kind that cannot be read leaves the others
working: what was read of it before stays, and a start waits for it only if serving without it would do harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from controlplane.feed.discovery import ServedVersion
from controlplane.feed.health import Health
from controlplane.feed.kinds import DEFINITION, FEED, REGISTRATIONS, Kind
from controlplane.feed.objects import ObjectStore
from controlplane.feed.reflector import Reflector
from controlplane.kube.client import Cluster


class FixedKind:
    """A kind that every cluster serves, in one version."""

    def __init__(self, cluster: Cluster, kind: Kind, store: ObjectStore, within: tuple[str, str] = ("", "")) -> None:
        self.kind = kind
        self._reflector = Reflector(cluster, kind, store, within=within)
        self.health = self._reflector.health
        self.served = kind.versions[0]

    @property
    def trouble(self) -> str:
        """Why it cannot be read now; empty when it can."""
        return self.health.error

    @property
    def age(self) -> float:
        """For how many seconds nothing has been heard."""
        return self.health.age

    @property
    def lasting(self) -> bool:
        """Whether it has not been readable for so long that it is no passing trouble."""
        return self.health.lasting

    async def settled(self) -> None:
        """Wait until it is known, or known not to be readable for now."""
        await self.health.settled.wait()

    async def run(self) -> None:
        """Follow it until cancelled."""
        await self._reflector.run()


class CustomKind:
    """A kind that is served as its CustomResourceDefinition says, and anew when that changes; one that is not there is empty, and known to be."""

    def __init__(self, cluster: Cluster, kind: Kind, store: ObjectStore) -> None:
        self.kind = kind
        self._cluster = cluster
        self._store = store
        self._version = ServedVersion(kind)
        self._definition = Reflector(cluster, DEFINITION, self._version, within=("", kind.definition))
        self.health = Health()

    @property
    def served(self) -> str:
        """The version that is followed; empty when there is none."""
        return self._version.chosen or ""

    @property
    def trouble(self) -> str:
        """Why it cannot be read now; empty when it can."""
        return self._definition.health.error or self._version.unreadable or self.health.error

    @property
    def age(self) -> float:
        """For how many seconds nothing has been heard, of the kind or of whether it is there."""
        ages = (self._definition.health.age, self.health.age) if self.served else (self._definition.health.age,)
        return max(ages)

    @property
    def lasting(self) -> bool:
        """Whether it has not been readable for so long that it is no passing trouble."""
        return self._definition.health.lasting or self.health.lasting or bool(self._version.unreadable)

    async def settled(self) -> None:
        """Wait until it is known, or known not to be readable for now."""
        await self._definition.health.settled.wait()
        if self._definition.health.synced.is_set():
            await self.health.settled.wait()

    async def run(self) -> None:
        """Follow it until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._definition.run())
            following: asyncio.Task[None] | None = None
            while True:
                await self._version.changed.wait()
                self._version.changed.clear()
                if following is not None:
                    following.cancel()
                    await asyncio.wait((following,))
                following = group.create_task(self._follow(self.served))

    async def _follow(self, version: str) -> None:
        if version:
            kind = replace(self.kind, versions=(version,))
            await Reflector(self._cluster, kind, self._store, health=self.health).run()
        if self._version.unreadable:
            # It is there, so what was read of it in another version is truer than nothing.
            self.health.settled.set()
            return
        self._store.retain(self.kind.name, ())
        self.health.listed("")


class Feed:
    """Every kind."""

    def __init__(self, cluster: Cluster, store: ObjectStore, installation: str) -> None:
        self.kinds: dict[str, FixedKind | CustomKind] = {
            kind.name: _of(cluster, kind, store, installation) for kind in FEED
        }

    async def run(self) -> None:
        """Follow all until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self.kinds.values():
                group.create_task(one.run(), name=f"feed of {one.kind.name}")

    async def learned(self) -> None:
        """Wait until there is enough to serve by."""
        for one in self.kinds.values():
            await (one.health.synced.wait() if one.kind.vital else one.settled())

    def missing(self) -> list[str]:
        """Which kinds are waited for, in words."""
        return [
            f"{name} has not been listed" + (f": {one.trouble}" if one.trouble else "")
            for name, one in self.kinds.items()
            if not one.health.synced.is_set() and (one.kind.vital or not one.lasting)
        ]

    def troubles(self) -> Iterator[tuple[str, str]]:
        """Kinds that cannot be read now and have not been for a while, and why."""
        for name, one in self.kinds.items():
            if one.trouble and one.lasting:
                yield name, one.trouble

    def api(self, kind: str) -> str:
        """Group and version a kind is served in; raises KeyError for one that is not followed. Without a version when it is served in none."""
        one = self.kinds[kind]
        return one.kind.api(one.served)

    async def reached(self, kind: str, version: str, seconds: float) -> bool:
        """Wait until a kind is known up to a resourceVersion, for some seconds at most; tells whether it is."""
        return await self.kinds[kind].health.reached(version, seconds)


def _of(cluster: Cluster, kind: Kind, store: ObjectStore, installation: str) -> FixedKind | CustomKind:
    if kind.custom:
        return CustomKind(cluster, kind, store)
    return FixedKind(cluster, kind, store, ("", installation if kind in REGISTRATIONS else ""))
