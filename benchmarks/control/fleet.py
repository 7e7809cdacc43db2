"""The sidecars' process, as the measuring asks it; and which names each sidecar wants.

In: a size and how many streams. Out: for each its pod and the names it subscribes to: its own inbound listener, one Service that all use, and so many others that each of
them is used by `SHARERS` sidecars.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.control import synthetic
from benchmarks.control.synthetic import Size, namespace_of, pod_name
from meshapi import xds
from meshapi.xds import Type

SHARERS = 50
"""Sidecars that use each of the Services but the first."""
USED = 5
"""Services each sidecar uses, beside the first, which all use."""
HOST = "tulle.tulle-system.svc"


def places(size: Size, streams: int) -> Iterator[dict[str, Any]]:
    """Name the sidecars and what they want."""
    shared = shared_services(streams)
    pods = [(service, pod) for service in range(size.services) for pod in range(size.each) if synthetic.meshed(pod)]
    for number, (service, pod) in enumerate(pods[:streams]):
        used = [0, *(shared[(number * USED + n) % len(shared)] for n in range(USED))]
        clusters = [xds.service_cluster(namespace_of(one), f"s{one}", 80) for one in used]
        namespace, name = namespace_of(service), pod_name(service, pod)
        yield {
            "namespace": namespace,
            "pod": name,
            "account": f"s{service}",
            "names": {
                Type.SECRET.url: ["trust"],
                Type.LISTENER.url: [
                    xds.inbound_listener(namespace, name),
                    *(xds.outbound_listener(synthetic.service_address(one), 80) for one in used),
                ],
                Type.CLUSTER.url: [*clusters, xds.inbound_cluster(8080), xds.inbound_cluster(0)],
                Type.ENDPOINTS.url: clusters,
                Type.ROUTES.url: clusters,
            },
        }


def shared_services(streams: int) -> list[int]:
    """Services that `SHARERS` of so many sidecars use."""
    return list(range(1, 1 + streams * USED // SHARERS))


def cluster_of(service: int) -> str:
    """How the endpoints of a Service are named."""
    return xds.service_cluster(namespace_of(service), f"s{service}", 80)


class Fleet:
    """The process of the streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def connect(self, port: int, roots: str, wanted: list[dict[str, Any]]) -> None:
        """Open streams and wait until all are complete."""
        await self._do("connect", address=f"127.0.0.1:{port}", host=HOST, roots=roots, places=wanted)

    async def settled(self) -> None:
        """Wait until every stream is complete."""
        await self._do("settled")

    async def renew(self, first: int, last: int) -> None:
        """End these streams, which open again after a moment."""
        await self._do("renew", first=first, last=last)

    async def collect(self) -> dict[str, list[float]]:
        """By name, when (time.monotonic) it came to a stream, since the last time."""
        found: dict[str, list[float]] = await self._do("collect")
        return found

    async def _do(self, verb: str, **given: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({verb: given}).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            raise ChildProcessError("the process of the streams ended")
        return json.loads(line)


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """Run the process of the streams."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.control.streams",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=1 << 28,
    )
    try:
        yield Fleet(process)
    finally:
        process.kill()
        await process.wait()
