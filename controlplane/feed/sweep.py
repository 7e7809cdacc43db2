"""List the kinds kopf feeds: once before anything is served, then now and then.

In: a Cluster, the store. Out: `replace` on the store, kind by kind. A watch alone does not tell what vanished while nobody watched; and a replica that served before it had read
the policies would for a moment serve without them. Kinds that are not installed have no objects; any other failure is raised on the first sweep's
last try and logged later.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import msgspec

from controlplane.feed.objects import ObjectStore
from controlplane.kube.client import ApiError, Cluster, path_of
from controlplane.operator.handlers import FED, Watched, slim

EVERY_SECONDS = 240.0
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Sweep:
    """Lists of the kinds kopf feeds."""

    def __init__(self, cluster: Cluster, store: ObjectStore) -> None:
        self._cluster = cluster
        self._store = store
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Sweep until cancelled; `synced` is set after the first whole sweep."""
        while True:
            try:
                for watched in FED:
                    await self.one(watched)
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
                log.warning("listing routes and policies: %s: %s; trying again", type(error).__name__, error)
                await asyncio.sleep(EVERY_SECONDS if self.synced.is_set() else RETRY_SECONDS)
                continue
            self.synced.set()
            await asyncio.sleep(EVERY_SECONDS)

    async def one(self, watched: Watched) -> None:
        """List one kind into the store."""
        version = await self._version(watched)
        mark = self._store.revision
        objects: list[dict[str, Any]] = []
        # Items of a list carry neither.
        kind = {"apiVersion": f"{watched.group}/{version}", "kind": watched.kind}
        if version:
            async for page in self._cluster.pages(path_of(f"{watched.group}/{version}", watched.plural)):
                objects.extend(slim(obj | kind) for obj in msgspec.json.decode(page)["items"])
        self._store.replace(watched.kind, objects, since=mark)

    async def _version(self, watched: Watched) -> str:
        """The version of a kind the API server prefers, as kopf takes it; empty when the kind is not installed."""
        try:
            group = await self._cluster.get(f"/apis/{watched.group}")
        except ApiError as error:
            if error.code == 404:
                return ""
            raise
        preferred = (group.get("preferredVersion") or {}).get("version", "")
        listed = [str(v.get("version", "")) for v in group.get("versions") or ()]
        for version in sorted(listed, key=lambda v: v != preferred):
            resources = await self._cluster.get(f"/apis/{watched.group}/{version}")
            if any(one.get("name") == watched.plural for one in resources.get("resources") or ()):
                return version
        return ""
