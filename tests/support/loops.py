"""The controllers with a registry and a kubelet that only says so: what tests of the loops run in."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from devcluster import controllers
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.watch import WatchEvent

Object = dict[str, Any]


class Cluster:
    """A registry, and pods that are what the test says."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.running = True
        """Whether bound pods become ready by themselves."""
        self.most = 0
        self.fewest_ready = 10**6
        self._addresses = 0
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self.registry.subscribe("pods", self._seen)

    def _seen(self, event: WatchEvent) -> None:
        self._queue.put_nowait(event.object["metadata"]["name"])

    async def pretend(self) -> None:
        """Play the kubelet."""
        while True:
            name = await self._queue.get()
            pods = [p for p in self.pods() if "deletionTimestamp" not in p["metadata"]]
            self.most = max(self.most, len(pods))
            self.fewest_ready = min(self.fewest_ready, sum(ready(p) for p in pods))
            pod = next((p for p in self.pods() if p["metadata"]["name"] == name), None)
            if pod is None or not pod["spec"].get("nodeName"):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                await self.registry.delete("pods", "default", name, options={"gracePeriodSeconds": 0})
            elif self.running and pod["status"]["phase"] == "Pending":
                await self.tell(name, "Running", is_ready=True)

    async def tell(self, name: str, phase: str, *, is_ready: bool = False) -> None:
        """Give a pod a phase."""
        self._addresses += 1
        pod = copy.deepcopy(self.get("pods", name))
        stamp = "2026-01-01T00:00:00Z"
        condition = {"type": "Ready", "status": str(is_ready), "lastTransitionTime": stamp}
        pod["status"] |= {"phase": phase, "conditions": [condition]}
        pod["status"].setdefault("podIP", f"10.244.0.{self._addresses}")
        pod["metadata"].pop("resourceVersion")
        await self.registry.update("pods", pod, subresource="status")

    def pods(self) -> list[Object]:
        return self.registry.list("pods", "default")

    def get(self, kind: str, name: str) -> Object:
        return self.registry.get(kind, "default", name)

    async def make(self, *objects: Object) -> None:
        for obj in objects:
            row = self.registry.resources.of(obj)
            assert row is not None
            given = copy.deepcopy(obj)
            given["metadata"].setdefault("namespace", "default")
            await self.registry.create(row, given)

    async def change(self, kind: str, name: str, change: Callable[[Object], Any]) -> None:
        obj = copy.deepcopy(self.get(kind, name))
        obj["metadata"].pop("resourceVersion")
        change(obj)
        await self.registry.update(kind, obj)

    async def until(self, check: Callable[[], Any], what: str = "it") -> Any:
        """Let the loops work until something holds."""
        for _ in range(400):
            try:
                if value := check():
                    return value
            except (StatusError, KeyError):
                pass
            await asyncio.sleep(0.005)
        raise AssertionError(
            f"{what} did not come true; pods: {[(p['metadata']['name'], p['status']) for p in self.pods()]}"
        )

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.registry.list("events", "default") if e["reason"] == reason]


def ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or [])


@asynccontextmanager
async def running_loops() -> AsyncIterator[Cluster]:
    """Start every loop and end it."""
    cluster = Cluster()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_all(cluster))
        await cluster.until(lambda: cluster.get("serviceaccounts", "default"))
        try:
            yield cluster
        finally:
            task.cancel()


async def _all(cluster: Cluster) -> None:
    async with asyncio.TaskGroup() as group:
        controllers.run_all(cluster.registry, group, "ROOT")
        group.create_task(cluster.pretend())
