"""Putting the API server together: the only place that makes its parts, handed what it needs.

In: a directory, the listening sockets' addresses and, when there is one, the runtime. Out: an `Api` that serves. The registry exists before anything else,
so that controllers and the runtime can be made on it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
import ssl
from pathlib import Path

from aiohttp import web

from devcluster.access.admission import Admission
from devcluster.access.authentication import Authenticator
from devcluster.access.rbac import Authorizer
from devcluster.access.reviews import Reviews
from devcluster.access.tokens import TokenIssuer
from devcluster.api import addresses
from devcluster.api.certificates import Authority, Pair
from devcluster.api.connect import Connector
from devcluster.api.definitions import NAME, Definitions
from devcluster.api.errors import Object
from devcluster.api.first import FirstObjects
from devcluster.api.garbage import Collector
from devcluster.api.gate import FullGate
from devcluster.api.information import Information
from devcluster.api.namespaces import Undertaker
from devcluster.api.registry import Registry
from devcluster.api.server import Faces, Server, tls
from devcluster.api.special import Special
from devcluster.api.users import User
from devcluster.api.watch import WatchEvent
from devcluster.runtime.kubelet import Kubelet
from devcluster.runtime.network import NODE_ADDRESS
from devcluster.schema.openapi import OpenApi
from devcluster.schema.validate import Validator

_NAMES = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]


class Api:
    """The API server of one cluster."""

    def __init__(self, directory: Path) -> None:
        self.registry = Registry()
        self.issuer = TokenIssuer(self.registry)
        self.authority = Authority()
        self._directory = directory
        self._token = secrets.token_urlsafe(32)
        self._validator = Validator()
        self._admission = Admission(self.registry)
        self.registry.gate = FullGate(self._validator, self._admission)
        self.registry.subscribe(NAME, self._learn)
        self._keepers = (Collector(self.registry), Undertaker(self.registry), Definitions(self.registry))
        self._connector = Connector(self.registry, None)
        self._runner: web.AppRunner | None = None
        self._sockets: list[socket.socket] = []
        self._tls: ssl.SSLContext | None = None

    def _learn(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            self._validator.remove(event.object)
        else:
            self._validator.install(event.object)

    async def start(self, group: asyncio.TaskGroup, sockets: list[socket.socket], kubelet: Kubelet | None) -> None:
        """Make the first objects and serve on these sockets."""
        for keeper in self._keepers:
            group.create_task(keeper.run())
        first = FirstObjects(self.registry, reachable=kubelet is not None)
        await first.make()
        group.create_task(first.keep())
        host, port = sockets[0].getsockname()[:2]
        self._connector = Connector(self.registry, kubelet)
        self._runner = web.AppRunner(
            self._server(f"{host}:{port}").application(),
            handler_cancellation=True,
            shutdown_timeout=0.2,
            access_log=None,
        )
        await self._runner.setup()
        certificate, key = self.authority.server([*_NAMES, "localhost"], self._addresses()).save(
            self._directory, "apiserver"
        )
        self._tls = tls(str(certificate), str(key), self.authority.certificate)
        self._sockets = sockets
        await self.serve()
        self._write_kubeconfig(f"https://{host}:{port}")

    async def serve(self) -> None:
        """Answer on the sockets, at first and again after `refuse`; raises OSError."""
        assert self._runner is not None
        if self._runner.sites:
            return
        for listening in self._sockets:
            listening.listen()
            # A copy: what is closed with the site must not take the place it is bound to along.
            await web.SockSite(self._runner, listening.dup(), ssl_context=self._tls).start()

    async def refuse(self) -> None:
        """Be away: new connections are refused, and those there are end without a word. The registry lives on."""
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()
        for listening in self._sockets:
            listening.shutdown(socket.SHUT_RDWR)  # the kernel refuses from here on; the socket keeps its address
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def stop(self) -> None:
        """Answer nobody any more."""
        await self._connector.close()
        await self._admission.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _server(self, address: str) -> Server:
        administrator = User(name="kubernetes-admin", groups=("system:masters",))
        authorizer = Authorizer(self.registry)
        return Server(
            Faces(
                registry=self.registry,
                authenticator=Authenticator(self.issuer, static={self._token: administrator}),
                authorizer=authorizer,
                reviews=Reviews(authorizer, self.issuer),
                information=Information(self.registry, OpenApi(self.registry.resources, self._validator), address),
                connector=self._connector,
                special=Special(self.registry, self.issuer),
            )
        )

    @staticmethod
    def _addresses() -> list[str]:
        return ["127.0.0.1", addresses.API, NODE_ADDRESS]

    def _write_kubeconfig(self, server: str) -> None:
        pair = self.authority.client("kubernetes-admin", ["system:masters"])
        path = self._directory / "kubeconfig"
        unready = path.with_suffix(".tmp")
        unready.touch(mode=0o600)
        unready.write_text(json.dumps(kubeconfig(server, self.authority.certificate, pair), indent=2))
        unready.replace(path)


def kubeconfig(server: str, authority: bytes, pair: Pair) -> Object:
    """Say where the cluster is and who its administrator is, as kubectl reads it."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    name = "devcluster"
    user = {"client-certificate-data": text(pair.certificate), "client-key-data": text(pair.key)}
    cluster = {"server": server, "certificate-authority-data": text(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
