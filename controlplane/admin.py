"""What the control plane says of itself on port 15014: health, readiness, metrics, its sidecars and its snapshot; and what its sidecars say when they are asked.

In: `Report`, functions that look at the running parts. Out: text and JSON over HTTP. There is nothing secret in it: identities and addresses, no keys, no tokens, no
object of a user. What sidecars say is told to who is in this pod alone (`kubectl port-forward` is): the API server decides who that may be. Refuses others with 403, other paths with 404, and
more large answers at once than it has room for with 503.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import msgspec
from aiohttp import web

from controlplane.httplog import ServerLog
from controlplane.listening import bound
from controlplane.xds.asking import NotAnsweredError, Told
from meshapi.addresses import loopback

Json = Mapping[str, object]
Ask = Callable[[str, str, str], AbstractAsyncContextManager[Told]]
ANSWERS = 16
"""Large answers under way at once: whoever reaches the port may ask, and need not read. `tulle check` asks two of each replica."""
READ_SECONDS = 10.0
"""How long who asked may take to read it."""
_PIECE = 64 * 1024
_FORWARD = "sidecars are asked from this pod itself alone: by `tulle`, or through `kubectl port-forward`\n"
KEPT_SECONDS = 0.5
"""For so long what was made of the mesh is told to whoever else asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number of a metric."""

    name: str
    value: float
    labels: Mapping[str, str]
    kind: str = "gauge"
    help: str = ""
    suffix: str = ""
    """What a histogram's number adds to the name of its metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How to find out."""

    missing: Callable[[], list[str]]
    """What is not ready yet, in words; empty when all is."""
    samples: Callable[[], Iterable[Sample]]
    proxies: Callable[[], list[Json]]
    snapshot: Callable[[], Json]
    ask: Ask
    """Ask the sidecar of a namespace's pod for a path; raises NotAnsweredError."""


def render(samples: Iterable[Sample]) -> str:
    """Write samples in Prometheus' text format, those of one metric together."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(sample.name, []).append(sample)
    lines = []
    for name, family in families.items():
        lines.append(f"# HELP {name} {family[0].help}")
        lines.append(f"# TYPE {name} {family[0].kind}")
        lines.extend(f"{name}{sample.suffix}{_labels(sample.labels)} {sample.value:.10g}" for sample in family)
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


async def serve(report: Report, *, host: str, port: int) -> web.AppRunner:
    """Listen; the runner's `addresses` tell the port and its `cleanup()` ends it."""
    app = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = report.missing()
        if missing:
            return web.Response(status=503, text="not ready: " + "; ".join(missing) + "\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=render(report.samples()), content_type="text/plain")

    large = _Large()

    async def proxies(request: web.Request) -> web.StreamResponse:
        return await large.answer(request, lambda: {"proxies": report.proxies()})

    async def snapshot(request: web.Request) -> web.StreamResponse:
        return await large.answer(request, report.snapshot)

    async def sidecar(request: web.Request) -> web.StreamResponse:
        if not _is_local(request):
            return web.Response(status=403, text=_FORWARD)
        return await large.pass_on(request, report.ask)

    for path, handler in (
        ("/healthz", healthz),
        ("/readyz", readyz),
        ("/metrics", metrics),
        ("/proxies", proxies),
        ("/snapshot", snapshot),
        ("/sidecars/{namespace}/{pod}/{path:.*}", sidecar),
    ):
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, logger=ServerLog("admin"))
    await runner.setup()
    await web.SockSite(runner, bound(host, port)).start()
    return runner


def _is_local(request: web.Request) -> bool:
    """Whether who asks is in this pod, where a port-forward ends."""
    own = request.transport.get_extra_info("peername") if request.transport is not None else None
    return own is not None and loopback(own[0])


class _Large:
    """Answers that grow with the mesh: made once for all who ask at one time, and read by a few at once, for each of them holds a copy."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, bytes]] = {}
        self._under_way = 0

    async def answer(self, request: web.Request, make: Callable[[], Json]) -> web.StreamResponse:
        """Answer, and count it until it was read."""
        if self._under_way >= ANSWERS:
            return _full()
        self._under_way += 1
        try:
            response = web.Response(body=self._body(request.path, make), content_type="application/json")
            return await self._send(request, response)
        finally:
            self._under_way -= 1

    async def pass_on(self, request: web.Request, ask: Ask) -> web.StreamResponse:
        """Answer with what a sidecar says, the same way."""
        if self._under_way >= ANSWERS:
            return _full()
        self._under_way += 1
        where = request.match_info
        asked = f"/{where['path']}" + (f"?{request.rel_url.raw_query_string}" if request.query_string else "")
        try:
            async with ask(where["namespace"], where["pod"], asked) as told:
                headers = {"content-type": told.kind, "x-content-type-options": "nosniff"}
                response = web.StreamResponse(status=told.status, headers=headers)
                response.content_length = len(told.body)
                return await self._send(request, response, told.body)
        except NotAnsweredError as error:
            return web.Response(status=error.status, text=f"{error}\n")
        finally:
            self._under_way -= 1

    async def _send(
        self, request: web.Request, response: web.StreamResponse, body: bytes | bytearray = b""
    ) -> web.StreamResponse:
        """Send a response, and a body that it does not have itself in pieces, as they are read."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                await response.prepare(request)
                for start in range(0, len(body), _PIECE):
                    await response.write(bytes(body[start : start + _PIECE]))
                await response.write_eof()
        except (ConnectionError, TimeoutError):  # who asked is gone, or does not read
            if request.transport is not None:
                request.transport.abort()
        return response

    def _body(self, path: str, make: Callable[[], Json]) -> bytes:
        now = time.monotonic()
        made, body = self._made.get(path, (-KEPT_SECONDS, b""))
        if now - made >= KEPT_SECONDS:
            body = msgspec.json.encode(make())
            self._made[path] = time.monotonic(), body
        return body


def _full() -> web.Response:
    return web.Response(status=503, text=f"{ANSWERS} are told as much at once already; try again\n")
