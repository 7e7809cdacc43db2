"""Ways into pods: logs, exec, attach, port-forward and the HTTP proxy.

In: `ApiRequest` on a pod or service. Out: streams. Refuses what names no running pod before the first byte, in the real server's words.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from devcluster.api.calls import Step
from devcluster.api.errors import StatusError, bad_request
from devcluster.api.execution import execute
from devcluster.api.forwarding import forward
from devcluster.api.proxying import HttpProxy
from devcluster.api.registry import Registry
from devcluster.api.requests import ApiRequest
from devcluster.runtime.kubelet import Kubelet
from devcluster.runtime.logs import LogOptions

__all__ = ["Connector"]


class Connector:
    """Answers streaming subresources; without a runtime it refuses them."""

    def __init__(self, registry: Registry, kubelet: Kubelet | None) -> None:
        self._registry = registry
        self._kubelet = kubelet
        self._proxy = HttpProxy(registry)

    async def close(self) -> None:
        """End the proxy's connections."""
        await self._proxy.close()

    async def answer(self, request: ApiRequest) -> web.StreamResponse:
        """Answer; raises StatusError."""
        target = request.target
        if target.subresource == "proxy":
            return await self._proxy.answer(request)
        if self._kubelet is None:
            raise StatusError(503, "ServiceUnavailable", "this cluster runs no pods")
        self._registry.get("pods", target.namespace, target.name)
        if target.subresource == "log":
            return await self._logs(request, self._kubelet)
        step = Step(row=request.row, operation="CONNECT", call=request.call(), subresource=target.subresource)
        await self._registry.gate.validate(step, self._registry.get("pods", target.namespace, target.name), None)
        if target.subresource == "portforward":
            return await forward(request, self._kubelet)
        if target.subresource == "attach":
            return await self._attach(request, self._kubelet)
        command = request.http.query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least one command for the container")
        return await execute(request, self._kubelet, command)

    async def _logs(self, request: ApiRequest, kubelet: Kubelet) -> web.StreamResponse:
        options = LogOptions(
            container=request.parameter("container"),
            follow=request.flag("follow"),
            previous=request.flag("previous"),
            tail=None if (request.number("tailLines") or 0) < 0 else request.number("tailLines"),
            since_seconds=request.number("sinceSeconds"),
            since_time=request.parameter("sinceTime") or None,
            timestamps=request.flag("timestamps"),
            limit_bytes=request.number("limitBytes"),
        )
        chunks = await kubelet.logs(request.target.namespace, request.target.name, options)
        response = web.StreamResponse()
        response.content_type = "text/plain"
        await response.prepare(request.http)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _attach(self, request: ApiRequest, kubelet: Kubelet) -> web.StreamResponse:
        """Show what the container writes from now on; its input is not connected."""
        options = LogOptions(container=request.parameter("container"), follow=True, tail=0)
        chunks = await kubelet.logs(request.target.namespace, request.target.name, options)
        return await execute(request, _Following(chunks), ())


class _Following:
    """A container's output, in the shape of a program that is run."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def exec(self, _namespace: str, _name: str, _container: str, _command: Sequence[str], streams: object) -> int:
        """Copy the log until the container ends."""
        sink = getattr(streams, "stdout", None)
        async for chunk in self._chunks:
            if sink is not None:
                await sink(chunk)
        return 0
