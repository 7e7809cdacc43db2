"""The sidecar put together: the only place where its parts are constructed, and the order in which they begin and end.

In: `Settings`. Out: a running sidecar, until SIGTERM or SIGINT. Two sources of configuration, one way from there on: config to
tables, tables in force by one assignment. Refuses to start on a bad file or an occupied port, with one sentence.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
from collections.abc import Callable, Coroutine

from dataplane import views
from dataplane.admin import Admin, Answer, Request, text
from dataplane.config import SidecarConfig
from dataplane.credentials import Credentials, remembered_roots
from dataplane.discovery import Discovery
from dataplane.drain import Drain
from dataplane.net.dial import Dialer
from dataplane.net.listen import Listener, bind, bind_both
from dataplane.net.poller import Poller
from dataplane.net.tls import TlsContexts
from dataplane.probes import Probes
from dataplane.proxy.accept import Acceptor
from dataplane.proxy.downstream import HttpDownstream
from dataplane.proxy.runtime import Runtime
from dataplane.settings import Mesh, Settings
from dataplane.tables.compile import compile_tables
from dataplane.telemetry.accesslog import AccessLog
from dataplane.telemetry.labels import introduce, workload
from dataplane.xds import file
from dataplane.xds.client import ControlPlane
from dataplane.xds.session import Session
from meshapi import names, xds

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
EXPIRE_SECONDS = 600.0
PRESTOP_SETTLE = 1.0
"""How long callers have to learn that a pod goes away before its app is told."""
PRESTOP_MOST = 10.0


class StartError(RuntimeError):
    """The sidecar cannot start; the message is the sentence to show."""


class Sidecar:
    """One worker: its sockets, its tables, its admin port."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.poller = Poller(asyncio.get_running_loop())
        self.runtime = Runtime(self.poller)
        self.runtime.dialer = Dialer(self.poller)
        self.runtime.tls = TlsContexts()
        self.admin = Admin(self.poller.timers)
        self.listeners: list[Listener] = []
        self.drain = Drain(
            begin=self.runtime.drain,
            busy=lambda: self.runtime.active,
            open=lambda: views.connections(self.runtime),
            seconds=settings.drain_seconds,
        )
        self.ready: Callable[[], str] = lambda: ""
        """Says what is still missing; empty when the sidecar may be given traffic."""
        if settings.access_log:
            self.runtime.access_log = AccessLog(settings.access_log, os.write, 1, self.poller.timers)
        self._seed = random.randrange(1 << 16)  # noqa: S311 - where round robins begin, nothing secret

    def install(self, config: SidecarConfig) -> None:
        """Put a configuration in force."""
        self.runtime.tls.secrets = config.secrets
        self.runtime.install(compile_tables(config, self.runtime.tables, seed=self._seed))

    def listen(self, sockets: list[socket.socket], take: Callable[..., None]) -> None:
        """Accept connections for `take`."""
        self.listeners += [Listener(self.poller, one, take) for one in sockets]

    def serve_admin(self) -> None:
        """Open the admin port."""
        settings, runtime = self.settings, self.runtime
        self.admin.routes = {
            ("GET", "/healthz/live"): lambda _: text("alive"),
            ("GET", "/healthz/ready"): self._readiness,
            ("GET", "/metrics"): lambda _: views.metrics(runtime, self.listeners),
            ("GET", "/config"): lambda _: views.config(runtime),
            ("GET", "/route"): lambda request: views.route(runtime, request),
            ("POST", "/drain"): self._drain,
        }
        if settings.mesh is not None:
            probes = Probes(dict(settings.probes), settings.mesh.pod_ips[0])
            self.admin.routes["GET", "/app-health/"] = probes.answer
            self.admin.routes["GET", names.PRESTOP_PATH] = self._prestop
        host, port = settings.admin_host, settings.admin_port
        self.listen([bind(host, port)] if host else bind_both(port), self.admin.accept)

    def close(self) -> None:
        """Let go of everything at once."""
        for listener in self.listeners:
            listener.close()
        self.runtime.stop()
        self.poller.close()

    def _readiness(self, _: Request) -> Answer:
        missing = "draining" if self.drain.draining else self.ready()
        return text(missing, 503) if missing else text("ready")

    def _drain(self, request: Request) -> Answer:
        if not request.local:
            return text("only this pod may ask its sidecar to drain", 403)
        self.drain.start()
        return text("draining")

    async def _prestop(self, _: Request) -> Answer:
        """Hold the kubelet's preStop hook of the app until callers have moved on."""
        log.info("the pod is going away: callers are told to move on")
        await self.drain.quiesce(PRESTOP_SETTLE, PRESTOP_MOST)
        return text("quiet")


class MeshSource:
    """Configuration from the control plane, by ADS."""

    def __init__(self, sidecar: Sidecar, mesh: Mesh) -> None:
        self._sidecar = sidecar
        self._mesh = mesh
        self._config: SidecarConfig | None = None
        who = mesh.identity
        self._inbound = xds.inbound_listener(who.namespace, mesh.pod)
        metadata = {
            "pod": mesh.pod,
            "namespace": who.namespace,
            "service_account": who.account,
            "workload": mesh.workload,
            "version": names.PRODUCT_VERSION,
        }
        self.session = Session(who.namespace, mesh.pod, metadata)
        self.credentials = Credentials(roots_pem=remembered_roots(mesh.state_dir, mesh.roots))
        self.control = ControlPlane(mesh, self.credentials, self.session, sidecar.runtime.dialer)
        self.discovery = Discovery(sidecar.poller.timers, _Flushing(self), self.session.known)
        sidecar.runtime.tls = TlsContexts(self.credentials)
        sidecar.runtime.discovery = self.discovery
        sidecar.ready = self._missing
        self.control.on_update = self._update
        self.control.on_connection = self._connection
        runtime = sidecar.runtime
        runtime.metrics.gauge(
            "tulle_control_plane_connected", "Whether the control plane is connected.", lambda: self.control.connected
        )
        runtime.metrics.gauge(
            "tulle_certificate_expiry_seconds",
            "When the certificate ends, seconds since the epoch.",
            lambda: self.credentials.validity.ends if self.credentials.validity else 0.0,
        )

    def listen(self) -> None:
        """Take captured connections."""
        settings, sidecar = self._sidecar.settings, self._sidecar
        ports = (settings.outbound_port, settings.inbound_port)
        acceptor = Acceptor(sidecar.runtime, HttpDownstream, self._inbound, (*ports, settings.admin_port))
        sidecar.listen(bind_both(settings.outbound_port), acceptor.outbound)
        sidecar.listen(bind_both(settings.inbound_port), acceptor.inbound)

    def _missing(self) -> str:
        if not self.credentials.ready:
            return "no certificate yet"
        return "" if self.session.ready else "no configuration yet"

    def _update(self) -> None:
        """Put what the session has in force, if it is new."""
        config = self.session.config
        if config is not self._config:
            self._config = config
            bundle = config.secrets.get(xds.TRUST_BUNDLE)
            if bundle is not None:
                self.control.trust(bundle.roots)
            self._sidecar.install(config)
            self._introduce(config)
        self.discovery.changed()

    def _introduce(self, config: SidecarConfig) -> None:
        """Learn from the inbound listener what this pod is called on metrics."""
        listener = config.listeners.get(self._inbound)
        if listener is None:
            return
        facts = {key: value for key, value in listener.metadata if isinstance(value, str)}
        self._sidecar.runtime.own = workload(facts, str(self._mesh.identity))
        self._sidecar.runtime.introduction = introduce(self._sidecar.runtime.own)

    def _connection(self, there: bool) -> None:
        if there:
            self.discovery.connected = True
        else:
            self.discovery.disconnected()


class _Flushing:
    """Subscriptions of the discovery, sent at once."""

    def __init__(self, source: MeshSource) -> None:
        self._source = source

    def want(self, name: str) -> None:
        """Subscribe to a listener."""
        self._source.session.want(name)
        self._source.control.flush()

    def drop(self, name: str) -> None:
        """Let a listener go."""
        self._source.session.drop(name)
        self._source.control.flush()


async def run(settings: Settings) -> None:
    """Run a sidecar until it is told to end; raises StartError."""
    sidecar = Sidecar(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        sidecar.runtime.start()
        if settings.mesh is None:
            _from_file(sidecar)
            await _until(sidecar, stop, [])
        else:
            source = MeshSource(sidecar, settings.mesh)
            source.listen()
            sidecar.serve_admin()
            await _until(sidecar, stop, [source.control.run(), _sweep(source.discovery)])
    except OSError as problem:
        raise StartError(f"a port cannot be opened: {problem.strerror or problem}") from None
    finally:
        sidecar.close()


def _from_file(sidecar: Sidecar) -> None:
    """Take configuration and listeners from the file named in the settings."""
    path = sidecar.settings.config
    try:
        config = file.load(path) if path is not None else SidecarConfig()
    except (file.BadFileError, OSError) as problem:
        raise StartError(f"{path} cannot be used: {problem}") from None
    sidecar.install(config)
    acceptor = Acceptor(sidecar.runtime, HttpDownstream)
    for listener in config.listeners.values():
        if listener.bind:
            sidecar.listen([bind(listener.address, listener.port)], acceptor.bound(listener.name))
    sidecar.serve_admin()


async def _until(sidecar: Sidecar, stop: asyncio.Event, work: list[Coroutine[None, None, None]]) -> None:
    """Do the work until `stop`, then end gracefully."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in [*work, _expire(sidecar.runtime)]]
        await stop.wait()
        log.info("ending: %d connections", views.connections(sidecar.runtime))
        if not await sidecar.drain.end():
            log.warning("not all connections ended in %.0f s; they are cut", sidecar.settings.drain_seconds)
        for task in tasks:
            task.cancel()


async def _sweep(discovery: Discovery) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        discovery.sweep(SWEEP_SECONDS)


async def _expire(runtime: Runtime) -> None:
    while True:
        await asyncio.sleep(EXPIRE_SECONDS)
        runtime.metrics.expire()
