"""A served ADS hub over an in-memory cluster, without TLS and with a caller of the test's choice; and a plain delta client to talk to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio

from controlplane.ca.issuer import from_secret, new_root, pem
from controlplane.ca.tokens import Caller
from controlplane.feed.objects import ObjectStore
from controlplane.inject.workload import owner_of
from controlplane.xds.asking import Asking
from controlplane.xds.callers import PodCallers
from controlplane.xds.publisher import Publisher
from controlplane.xds.server import Hub, build_server
from controlplane.xds.source import Source
from meshapi import protos, xds
from meshapi.identity import Identity
from meshapi.xds import Type
from tests.support import meshobjects
from tests.support.feeding import taken_in

_DISCOVERY = "envoy.service.discovery.v3."
NOW = dt.datetime.now(dt.UTC)
ISSUER = from_secret(new_root("cluster.local", now=NOW), now=NOW)
ROOTS = pem(ISSUER.roots)


@dataclass(slots=True)
class Served:
    """What a test holds of the served side."""

    store: ObjectStore
    source: Source
    hub: Hub
    asking: Asking
    publisher: Publisher
    port: int
    caller: Caller

    def apply(self, *objects: dict[str, Any]) -> None:
        """Change the cluster and publish at once."""
        for obj in objects:
            taken_in(self.store, obj)
        self.publish()

    def remove(self, kind: str, namespace: str, name: str) -> None:
        self.store.remove(kind, namespace, name)
        self.publish()

    def publish(self) -> None:
        self.publisher.publish()


@asynccontextmanager
async def served(*objects: dict[str, Any], account: str = "web", pod: str = "web-1") -> AsyncIterator[Served]:
    """Serve the shop (or other objects) on a free port of the loopback."""
    store = ObjectStore()
    for obj in objects or meshobjects.shop().held.values():
        taken_in(store, obj)
    source = Source()
    caller = Caller(identity=Identity(trust_domain="cluster.local", namespace="shop", account=account), pod=pod)

    async def identify(_: str, __: str) -> Caller:
        return held.caller

    hub = Hub(source, identify, PodCallers(store, owner_of, grace=0.2), 100)
    publisher = Publisher(store, source, trust_domain="cluster.local", roots=lambda: ROOTS)
    asking = Asking(lambda: hub.streams, identify)
    server = build_server([hub.handlers(), asking.handlers()], limit=100)
    port = server.add_insecure_port("127.0.0.1:0")
    held = Served(store, source, hub, asking, publisher, port, caller)
    held.publish()
    await server.start()
    try:
        yield held
    finally:
        await server.stop(0)


class DeltaClient:
    """One delta stream, spoken by hand."""

    def __init__(self, channel: grpc.aio.Channel, node: str = "web-1.shop", **metadata: str) -> None:
        self._call = channel.stream_stream(xds.ADS_DELTA)(metadata=(("authorization", "Bearer x"),))
        self._node: dict[str, Any] | None = {"id": node, "metadata": metadata}

    async def send(self, type_: Type | str, **fields: Any) -> None:
        url = type_.url if isinstance(type_, Type) else type_
        request = protos.message(_DISCOVERY + "DeltaDiscoveryRequest")(type_url=url, **fields)
        if self._node is not None:
            request.node.user_agent_name = xds.SIDECAR_AGENT
            request.node.id = self._node["id"]
            request.node.metadata.update(self._node["metadata"])
            self._node = None
        await self._call.write(request.SerializeToString())

    async def begin(self) -> None:
        """Open the stream and say nothing."""
        await self._call.wait_for_connection()

    async def cancel(self) -> None:
        """Go away."""
        self._call.cancel()

    async def raw(self, data: bytes) -> None:
        await self._call.write(data)

    async def receive(self) -> Any:
        raw = await self._call.read()
        assert isinstance(raw, bytes), "the stream ended"
        return protos.message(_DISCOVERY + "DeltaDiscoveryResponse").FromString(raw)

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        """Read until the stream ends; returns its status."""
        try:
            while isinstance(await self._call.read(), bytes):
                pass
        except grpc.aio.AioRpcError:
            pass
        return await self._call.code(), str(await self._call.details())

    async def ask(self, type_: Type, *names: str) -> Any:
        """Subscribe and take the answer, acknowledged."""
        await self.send(type_, resource_names_subscribe=names)
        return await self.take()

    async def take(self) -> Any:
        """Take a response and acknowledge it."""
        response = await self.receive()
        await self.send(response.type_url, response_nonce=response.nonce)
        return response


def names_of(response: Any) -> list[str]:
    return [resource.name for resource in response.resources]


@asynccontextmanager
async def connected(held: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{held.port}") as channel:
        yield channel
