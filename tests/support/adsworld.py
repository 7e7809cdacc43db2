"""A state-of-the-world ADS client spoken by hand, as gRPC libraries speak it."""

from __future__ import annotations

from typing import Any

import grpc.aio

from meshapi import protos, xds
from meshapi.xds import Type

_DISCOVERY = "envoy.service.discovery.v3."


class WorldClient:
    """One stream."""

    def __init__(self, channel: grpc.aio.Channel, node: str = "web-1.shop", agent: str = "gRPC Python") -> None:
        self._call = channel.stream_stream(xds.ADS_SOTW)()
        self._node: dict[str, Any] | None = {"id": node, "user_agent_name": agent}

    async def send(self, type_: Type, *names: str, nonce: str = "", version: str = "") -> None:
        request = protos.message(_DISCOVERY + "DiscoveryRequest")(
            type_url=type_.url, resource_names=names, response_nonce=nonce, version_info=version
        )
        if self._node is not None:
            request.node.MergeFrom(protos.from_dict("envoy.config.core.v3.Node", self._node))
            self._node = None
        await self._call.write(request.SerializeToString())

    async def receive(self) -> Any:
        raw = await self._call.read()
        assert isinstance(raw, bytes), "the stream ended"
        return protos.message(_DISCOVERY + "DiscoveryResponse").FromString(raw)

    async def ask(self, type_: Type, *names: str) -> Any:
        """Subscribe, take the answer and acknowledge it."""
        await self.send(type_, *names)
        answer = await self.receive()
        await self.send(type_, *names, nonce=answer.nonce, version=answer.version_info)
        return answer

    async def ask_listener(self, name: str) -> Any:
        return await self.ask(Type.LISTENER, name)
