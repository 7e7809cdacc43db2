"""The sidecar put together: the only place where its parts are constructed, and the order in which they begin and end.

In: `Settings`. Out: a running sidecar, until SIGTERM or SIGINT. Two sources of configuration, one way from there on: config to
tables, tables in force by one assignment, here and in the other workers. Refuses to start on a bad file or an occupied port,
with one sentence.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from collections.abc import Set as AbstractSet

from dataplane import views
from dataplane.admin import Admin, Answer, Request, as_json, own, text
from dataplane.chance import dice
from dataplane.config import SidecarConfig
from dataplane.credentials import Credentials, remembered_roots
from dataplane.discovery import Discovery
from dataplane.engine import Engine
from dataplane.finding import Finding
from dataplane.net import signals
from dataplane.net.listen import bind, bind_both
from dataplane.probes import Probes
from dataplane.reach import Reach
from dataplane.settings import Mesh, Settings
from dataplane.telemetry import told
from dataplane.telemetry.labels import introduce, workload
from dataplane.workers import WorkerGoneError, Workers
from dataplane.xds.client import ControlPlane
from dataplane.xds.session import Session
from meshapi import names, xds

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
EXPIRE_SECONDS = 600.0
PRESTOP_SETTLE = 1.0
"""How long callers have at least to learn that a pod goes away before its app is told."""
PRESTOP_MOST = float(names.PRESTOP_SECONDS)
PRESTOP_FORGET = 30.0
"""A hook that the sidecar's own (`POST /drain`) does not go with was a restart of the app alone: then traffic is as welcome as before."""


class StartError(RuntimeError):
    """The sidecar cannot start or go on; the message is the sentence to show."""


class Sidecar:
    """The first worker: its engine, its admin port, the line to the others."""

    def __init__(self, settings: Settings, ends: list[socket.socket]) -> None:
        self.settings = settings
        self.engine = Engine(settings, int(dice() * (1 << 16)))  # where round robins begin
        self.workers = Workers(ends)
        self.admin = Admin(self.engine.poller)
        self.ready: Callable[[], str] = lambda: ""
        """Says what is still missing; empty when the sidecar may be given traffic."""
        self.leaving = False
        """Readiness says no. The preStop hook does not turn it: anybody who reaches the port can ask for that path."""

    def install(self, config: SidecarConfig) -> None:
        """Put a configuration in force in every worker."""
        self.workers.install(config)
        self.engine.install(config)

    def serve_admin(self) -> None:
        """Open the admin port."""
        settings, runtime = self.settings, self.engine.runtime
        self.admin.routes |= {
            ("GET", "/healthz/live"): lambda _: text("alive"),
            ("GET", "/healthz/ready"): self._readiness,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/config"): own(lambda request: views.configuration(runtime, request)),
            ("GET", "/route"): own(lambda request: views.route(runtime, request)),
            ("GET", "/reach"): own(Reach(runtime).answer),
            ("POST", "/drain"): own(self._drain),
        }
        if settings.mesh is not None:
            probes = Probes(dict(settings.probes), settings.mesh.pod_ips[0])
            self.admin.routes["GET", "/app-health/"] = probes.answer
            self.admin.routes["GET", names.PRESTOP_PATH] = self._prestop
        host, port = settings.admin_host, settings.admin_port
        self.engine.listen_always([bind(host, port)] if host else bind_both(port), self.admin.accept)

    async def end(self) -> None:
        """Finish what is under way in every worker, up to the deadline."""
        self.leaving = True
        self.workers.stop()
        log.info("ending: %d connections", views.connections(self.engine.runtime))
        if not await self.engine.drain.end():
            log.warning("not all connections ended in %.0f s; they are cut", self.settings.drain_seconds)

    def _readiness(self, _: Request) -> Answer:
        missing = "draining" if self.leaving else self.ready()
        return text(missing, 503) if missing else text("ready")

    async def _metrics(self, request: Request) -> Answer:
        await self.workers.count()
        engine = self.engine
        rows = views.rows(engine.runtime, engine.listeners, engine.recent)
        view = told.together(engine.runtime.metrics, rows, self.workers.mirrors)
        return views.metrics(view, request, engine.runtime.clock)

    def _drain(self, _: Request) -> Answer:
        self.leaving = True
        self.workers.drain(True)
        self.engine.drain.start()
        return text("draining")

    async def _prestop(self, _: Request) -> Answer:
        """Hold the kubelet's preStop hook of the app until callers have moved on."""
        log.info("the app is about to be stopped: callers are told to move on")
        self.workers.drain(True)
        await self.engine.drain.quiesce(PRESTOP_SETTLE, PRESTOP_MOST, lambda: self.workers.ask("wanted"))
        asyncio.get_running_loop().call_later(PRESTOP_FORGET, self._forget)
        return text("quiet")

    def _forget(self) -> None:
        if not self.leaving:
            self.workers.drain(False)
            self.engine.drain.resume()


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
            xds.NODE_CONTRACT: str(xds.CONTRACT),
            xds.NODE_ANSWERS: "true",
        }
        runtime = sidecar.engine.runtime
        self.session = Session(who.namespace, mesh.pod, metadata)
        self.credentials = Credentials(roots_pem=remembered_roots(mesh.state_dir, mesh.roots))
        self.credentials.changed.append(self._renewed)
        self.control = ControlPlane(mesh, self.credentials, self.session, runtime.dialer)
        overflow = runtime.metrics.events.of("destinations_overflow")
        self.discovery = Discovery(runtime.timers, runtime.clock, _Flushing(self), sidecar.engine.opened, overflow)
        self.discovery.idle_seconds = sidecar.settings.idle_seconds
        runtime.tls.credentials = self.credentials
        runtime.discovery = sidecar.workers.discovery = self.discovery
        sidecar.ready = self._missing
        self.control.on_update = self.update
        self.control.on_connection = self.discovery.connection
        runtime.metrics.gauge(
            "tulle_control_plane_connected", "Whether the control plane is connected.", lambda: self.control.connected
        )
        runtime.metrics.gauge(
            "tulle_control_plane_untrusted",
            "Whether the control plane shows a certificate under no root this sidecar trusts.",
            lambda: self.control.untrusted,
        )
        sidecar.admin.routes["GET", "/control-plane"] = own(self._connection)
        self.control.on_question = self._asked
        runtime.metrics.gauge(
            "tulle_destinations", "Destinations the workload uses.", lambda: len(self.discovery.names)
        )
        runtime.metrics.gauge(
            "tulle_certificate_expiry_seconds",
            "When the certificate ends, seconds since the epoch.",
            lambda: self.credentials.validity.ends if self.credentials.validity else 0.0,
        )

    def _connection(self, _: Request) -> Answer:
        """How it stands with the control plane, for who cannot learn it there."""
        control = self.control
        said = {"connected": control.connected, "problem": control.problem, "untrusted": control.untrusted}
        return as_json(said)

    def _asked(self, question: str, asked: str) -> None:
        """Answer a question of the control plane."""
        from dataplane.xds.asked import Asked  # noqa: PLC0415 - few sidecars are ever asked

        Asked(self._sidecar.admin, self.control.answer).take(question, asked)

    def _missing(self) -> str:
        if not self.credentials.ready:
            return "no certificate yet"
        return "" if self.session.ready and self.discovery.warm else "no configuration yet"

    def _renewed(self) -> None:
        """Tell the other workers, and the control plane at the next stream, of a new certificate."""
        self._sidecar.workers.show(self.credentials)
        if self.credentials.validity is not None:
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.credentials.validity.ends))
            self.session.describe("certificate_expires_at", ends)

    def update(self) -> None:
        """Put what the session has in force, if it is new."""
        if self.session.warm is not None:
            self.discovery.adopt(self.session.warm)
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
        """Learn from the inbound listener what this pod is called on metrics, and whether requests are logged."""
        listener = config.listeners.get(self._inbound)
        if listener is None:
            return
        facts = {key: value for key, value in listener.metadata if isinstance(value, str)}
        runtime = self._sidecar.engine.runtime
        runtime.own = workload(facts, str(self._mesh.identity))
        runtime.introduction = introduce(runtime.own)
        form = self._sidecar.settings.access_log or ("json" if facts.get("access_log") == "on" else "")
        self._sidecar.engine.log_requests(form)
        self._sidecar.workers.name(runtime.own, runtime.introduction, form)


class _Flushing:
    """Subscriptions of the discovery, sent at once."""

    def __init__(self, source: MeshSource) -> None:
        self._source = source

    def want(self, name: str) -> None:
        """Subscribe to a listener."""
        self._source.session.want(name)
        self._source.control.flush()

    def drop(self, names: AbstractSet[str]) -> None:
        """Let listeners go."""
        self._source.session.drop(names)
        self._source.update()
        self._source.control.flush()

    def find(self, name: str) -> Finding:
        """Tell what is known of a listener."""
        return self._source.session.find(name)

    def held(self) -> tuple[int, int]:
        """Count names."""
        return self._source.session.held()

    def leading(self, more_than: int) -> Mapping[str, tuple[int, int]]:
        """Name who leads to many."""
        return self._source.session.leading(more_than)


async def run(settings: Settings, ends: list[socket.socket]) -> None:
    """Run a sidecar until it is told to end; raises StartError."""
    sidecar = Sidecar(settings, ends)
    stop = asyncio.Event()
    with signals.told(asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT), stop.set):
        try:
            sidecar.engine.start()
            source = MeshSource(sidecar, settings.mesh) if settings.mesh is not None else None
            if source is None:
                _from_file(sidecar)
            sidecar.serve_admin()
            views.settle_memory()
            work = [sidecar.workers.run(), _expire(sidecar)]
            if source is not None:
                work += [source.control.run(), _sweep(sidecar.workers, source.discovery)]
            await until(sidecar, stop, work)
        except OSError as problem:
            raise StartError(f"a port cannot be opened: {problem.strerror or problem}") from None
        finally:
            sidecar.engine.close()


def _from_file(sidecar: Sidecar) -> None:
    """Take configuration and listeners from the file named in the settings."""
    from dataplane.xds import file  # noqa: PLC0415 - what reads JSON into messages a sidecar of a mesh never needs

    path = sidecar.settings.config
    try:
        config = file.load(path) if path is not None else SidecarConfig()
    except (file.BadFileError, OSError) as problem:
        raise StartError(f"{path} cannot be used: {problem}") from None
    sidecar.install(config)


async def until(sidecar: Sidecar, stop: asyncio.Event, work: list[Coroutine[None, None, None]]) -> None:
    """Do the work until `stop`, then end gracefully; raises StartError when a worker ended by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
            await stop.wait()
            await sidecar.end()
            await asyncio.wait(tasks[:1], timeout=sidecar.settings.drain_seconds)
            # Until then the workers had new destinations to ask for, and certificates to renew.
            for task in tasks:
                task.cancel()
    except* WorkerGoneError as gone:
        raise StartError(str(gone.exceptions[0])) from None


async def _sweep(workers: Workers, discovery: Discovery) -> None:
    while True:
        await asyncio.sleep(min(SWEEP_SECONDS, discovery.idle_seconds / 4))
        # What the others report now is for the next time; until then all they reported and used since counts as open.
        workers.survey()
        discovery.sweep()


async def _expire(sidecar: Sidecar) -> None:
    metrics = sidecar.engine.runtime.metrics
    while True:
        await asyncio.sleep(EXPIRE_SECONDS)
        if sidecar.workers.links:
            await sidecar.workers.expire(metrics)
        else:
            metrics.expire()
