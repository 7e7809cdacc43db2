"""The `proxy` subresource: plain HTTP to a pod or to a Service's endpoint, by way of the API server.

In: `ApiRequest` on pods or services. Out: the answer as it comes. Refuses what cannot be reached with 503.
"""

from __future__ import annotations

import random

import aiohttp
from aiohttp import web

from devcluster.api.errors import Object, StatusError, bad_request
from devcluster.api.registry import Registry
from devcluster.api.requests import ApiRequest

_HOP = frozenset(
    [
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "host", "content-length"),
        *("authorization", "content-encoding"),
    ]
)


class HttpProxy:
    """Carries HTTP requests into the cluster."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()

    async def answer(self, request: ApiRequest) -> web.StreamResponse:
        """Carry one request; raises StatusError(404 or 503)."""
        scheme, address, port = self._where(request)
        url = f"{scheme}://{address}:{port}/{request.target.rest}"
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=False, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        http = request.http
        headers = [(name, value) for name, value in http.headers.items() if name.lower() not in _HOP]
        try:
            async with self._session.request(
                http.method,
                url,
                params=http.query,
                headers=headers,
                data=await request.data() or None,
                allow_redirects=False,
                skip_auto_headers=("accept-encoding",),  # who asks says what it can read, and gets it as it came
            ) as answer:
                response = web.StreamResponse(status=answer.status, reason=answer.reason)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP - {"content-length", "content-encoding"}:
                        response.headers.add(name, value)
                await response.prepare(http)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, OSError) as error:
            said = f"error trying to reach service: {error}"
            raise StatusError(503, "ServiceUnavailable", said) from error

    def _where(self, request: ApiRequest) -> tuple[str, str, int]:
        """Find scheme, address and port of `[https:]NAME[:PORT]`."""
        parts = request.target.name.split(":")
        scheme = parts.pop(0) if len(parts) > 1 and parts[0] in {"http", "https"} else "http"
        name, port = parts[0], parts[1] if len(parts) > 1 else ""
        namespace = request.target.namespace
        if request.row.plural == "services":
            return scheme, *self._endpoint(self._registry.get("services", namespace, name), port)
        if request.row.plural == "nodes":
            raise StatusError(503, "ServiceUnavailable", "this cluster's node has no port of its own")
        pod = self._registry.get("pods", namespace, name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise StatusError(503, "ServiceUnavailable", f"pod {name} has no address yet")
        ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or []]
        if port and not port.isdigit():
            found = next((p["containerPort"] for p in ports if p.get("name") == port), None)
            if found is None:
                raise bad_request(f"pod {name} has no port named {port!r}")
            return scheme, address, found
        return scheme, address, int(port or (ports[0]["containerPort"] if ports else 80))

    def _endpoint(self, service: Object, port: str) -> tuple[str, int]:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        ports = service["spec"].get("ports") or []
        wanted = [p for p in ports if not port or port in {str(p["port"]), p.get("name")}]
        if not wanted:
            raise StatusError(503, "ServiceUnavailable", f'no service port "{port}" found for service "{name}"')
        found: list[tuple[str, int]] = []
        labels = f"kubernetes.io/service-name={name}"
        for part in self._registry.list("endpointslices.discovery.k8s.io", namespace, labels=labels):
            numbers = [p["port"] for p in part.get("ports") or [] if p.get("name", "") == wanted[0].get("name", "")]
            for endpoint in part.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready", True):
                    found += [(endpoint["addresses"][0], number) for number in numbers]
        if not found:
            raise StatusError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
        return random.choice(found)
