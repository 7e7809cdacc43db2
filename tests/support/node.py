"""A node with the registry, the controllers and the runtime, and no API server: what tests of those three run in.

Each scenario runs in a child process, since entering the node's namespaces is for good; its failure is the test's.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devcluster import controllers
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.runtime import linux
from devcluster.runtime.kubelet import Kubelet
from devcluster.runtime.logs import LogOptions
from devcluster.runtime.network import Network
from devcluster.runtime.streams import Streams
from tests.support.cluster import IMAGES

Object = dict[str, Any]


class FakeTokens:
    """Tokens that say what they are for."""

    def __init__(self) -> None:
        self.made = 0

    def request(self, namespace: str, service_account: str, token_request: Object) -> Object:
        self.made += 1
        audience = ",".join(token_request["spec"].get("audiences") or ["api"])
        token = f"{namespace}/{service_account}/{audience}/{self.made}"
        return token_request | {"status": {"token": token}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The running parts, and short ways to use them."""

    registry: Registry
    kubelet: Kubelet
    network: Network

    async def make(self, *objects: Object) -> Object:
        """Create objects in `default`; gives the last one."""
        made: Object = {}
        for obj in objects:
            row = self.registry.resources.of(obj)
            assert row is not None
            given = copy.deepcopy(obj)
            given["metadata"].setdefault("namespace", "default")
            made = await self.registry.create(row, given)
        return made

    def get(self, kind: str, name: str) -> Object:
        return self.registry.get(kind, "default", name)

    def pods(self, app: str = "") -> list[Object]:
        """The pods of an app that are not going away."""
        found = self.registry.list("pods", "default", labels=f"app={app}" if app else None)
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    async def change(self, kind: str, name: str, change: Callable[[Object], None]) -> Object:
        obj = copy.deepcopy(self.get(kind, name))
        obj["metadata"].pop("resourceVersion")
        change(obj)
        return await self.registry.update(kind, obj)

    async def until(self, check: Callable[[], Any], seconds: float = 15, what: str = "it") -> Any:
        """Wait until something holds; asked again at every change of a pod and every 20 ms."""
        end = time.monotonic() + seconds
        while True:
            try:
                if value := check():
                    return value
            except StatusError:
                pass
            told = json.dumps([[p["metadata"]["name"], p.get("status")] for p in self.registry.list("pods")])
            assert time.monotonic() < end, f"{what} did not come true in {seconds} s; pods: {told}"
            await asyncio.sleep(0.02)

    async def ready(self, name: str) -> Object:
        """Wait until a pod is ready."""
        await self.until(lambda: any_condition(self.get("pods", name), "Ready"), what=f"readiness of {name}")
        return self.get("pods", name)

    async def phase(self, name: str, phase: str) -> Object:
        """Wait until a pod is in a phase."""
        await self.until(lambda: self.get("pods", name)["status"].get("phase") == phase, what=f"{name} {phase}")
        return self.get("pods", name)

    async def gone(self, kind: str, name: str) -> None:
        def absent() -> bool:
            try:
                self.get(kind, name)
            except StatusError:
                return True
            return False

        await self.until(absent, what=f"removal of {name}")

    async def run(self, pod: str, *command: str, container: str = "", **streams: Any) -> tuple[int, str]:
        """Run a command in a pod; gives its exit code and all it wrote."""
        said = bytearray()

        async def keep(data: bytes) -> None:
            said.extend(data)

        given = Streams(stdout=keep, stderr=keep, **streams)
        code = await self.kubelet.exec("default", pod, container, command, given)
        return code, said.decode().strip()

    async def log(self, pod: str, container: str = "", **options: Any) -> str:
        chunks = await self.kubelet.logs("default", pod, LogOptions(container=container, **options))
        return b"".join([chunk async for chunk in chunks]).decode()

    async def logged(self, pod: str, text: str, container: str = "") -> None:
        """Wait until a container has written something."""
        chunks = await self.kubelet.logs("default", pod, LogOptions(container=container, follow=True))
        said = ""
        async for chunk in chunks:
            said += chunk.decode()
            if text in said:
                return
        raise AssertionError(f"{pod} ended without saying {text!r}, but {said!r}")

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.registry.list("events", "default") if e["reason"] == reason]


def any_condition(obj: Object, kind: str) -> bool:
    """Whether a condition is true."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


@asynccontextmanager
async def running_node(directory: Path, table: Object) -> AsyncIterator[Node]:
    """Start everything and end it."""
    images = directory / "images.json"
    images.write_text(json.dumps(table))
    registry, network = Registry(), Network()
    network.start()
    kubelet = Kubelet(registry, network, images, directory / "run", FakeTokens())
    async with asyncio.TaskGroup() as group:
        await kubelet.start(group)
        loops = group.create_task(_loops(registry))
        node = Node(registry=registry, kubelet=kubelet, network=network)
        await node.until(lambda: node.get("serviceaccounts", "default"))
        try:
            yield node
        finally:
            await kubelet.stop()
            loops.cancel()


async def _loops(registry: Registry) -> None:
    async with asyncio.TaskGroup() as group:
        controllers.run_all(registry, group, "ROOT")


def in_node(
    directory: Path, scenario: Callable[[Node], Awaitable[None]], images: Object = IMAGES, *, seconds: float = 60
) -> None:
    """Run a scenario on a node of its own, in a child process, for at most so long."""

    async def main() -> None:
        async with asyncio.timeout(seconds), running_node(directory, images) as node:
            await scenario(node)

    said, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            linux.enter_node()
            asyncio.run(main())
            code = 0
        except BaseException:  # noqa: BLE001 - the parent tells it
            os.write(tell, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(code)
    os.close(tell)
    with os.fdopen(said, "rb") as file:
        words = file.read().decode()
    _, status = os.waitpid(child, 0)
    if status:
        pytest.fail(words or f"the node ended with status {status}")
