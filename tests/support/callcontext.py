"""A call of grpc.aio as a handler sees it, with a client whose reading the test holds back."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc.aio import EOF  # type: ignore[attr-defined]

from meshapi import protos, xds
from meshapi.xds import Type

_DISCOVERY = "envoy.service.discovery.v3."


class SlowCall:
    """What is written waits until `reading` is set; a client says `say` and `leave`."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()
        self.begun = 0
        """Messages the handler has begun to write."""
        self.written: list[Any] = []

    def say(self, type_: Type, **fields: Any) -> None:
        """Send a request of shop/web-1."""
        request = protos.message(_DISCOVERY + "DeltaDiscoveryRequest")(type_url=type_.url, **fields)
        request.node.id, request.node.user_agent_name = "web-1.shop", xds.SIDECAR_AGENT
        self._said.put_nowait(request.SerializeToString())

    def leave(self) -> None:
        """Say no more."""
        self._said.put_nowait(EOF)

    def peer(self) -> str:
        """Tell where the client is."""
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of the call."""
        return (("authorization", "Bearer x"),)

    async def read(self) -> Any:
        """Take a request."""
        return await self._said.get()

    async def write(self, raw: bytes) -> None:
        """Give a response, once the client reads."""
        self.begun += 1
        await self.reading.wait()
        self.written.append(protos.message(_DISCOVERY + "DeltaDiscoveryResponse").FromString(raw))
