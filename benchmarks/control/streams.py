"""All sidecars of the mesh in one process, as lean as Python allows: one TLS connection and one delta stream each, every response acknowledged.

In, by standard input, a line of JSON a command: `{"connect": {...}}` opens streams (`fleet.places` says which), `{"collect": {}}` asks what came since, `{"settled": {}}`
waits until every stream is complete, `{"renew": {...}}` ends some. Out, by standard output, a line of JSON an answer. A stream that ends is opened again after a moment, as a sidecar's is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from typing import Any

import uvloop

# Read when gRPC is imported: without the threads of its event engine a connection costs this process a quarter less, and it is not what is measured.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

import grpc.aio

from meshapi import protos, xds
from meshapi.xds import Type

_DISCOVERY = "envoy.service.discovery.v3."
AGAIN_SECONDS = 1.0
"""Longest wait before a stream is opened again; a sidecar's first is about as long."""
AT_ONCE = 64
"""Connections that are opened at the same time at the start: the measured restart has no such bound."""

Request: Any = protos.message(_DISCOVERY + "DeltaDiscoveryRequest")
Response: Any = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")


class Sidecar:
    """One stream after the other of one pod."""

    def __init__(self, fleet: Fleet, place: dict[str, Any], channel: grpc.aio.Channel) -> None:
        self._fleet = fleet
        self._place = place
        self._channel = channel
        self._versions: dict[str, dict[str, str]] = {}
        self._call: Any = None
        self.complete = asyncio.Event()

    async def run(self) -> None:
        """Hold a stream for ever."""
        while True:
            # What is written to a stream that was refused meanwhile is an invalid state to gRPC.
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._stream()
            self.complete.clear()
            await asyncio.sleep(random.uniform(0.1, AGAIN_SECONDS))

    async def end(self) -> None:
        """End the stream there is."""
        with contextlib.suppress(Exception):  # it has ended, then; one of gRPC's words for that has no public name
            await self._call.done_writing()

    async def _stream(self) -> None:
        place = self._place
        token = f"{place['namespace']}.{place['pod']}.{place['account']}"
        call = self._call = self._channel.stream_stream(xds.ADS_DELTA)(metadata=(("authorization", f"Bearer {token}"),))
        lacking = set(place["names"])
        for number, (type_, names) in enumerate(place["names"].items()):
            request = Request(type_url=type_, resource_names_subscribe=names)
            request.initial_resource_versions.update(self._versions.get(type_, {}))
            if number == 0:
                request.node.id, request.node.user_agent_name = (
                    f"{place['pod']}.{place['namespace']}",
                    xds.SIDECAR_AGENT,
                )
                request.node.metadata.update({xds.NODE_CONTRACT: str(xds.CONTRACT)})
            await call.write(request.SerializeToString())
        if self._versions:
            # What is held already is not sent again: the last of the answers is the one to a name asked for anew.
            await call.write(Request(type_url=Type.SECRET.url, resource_names_subscribe=["trust"]).SerializeToString())
            lacking = {Type.SECRET.url}
        while isinstance(raw := await call.read(), bytes):
            response = Response.FromString(raw)
            url = response.type_url
            await call.write(Request(type_url=url, response_nonce=response.nonce).SerializeToString())
            now = time.monotonic()
            versions = self._versions.setdefault(url, {})
            for resource in response.resources:
                versions[resource.name] = resource.version
                self._fleet.came(resource.name, now)
            lacking.discard(url)
            if not lacking:
                self.complete.set()


class Fleet:
    """All of them."""

    def __init__(self) -> None:
        self._sidecars: list[Sidecar] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._came: dict[str, list[float]] = {}

    def came(self, name: str, now: float) -> None:
        """A resource came."""
        self._came.setdefault(name, []).append(now)

    async def connect(self, address: str, host: str, roots: str, places: list[dict[str, Any]]) -> None:
        """Open streams to a control plane and wait until each has what it asked for."""
        credentials = grpc.ssl_channel_credentials(roots.encode())
        options = (
            ("grpc.ssl_target_name_override", host),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 10_000),  # the least time a connection may take to be made
            ("grpc.max_reconnect_backoff_ms", 1000),
            # By itself gRPC pings with each message it gets, to measure the window, and is answered; a sidecar asks now and then whether anybody is there.
            ("grpc.http2.bdp_probe", 0),
        )
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(place: dict[str, Any]) -> None:
            async with gate:
                sidecar = Sidecar(self, place, grpc.aio.secure_channel(address, credentials, options=options))
                self._sidecars.append(sidecar)
                self._tasks.add(asyncio.ensure_future(sidecar.run()))
                await sidecar.complete.wait()

        await asyncio.gather(*(one(place) for place in places))

    async def settled(self) -> None:
        """Wait until every stream is complete."""
        for sidecar in self._sidecars:
            await sidecar.complete.wait()

    async def renew(self, first: int, last: int) -> None:
        """End some of the streams, as a control plane ends each once an hour; they open again after a moment."""
        for sidecar in self._sidecars[first:last]:
            await sidecar.end()

    def collect(self) -> dict[str, list[float]]:
        """When each resource came to a stream, since the last time; monotonic seconds."""
        taken, self._came = self._came, {}
        return taken


async def main() -> None:
    """Do what standard input says."""
    fleet = Fleet()
    reader = asyncio.StreamReader(limit=1 << 28)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        ((verb, given),) = json.loads(line).items()
        answer: Any = {}
        if verb == "connect":
            await fleet.connect(**given)
        elif verb == "settled":
            await fleet.settled()
        elif verb == "renew":
            await fleet.renew(**given)
        elif verb == "collect":
            answer = fleet.collect()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
