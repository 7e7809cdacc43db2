"""A handshake with another sidecar, asked for at the admin port: can this pod speak mesh TLS with a destination now.

In: the name of a cluster in force. Out: whether an endpoint's sidecar took our certificate, showed the identity it must have and spoke HTTP/2 back; no request is sent, so no app notices.
Refuses a second one while one is under way, so that asking often makes no load; clusters without mesh endpoints are said to be so.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dataplane.admin import Answer, Request, as_json, text
from dataplane.net.receiver import Receiver
from dataplane.net.tls import TlsUnavailableError
from dataplane.protocol.detect import PREFACE
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import EndpointSlot
from meshapi import names

_PREFACE = PREFACE + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""RFC 9113 section 3.4: the client's preface with empty SETTINGS; the server's SETTINGS answer it."""
SECONDS = 2.0
"""How long the answer may take."""


class _Greeting(Receiver):
    """A connection that says the preface and waits for the first bytes."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The reason it failed; empty when the peer spoke."""

    def opened(self) -> None:
        """The handshake is done on our side; only what the peer says proves that it took our certificate."""
        self.stream.write(_PREFACE)

    def received(self, data: bytes) -> None:  # noqa: ARG002 - that there is something is enough
        """The peer spoke."""
        self._settle("")

    def ended(self) -> None:
        """The peer hung up."""
        self._settle("the other sidecar closed the connection")

    def lost(self, reason: str) -> None:
        """The connection could not be made, or is gone."""
        self._settle(reason)

    def _settle(self, reason: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(reason)


class Reach:
    """The answer of `GET /reach?cluster=<namespace>/<service>:<port>`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._busy = False

    async def answer(self, request: Request) -> Answer:
        """Greet one endpoint of the cluster."""
        name = request.one("cluster")
        cluster = self._runtime.tables.clusters.get(name)
        if cluster is None or cluster.mesh_tls is None:
            return text(f"there is no cluster {name!r} in the mesh here", 404)
        slot = cluster.pick([])
        if slot is None or not slot.mesh:
            return text(f"cluster {name!r} has no endpoint in the mesh", 404)
        if self._busy:
            return text("another handshake is under way", 503)
        self._busy = True
        try:
            failed = await self._greet(slot, cluster.mesh_tls)
        finally:
            self._busy = False
        return as_json({"endpoint": f"{slot.address}:{slot.port}", "identity": slot.identity, "failed": failed})

    async def _greet(self, slot: EndpointSlot, context: Any) -> str:
        """Return why it failed; empty when it did not."""
        try:
            tls = self._runtime.tls.client(context, (names.ALPN_H2,), slot.identity)
        except TlsUnavailableError as error:
            return str(error)
        greeting = _Greeting()
        greeting.stream = self._runtime.dialer.dial(slot.address, slot.port, greeting, tls=tls, timeout=SECONDS)
        try:
            async with asyncio.timeout(SECONDS):
                return await greeting.outcome
        except TimeoutError:
            return f"no answer within {SECONDS:.0f} s"
        finally:
            greeting.stream.close()
