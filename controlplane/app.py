"""The composition root of the control plane: the only place that constructs, and the order in which things start and end.

In: Settings. Out: a running control plane until SIGTERM or SIGINT. Start: find the cluster, learn or make the issuer, read everything once, serve. End: not ready any more, streams closed one
after the other so that sidecars go to other replicas, the Lease given back. Refuses to start without a cluster (BadSettingError); a part that fails later
ends the process, so that Kubernetes starts it anew, except for those that supervise themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import aiohttp
import grpc.aio
from aiohttp import web

from controlplane import admin, replicas, reports
from controlplane.ca.access import identified
from controlplane.ca.changing import RootChange
from controlplane.ca.service import Certificates, Issuing, ca_handlers
from controlplane.ca.serving import Serving
from controlplane.ca.tokens import Caller, Tokens
from controlplane.ca.trust import Step, Trust
from controlplane.feed.feed import Feed
from controlplane.feed.kinds import CONFIGURED, REGISTRATIONS, ROLLED
from controlplane.feed.namespaces import Namespaces
from controlplane.feed.objects import ObjectStore
from controlplane.feed.reflector import Reflector
from controlplane.feed.versions import Kubelets, server_knows
from controlplane.ingest import cut
from controlplane.ingest.assemble import ingest
from controlplane.ingest.reading import Cursor
from controlplane.ingest.routes import refused_patterns
from controlplane.inject import webhook
from controlplane.inject.options import InjectSettings
from controlplane.inject.thread import Admission
from controlplane.inject.workload import owner_of
from controlplane.kube.client import ApiError, Cluster
from controlplane.kube.connect import Connection
from controlplane.listening import grpc_address
from controlplane.operator.reconciler import Look, Reconciler
from controlplane.operator.thread import Operator
from controlplane.places import Places
from controlplane.replicas import Replicas
from controlplane.settings import Settings
from controlplane.telling import Telling
from controlplane.timing import Collector, LoopLag
from controlplane.write.leader import Elector
from controlplane.write.notices import Notices
from controlplane.write.rolls import Rolls
from controlplane.write.status import Statuses
from controlplane.write.webhooks import Webhooks
from controlplane.write.writer import Writer
from controlplane.xds.asking import Asking
from controlplane.xds.callers import PodCallers
from controlplane.xds.publisher import Publisher
from controlplane.xds.selfcheck import SelfCheck
from controlplane.xds.server import Hub, build_server
from controlplane.xds.source import Source

LINGER_SECONDS = 2.0
RETRY_SECONDS = 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Part(Protocol):
    """Something that runs until it is cancelled."""

    async def run(self) -> None:
        """Run."""


class App:
    """Every part of a control plane, made but not running."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self.settings = settings
        self._connection = connection
        self.cluster = Cluster(connection)
        self._lease = Cluster(connection)
        """The Lease has a connection of its own: a pool that is held up must not end a term."""
        self.store = ObjectStore()
        self.writer = Writer()
        self.elector = Elector(self._lease, settings.namespace, settings.service, settings.pod)
        self.source = Source()
        self.places = Places(self.store, lambda: self.source.snapshot)
        self._make_authority(settings)
        self._make_distribution(settings)
        self._make_replicas(settings)
        self._make_writers(settings, connection)
        self.kubelets = Kubelets(self.store)
        self._server_knows = False
        self.lag = LoopLag()
        self.collector = Collector()
        self.admission = Admission(self._webhooks)
        self.admissions: dict[tuple[str, str], int] = {}
        self.draining = False
        self.server: grpc.aio.Server | None = None
        self.ports: dict[str, int] = {}
        """Where it listens, by part; for tests that let the system choose."""

    def _make_authority(self, settings: Settings) -> None:
        self.trust = Trust(settings, _now)
        self.tokens = Tokens(self.cluster, settings.trust_domain, time.time)
        self.certificates = Certificates()
        self.serving = Serving(self.trust, settings.dns_names, settings.certificate_seconds, _now)
        self.issuing = Issuing(
            self.trust, self._identify, self.places.of, self.certificates, settings.certificate_seconds
        )
        self.own = [
            Reflector(self.cluster, source.kind, source, within=(settings.namespace, source.name))
            for source in self.trust.sources()
        ]

    def _make_distribution(self, settings: Settings) -> None:
        self.feed = Feed(self.cluster, self.store, settings.service)
        callers = PodCallers(self.store, owner_of)
        self.hub = Hub(self.source, self._identify, callers, settings.max_streams, self.places.at)
        self.asking = Asking(lambda: self.hub.streams, self._identify)
        self.publisher = Publisher(
            self.store,
            self.source,
            trust_domain=settings.trust_domain,
            roots=lambda: self.trust.roots_pem,
        )
        self.selfcheck = SelfCheck(self.store, self.publisher, self.source)

    def _make_replicas(self, settings: Settings) -> None:
        self.telling = Telling(settings, self.trust, self.source, self.hub, self.places.whose)
        said, warm = self.telling.statement, self.source.warm
        self.replicas = Replicas(settings, self.store, lambda: self.trust.roots_pem, said, warm)
        self.root_change = RootChange(self.trust, self.store, self.replicas.heard, self._want_root_change)

    def _make_writers(self, settings: Settings, connection: Connection) -> None:
        own = (settings.namespace, settings.service)
        self.notices = Notices(self.cluster, self.store, self.writer, _now)
        self.rolls = Rolls(self.cluster, self.store, self.writer, self.notices, settings.untouched)
        self.webhooks = Webhooks(self.cluster, self.store, self.writer, own, lambda: self.trust.roots_pem)
        self.statuses = Statuses(self.cluster, self.store, self.writer, self.feed, lambda: self.selfcheck.found)
        looks: dict[str, Look] = {
            **{kind.name: self.rolls.look for kind in ROLLED},
            **{kind.name: self.statuses.look for kind in CONFIGURED},
            **{kind.name: self.webhooks.look for kind in REGISTRATIONS},
        }
        counted: dict[str, Look] = {"Pod": lambda _: self.statuses.counted()}
        self.reconciler = Reconciler(self.store, self.feed.reached, looks | counted, looks.keys())
        self.operator = Operator(self.reconciler.trigger, connection, settings.service)
        self.publisher.listen(self.statuses.told)
        self.elector.listen(self.writer.lead)
        self.elector.listen(lambda leading: self._want_authority() if leading else None)
        self.trust.listen(self._roots_changed)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, then drain."""
        async with contextlib.AsyncExitStack() as stack:
            self.collector.watch()
            stack.callback(self.collector.unwatch)
            stack.push_async_callback(self.cluster.close)
            stack.push_async_callback(self._lease.close)
            stack.callback(self.issuing.close)
            runner = await admin.serve(
                reports.of(self._parts()), host=self.settings.host, port=self.settings.admin_port
            )
            stack.push_async_callback(runner.cleanup)
            self.ports["admin"] = port_of(runner)
            async with asyncio.TaskGroup() as group:
                electing = group.create_task(self.elector.run(), name="elector")
                learning: tuple[Part, ...] = (self.lag, self.writer, *self.own, self.feed)
                running = [group.create_task(part.run()) for part in learning]
                running.append(group.create_task(self._start(stack, group, running), name="start"))
                await stop.wait()
                log.info("ending")
                electing.cancel()
                await self._drain()
                for task in running:
                    task.cancel()

    async def _start(
        self, stack: contextlib.AsyncExitStack, group: asyncio.TaskGroup, running: list[asyncio.Task[None]]
    ) -> None:
        """Learn everything once, then serve."""
        await self._learn()
        serving: tuple[Part, ...] = (
            self.publisher,
            self.selfcheck,
            self.operator,
            self.reconciler,
            self.serving,
            self.replicas,
            self.root_change,
        )
        running.extend(group.create_task(part.run()) for part in serving)
        await self.publisher.published.wait()
        await self._serve(stack)
        self.serving.follow(self.admission.certify)
        running.append(group.create_task(self.admission.run()))
        self.ports["webhook"] = await self.admission.listening()
        log.info("serving: %s", ", ".join(f"{name} on {port}" for name, port in self.ports.items()))

    async def _learn(self) -> None:
        """Wait for the issuer, and for a first whole list of every kind."""
        if self.settings.proxy.native_sidecar == "auto":
            self._server_knows = await persist(lambda: server_knows(self.cluster), "the version of the API server")
        for own in self.own:
            await own.health.synced.wait()
        self._want_authority()
        if not self.trust.ready.is_set():
            who = (
                "the leader makes it"
                if self.settings.ca_create
                else "TULLE_CA_CREATE is false, so somebody must bring it"
            )
            log.info("waiting for Secret %s/%s: %s", self.settings.namespace, self.settings.ca_secret, who)
        await self.trust.ready.wait()
        await self._announce()
        await self.feed.learned()

    async def _announce(self) -> None:
        """Have the roots of this replica's issuer remembered before anybody meets them; the one thing written without leading.

        Else a replica with a new issuer waits for the bundle in the webhooks, which the leader, with the former one, does not write.
        """
        if self.trust.bundle_behind():
            await persist(lambda: self.trust.write_bundle(self.cluster), "the bundle of trusted roots")

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self.settings
        self.server = build_server(
            (self.hub.handlers(), ca_handlers(self.issuing), self.asking.handlers()), limit=settings.max_streams
        )
        address = grpc_address(settings.host, settings.xds_port)
        self.ports["xds"] = self.server.add_secure_port(address, self.serving.credentials())
        await self.server.start()
        stack.push_async_callback(self.server.stop, 0)

    @contextlib.asynccontextmanager
    async def _webhooks(self, context: ssl.SSLContext) -> AsyncIterator[int]:
        """Answer the API server; in the loop of `Admission`'s thread, with a connection of its own."""
        settings, cluster = self.settings, Cluster(self._connection)
        namespaces = Namespaces(cluster, self.store)
        face = webhook.Webhook(
            settings=self._inject_settings,
            known_words=namespaces.known,
            namespace_words=namespaces.words,
            validate=validate,
            patterns=lambda obj: refused_patterns(Cursor(obj)),
            count=lambda *told: self.admission.tell(self._count_admission, *told),
        )

        async def answer(address: str, query: Mapping[str, str]) -> bytes:
            return self.telling.answer(address, query)

        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(cluster.close)
            runner = await webhook.serve(
                face,
                tls=context,
                host=settings.host,
                port=settings.webhook_port,
                pages={replicas.PATH: lambda *asked: self.admission.at_home(answer(*asked))},
            )
            stack.push_async_callback(webhook.end, runner)
            yield port_of(runner)

    async def _drain(self) -> None:
        """Close the streams one after the other; the webhooks answer until the end, for no event tells when the last call has been sent here."""
        self.draining = True
        seconds = self.settings.drain_seconds
        ends = [self.hub.drain(seconds), asyncio.sleep(min(seconds, LINGER_SECONDS))]
        if self.server is not None:
            ends.append(self.server.stop(seconds + 1.0))
        await asyncio.gather(*ends)

    def _parts(self) -> reports.Parts:
        return reports.Parts(
            elector=self.elector,
            store=self.store,
            feed=self.feed,
            hub=self.hub,
            asking=self.asking,
            source=self.source,
            publisher=self.publisher,
            trust=self.trust,
            root_change=self.root_change,
            certificates=self.certificates,
            issuing=self.issuing,
            telling=self.telling,
            tokens=self.tokens,
            certificate_seconds=self.settings.certificate_seconds,
            serving=self.serving,
            writer=self.writer,
            operator=self.operator,
            selfcheck=self.selfcheck,
            lag=self.lag,
            collector=self.collector,
            admissions=self.admissions,
            missing=self.missing,
        )

    def missing(self) -> list[str]:
        """What is not ready yet, in words."""
        waits = [
            (self.trust.ready.is_set(), "there is no issuer"),
            ("webhook" in self.ports, "not serving"),
            (self.webhooks.carry(self.trust.serving_roots), "the webhook configurations do not carry the CA bundle"),
            (not self.draining, "ending"),
        ]
        return [*self.feed.missing(), *(words for good, words in waits if not good)]

    async def _identify(self, authorization: str, peer: str) -> Caller:
        return await identified(self.tokens, authorization, self.places.at(peer))

    def _want_authority(self) -> None:
        """What the leader is to do for the authority, if this replica is it."""
        make = (lambda: self.trust.make(self.cluster)) if self.trust.missing() else None
        write = (lambda: self.trust.write_bundle(self.cluster)) if self.trust.bundle_behind() else None
        self.writer.want(("issuer",), make)
        self.writer.want(("trust bundle",), write)

    def _want_root_change(self, step: Step | None) -> None:
        self.writer.want(("root change",), None if step is None else lambda: self.trust.keep(self.cluster, step))

    def _roots_changed(self) -> None:
        self._want_authority()
        self.root_change.look()
        self.webhooks.roots_changed()
        self.publisher.touch()

    def _inject_settings(self, spec: Mapping[str, Any]) -> InjectSettings:
        settings = self.settings
        return InjectSettings(
            proxy=settings.proxy,
            xds_address=settings.xds_address,
            trust_domain=settings.trust_domain,
            ca_roots=self.trust.roots_pem,
            native_sidecar=self._native_sidecar(spec),
            excluded_namespaces=settings.untouched,
        )

    def _native_sidecar(self, spec: Mapping[str, Any]) -> bool:
        word = self.settings.proxy.native_sidecar
        return word == "true" or (word == "auto" and self._server_knows and self.kubelets.know(spec))

    def _count_admission(self, hook: str, outcome: str) -> None:
        self.admissions[hook, outcome] = self.admissions.get((hook, outcome), 0) + 1


def validate(obj: Mapping[str, Any]) -> list[str]:
    """Say in sentences what is wrong with one of Tulle's own objects, by the code that will read it."""
    return [problem.message for problem in ingest(cut.Part({str(obj.get("kind")): [obj]})).problems]


async def persist(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Do something that must succeed before going on, again and again; a start may be faster than the cluster around it."""
    while True:
        try:
            return await call()
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("%s: %s: %s; trying again", what, type(error).__name__, error)
            await asyncio.sleep(RETRY_SECONDS)


def port_of(runner: web.AppRunner) -> int:
    """The port a runner listens on."""
    return int(runner.addresses[0][1])


async def serve(settings: Settings, connection: Connection) -> None:
    """Run a control plane until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await App(settings, connection).run(stop)
