"""Everything that happens to a cluster and to its subscribers, in any order: what each was sent is what a build from nothing gives.

The machine drives store, publisher, source and conversations; only gRPC is left out. After each step it folds what every client was sent, and compares that
with a model read and a mesh compiled from nothing; and it looks at what is held in memory. 20,000 steps;
`TULLE_MACHINES` makes it so many times as many, at random.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.reads import Input, What, changed
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.feed.objects import ObjectStore, ref_of
from controlplane.ingest.assemble import KINDS, ingest
from controlplane.resources.build import PLACED, Client, Placed, build, form, in_form, names, placed
from controlplane.resources.envoy import Resource
from controlplane.xds import publisher as publishing
from controlplane.xds import source as source_module
from controlplane.xds.callers import Peer
from controlplane.xds.publisher import Publisher
from controlplane.xds.source import Source
from controlplane.xds.subscription import WILDCARD
from meshapi import xds
from meshapi.xds import Type
from tests.support import meshobjects as mo
from tests.support.feeding import taken_in
from tests.support.machines import bounded, finds, within
from tests.support.subscriber import Subscriber
from tests.support.virtual import virtual_time

SERVICES = ("web", "api")
PODS = ("web-0", "web-1", "api-0")
NAMESPACES = ("shop", "other")
POD_IPS = ("10.0.0.1", "fd00::1")
SERVICE_IPS = ("10.96.0.1", "10.96.0.2")
PORTS = (
    {"name": "http", "port": 80},
    {"name": "grpc", "port": 80},
    {"name": "tcp-db", "port": 80},
    {"name": "web", "port": 81},
)
PORT_NAMES = ("http", "grpc", "tcp-db", "web")
ROUTES = ("HTTPRoute", "TCPRoute")
SPECS: tuple[mo.Object, ...] = ({}, {"internalTrafficPolicy": "Local"}, {"externalIPs": ["10.96.0.2", "10.0.0.2"]})
"""What Services ask for besides: the callers' node alone; an address that is another's, or a pod's."""
Member = tuple[str, str, bool]
TARGETS = ((), (("", "Service", "web"),), (("", "ServiceAccount", "a"),))
EVERY: dict[Type, list[str]] = {
    Type.LISTENER: [
        *(xds.outbound_listener(ip, port) for ip in SERVICE_IPS for port in (80, 81)),
        *(xds.outbound_listener(ip, port) for ip in POD_IPS for port in (8080, 9999)),
        *(f"inbound/{namespace}/{pod}" for namespace in NAMESPACES for pod in PODS[:2]),
        "web.shop:80",
        "api.other.svc.cluster.local:80",
    ],
    Type.CLUSTER: [
        *(f"{namespace}/{service}:80" for namespace in NAMESPACES for service in SERVICES),
        *(f"pod/shop/{pod}:{port}" for pod in PODS for port in (8080, 9999)),
        *(xds.inbound_cluster(port) for port in (0, 8080, 9090)),
    ],
    Type.ENDPOINTS: [
        *(f"{namespace}/{service}:80" for namespace in NAMESPACES for service in SERVICES),
        *(f"pod/shop/{pod}:9999" for pod in PODS),
    ],
    Type.ROUTES: ["shop/web:80", "shop/web:80@other", "other/web:80", "shop/api:80"],
    Type.SECRET: [xds.TRUST_BUNDLE],
}
USED: dict[Type, list[str]] = {
    Type.LISTENER: [
        "inbound/shop/web-1",
        "outbound/10.96.0.1:80",
        *(xds.outbound_listener(ip, 9999) for ip in POD_IPS),
    ],
    Type.CLUSTER: ["inbound:8080", "inbound:0", "shop/web:80"],
    Type.ENDPOINTS: ["shop/web:80"],
    Type.ROUTES: ["shop/web:80"],
}
namespaces = st.sampled_from(NAMESPACES)
places = st.tuples(namespaces, st.sampled_from(PODS))
services = st.sampled_from(SERVICES)
spots = st.tuples(namespaces, services)


def peer(pod: str, namespace: str, agent: str, families: tuple[int, ...] = (4,), node: str = "node-1") -> Peer:
    workload = f"Deployment/{pod[:3]}"
    return Peer(
        namespace=namespace,
        pod=pod,
        identity="x",
        node=node,
        workload=workload,
        user_agent=agent,
        families=families,
    )


peers = st.builds(
    peer,
    st.sampled_from(PODS),
    namespaces,
    st.sampled_from(("tulle-proxy", "grpc-go")),
    st.sampled_from(((4,), (6,), (6, 4))),
    st.sampled_from(("node-1", "node-2", "")),
)
members = st.tuples(st.sampled_from(PODS), st.sampled_from(POD_IPS), st.booleans())
MOST = 4
"""Clients at most."""
some_names = st.one_of([st.tuples(st.just(t), st.sets(st.sampled_from(n), max_size=4)) for t, n in EVERY.items()])


class Mesh(RuleBasedStateMachine):
    """A cluster, one control plane's inner part, and its clients."""

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as owned:
            self.loop = owned.enter_context(virtual_time())
            self.store = ObjectStore()
            self.source = Source()
            self.roots = "roots 0"
            self.publisher = Publisher(self.store, self.source, trust_domain="cluster.local", roots=lambda: self.roots)
            self.clients: list[Subscriber] = []
            self.waiting = False
            """Something changed and was not published."""
            self.fresh = MeshSnapshot()
            self.truths: dict[tuple[Type, str, Client], tuple[str, bytes] | None] = {}
            self.placed: dict[tuple[Type, str, Client], bool] = {}
            self._publish()
            self.owned = owned.pop_all()

    def teardown(self) -> None:
        with self.owned:
            for client in self.clients:
                if client.conversation is not None:
                    client.hang_up()
            held = self.source.sizes()
        assert held == {"resources": 0, "inputs": 0}

    def _act(self, act: Callable[[], Any]) -> None:
        """Do something that the publisher may be told of, in its loop."""

        async def acting() -> None:
            act()

        self.loop.run_until_complete(acting())

    def _apply(self, *objects: mo.Object, now: bool) -> None:
        self._act(lambda: [taken_in(self.store, one) for one in objects])
        self._later(now=now)

    def _remove(self, kind: str, namespace: str, name: str, *, now: bool) -> None:
        self._act(lambda: self.store.remove(kind, namespace, name))
        self._later(now=now)

    def _later(self, *, now: bool) -> None:
        self.waiting = True
        if now:
            self._publish()

    def _publish(self) -> None:
        self.waiting = False
        self._act(self.publisher.publish)
        fresh = compile_mesh(ingest(self.store), roots=self.roots.encode())
        if fresh != self.fresh:
            self.truths.clear()
            self.placed.clear()
        self.fresh = fresh
        for client in self.clients:
            if not client.busy:
                client.catch_up()

    @rule(
        place=places, ip=st.sampled_from(POD_IPS), mesh=st.booleans(), account=st.sampled_from("ab"), now=st.booleans()
    )
    def pod(self, place: tuple[str, str], ip: str, mesh: bool, account: str, now: bool) -> None:
        self._apply(mo.pod(place[1], ip, namespace=place[0], mesh=mesh, account=account), now=now)

    @rule(place=places, now=st.booleans())
    def pod_gone(self, place: tuple[str, str], now: bool) -> None:
        self._remove("Pod", *place, now=now)

    @rule(at=spots, ip=st.sampled_from((*SERVICE_IPS, "None")), port=st.sampled_from(PORTS), more=st.sampled_from(SPECS), now=st.booleans())  # fmt: skip
    def service(self, at: tuple[str, str], ip: str, port: mo.Object, more: mo.Object, now: bool) -> None:
        self._apply(mo.service(at[1], ip, port, namespace=at[0], spec=more), now=now)

    @rule(name=services, namespace=namespaces)
    def service_elsewhere(self, name: str, namespace: str) -> None:
        made = mo.service(name, "", mo.HTTP, namespace=namespace)
        made["spec"]["type"] = "ExternalName"
        self._apply(made, now=True)

    @rule(name=services, namespace=namespaces, now=st.booleans())
    def service_gone(self, name: str, namespace: str, now: bool) -> None:
        self._remove("Service", namespace, name, now=now)

    @rule(
        at=spots,
        members=st.sets(members, max_size=2),
        ports=st.dictionaries(st.sampled_from(PORT_NAMES), st.sampled_from((8080, 9090)), min_size=1),
        hinted=st.booleans(),
        now=st.booleans(),
    )
    def endpoints(self, at: tuple[str, str], members: set[Member], ports: dict[str, int], hinted: bool, now: bool) -> None:  # fmt: skip
        listed = [
            mo.endpoint(
                name,
                ip,
                namespace=at[0],
                node=f"node-{1 + POD_IPS.index(ip)}",
                hints={"forZones": [{"name": "ab"[POD_IPS.index(ip)]}]} if hinted else None,
                ready=ready,
                serving=True,
                terminating=not ready,
            )
            for name, ip, ready in sorted(members)
        ]
        self._apply(mo.endpoint_slice(at[1], *listed, namespace=at[0], ports=ports), now=now)

    @rule(of=services, namespace=namespaces, now=st.booleans())
    def endpoints_gone(self, of: str, namespace: str, now: bool) -> None:
        self._remove("EndpointSlice", namespace, f"{of}-abc", now=now)

    @rule(kind=st.sampled_from(ROUTES), parent=services, to=services, namespace=namespaces, name=st.sampled_from("rs"))
    def route(self, kind: str, parent: str, to: str, namespace: str, name: str) -> None:
        backends = {"backendRefs": [mo.to(to, namespace="shop")]}
        self._apply(mo.route(name, backends, kind=kind, parent=parent, namespace=namespace), now=True)

    @rule(kind=st.sampled_from(ROUTES), namespace=namespaces, name=st.sampled_from("rs"))
    def route_gone(self, kind: str, namespace: str, name: str) -> None:
        self._remove(kind, namespace, name, now=True)

    @rule(mode=st.sampled_from(("STRICT", "DISABLE", "PERMISSIVE")), about=st.sampled_from(TARGETS), namespace=namespaces, name=st.sampled_from("pq"))  # fmt: skip
    def policy(self, mode: str, about: tuple[tuple[str, str, str], ...], namespace: str, name: str) -> None:
        self._apply(mo.peer_authentication(name, mode, *about, namespace=namespace), now=True)

    @rule(namespace=namespaces, name=st.sampled_from("pq"))
    def policy_gone(self, namespace: str, name: str) -> None:
        self._remove("PeerAuthentication", namespace, name, now=True)

    @rule(mode=st.sampled_from(("STRICT", "PERMISSIVE", None)), log=st.sampled_from(("ON", "OFF")))
    def mesh(self, mode: str | None, log: str) -> None:
        if mode is None:
            self._remove("Mesh", "", "default", now=True)
        else:
            spec = {"mtls": {"mode": mode}, "accessLog": log}
            self._apply({"kind": "Mesh", "metadata": {"name": "default"}, "spec": spec}, now=True)

    @rule(zones=st.sampled_from(("ab", "ba", "bb")), used=st.booleans())
    def nodes(self, zones: str, used: bool) -> None:
        """Where a node is changes, which may matter to somebody."""
        if used:
            self._use(near=True)
        for number, zone in enumerate(zones, 1):
            labels = {"topology.kubernetes.io/zone": zone}
            self._apply({"kind": "Node", "metadata": {"name": f"node-{number}", "labels": labels}}, now=True)

    @rule(namespace=namespaces)
    def namespace_gone(self, namespace: str) -> None:
        gone = [(kind, one["metadata"]["name"]) for kind in KINDS for one in self.store.of(kind)
                if one["metadata"].get("namespace") == namespace]  # fmt: skip
        self._act(lambda: [self.store.remove(kind, namespace, name) for kind, name in gone])
        self._later(now=True)

    @rule(kind=st.sampled_from(KINDS), lost=st.integers(0, 3))
    def listed_anew(self, kind: str, lost: int) -> None:
        """A broken watch: everything comes again, in another order, but what went meanwhile."""
        listed = copy.deepcopy(list(self.store.of(kind)))[::-1]
        kept = listed[lost:] if lost else listed
        places = {(ref.namespace, ref.name) for ref in (ref_of(kind, one) for one in kept)}
        self._act(lambda: ([self.store.apply(kind, one) for one in kept], self.store.retain(kind, places)))
        self._later(now=True)

    @rule()
    def new_roots(self) -> None:
        self.roots = f"roots {int(self.roots.split()[1]) + 1}"
        self._publish()

    @precondition(lambda self: self.waiting)
    @rule()
    def published(self) -> None:
        self._publish()

    @initialize(there=st.booleans(), near=st.booleans())
    def shop(self, there: bool, near: bool) -> None:
        """Most begins where there is something already."""
        if there:
            self._use(near=near)

    def _use(self, *, near: bool) -> None:
        """Have a shop, and a sidecar that uses it; or one of its endpoints, by where it is."""
        self._apply(*mo.shop().held.values(), now=True)
        if near:
            ends = [
                {**mo.endpoint(f"web-{n}", ip, node=f"node-{n}", hints={"forZones": [{"name": zone}]}), "zone": zone}
                for n, ip, zone in ((1, "10.0.0.1", "a"), (2, "10.0.0.4", "b"))
            ]
            self._apply(mo.pod("web-2", "10.0.0.4"), mo.endpoint_slice("web", *ends), now=True)
        if len(self.clients) < MOST:
            client = Subscriber(peer("web-1", "shop", "tulle-proxy"), delta=True, wildcard=False)
            client.wanted |= {type_: set(wanted) for type_, wanted in USED.items()}
            self.clients.append(client)
            client.connect(self.source)

    @precondition(lambda self: len(self.clients) < MOST)
    @rule(peer=peers, delta=st.booleans(), wildcard=st.booleans(), wanted=st.lists(some_names, min_size=1, max_size=6))
    def new_client(self, peer: Peer, delta: bool, wildcard: bool, wanted: list[tuple[Type, set[str]]]) -> None:
        client = Subscriber(peer, delta=delta, wildcard=wildcard)
        # In the state of the world nothing says whether the wildcard covers a name that is let go.
        for type_, names_ in wanted if delta or not wildcard else ():
            client.wanted[type_] |= names_
        self.clients.append(client)
        client.connect(self.source)

    def _connected(self, number: int) -> Subscriber | None:
        there = [client for client in self.clients if client.conversation is not None]
        return there[number % len(there)] if there else None

    @rule(number=st.integers(0, 3), what=some_names)
    def subscribe(self, number: int, what: tuple[Type, set[str]]) -> None:
        client = self._connected(number)
        if client is not None and what[1] and (client.delta or not client.wildcard):
            client.subscribe(*what)

    @rule(number=st.integers(0, 3), what=some_names)
    def unsubscribe(self, number: int, what: tuple[Type, set[str]]) -> None:
        client = self._connected(number)
        if client is not None and what[1] & client.wanted[what[0]]:
            client.unsubscribe(what[0], what[1] & client.wanted[what[0]])

    @rule(number=st.integers(0, 3))
    def stops_reading_or_reads_on(self, number: int) -> None:
        client = self._connected(number)
        if client is not None and not client.busy:
            client.busy = True
        elif client is not None:
            client.catch_up()

    @rule(number=st.integers(0, 3), for_ever=st.booleans())
    def hangs_up(self, number: int, for_ever: bool) -> None:
        client = self._connected(number)
        if client is not None:
            client.hang_up()
            if for_ever:
                self.clients.remove(client)

    @rule(number=st.integers(0, 3))
    def resumes(self, number: int) -> None:
        away = [client for client in self.clients if client.conversation is None]
        if away:
            away[number % len(away)].connect(self.source)

    def _truth(self, type_: Type, name: str, client: Client) -> tuple[str, bytes] | None:
        key = type_, name, self._form(type_, name, client)
        if key not in self.truths:
            found = build(self.fresh, type_, name, client)
            self.truths[key] = (found.version, found.body) if found else None
        return self.truths[key]

    def _form(self, type_: Type, name: str, client: Client) -> Client:
        """What of a client a resource of the fresh snapshot depends on."""
        shared = form(type_, name, client)
        key = type_, name, shared
        if key not in self.placed:
            self.placed[key] = name != WILDCARD and in_form(self.fresh, type_, name, shared) is PLACED
        return placed(type_, client) if self.placed[key] else shared

    def _wanted(self, client: Subscriber) -> Iterator[tuple[Type, str]]:
        for type_, wanted in client.wanted.items():
            covered = names(self.fresh, type_, client.client) if client.wildcard else ()
            yield from ((type_, name) for name in {*wanted, *covered})

    @invariant()
    def snapshot_is_one_made_from_nothing(self) -> None:
        if not self.waiting:
            assert self.source.snapshot == self.fresh
            assert self.fresh.problems() == []
            # What raises is caught and leaves the last form, here and in a build from nothing: equal, and no use to anybody.
            assert (self.source.snapshot.faults, self.fresh.faults, self.source.broken) == ({}, {}, {})

    @invariant()
    def every_client_holds_what_a_build_from_nothing_gives(self) -> None:
        for client in self.clients:
            if client.conversation is None or client.busy or self.waiting:
                continue
            wanted = set(self._wanted(client))
            truth = {key: made for key in wanted if (made := self._truth(*key, client.client))}
            held = client.held
            if not client.delta:
                # Whether routes or endpoints have gone is not said in the state of the world; and no resource has a version of its own.
                truth = {key: ("", body) for key, (_, body) in truth.items()}
                held = {
                    key: one for key, one in held.items() if key in truth or key[0] in {Type.LISTENER, Type.CLUSTER}
                }
            assert held == truth

    @invariant()
    def memory_follows_what_is_alive(self) -> None:
        if self.waiting:
            return
        cells = set()
        for client in self.clients:
            if client.conversation is None or client.busy:
                continue
            for type_ in client.conversation.subscriptions:
                if client.wildcard:
                    cells.add((type_, WILDCARD, form(type_, WILDCARD, client.client)))
            wanted = set(self._wanted(client))
            cells |= {(t, n, form(t, n, client.client)) for t, n in wanted}
            cells |= {(t, n, self._form(t, n, client.client)) for t, n in wanted}
        found = {(*cell.key, cell.client) for cell in self.source._cells.values() if _awake(cell, self.clients)}
        assert found <= cells
        snapshot = self.source.snapshot
        assert left(snapshot) == left(self.fresh)
        read = sum(len(one.seen) for one in snapshot.model.memo.values())  # type: ignore[attr-defined]
        assert read == sum(len(list(self.store.of(kind))) for kind in KINDS)
        assert {one for cell in self.source._cells.values() for one in cell.inputs} == set(self.source._readers)


def left(snapshot: MeshSnapshot) -> dict[str, Any]:
    """What the passes left for the next ones, indexes and all; faults apart, of which there are none."""
    works: Any = snapshot.works
    return {part.name: getattr(works, part.name) for part in fields(works) if part.name != "faults"}


def _awake(cell: Any, clients: Iterable[Subscriber]) -> bool:
    """Whether somebody holds a cell who reads what is sent."""
    reading = {client.conversation._catalogue for client in clients if client.conversation and not client.busy}
    return bool(cell.holders & reading)


TestMesh = within(240)(Mesh.TestCase)
TestMesh.settings = bounded(440, 50)


def forgotten(which: What) -> Callable[[MeshSnapshot, MeshSnapshot], Iterator[Input]]:
    """Find what changed, but for one kind of input."""
    return lambda old, new: (one for one in changed(old, new) if one[0] is not which)


@pytest.mark.parametrize("which", [what for what in What if what is not What.TRUST_DOMAIN])
def test_machine_finds_an_input_whose_change_is_not_told(which: What, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every kind but the trust domain, which never changes; POD_AT is how an address that was reused led to the dead pod's cluster."""
    monkeypatch.setattr(publishing, "changed", forgotten(which))
    with pytest.raises(AssertionError):
        finds(Mesh, 300, 50)


def test_machine_finds_clusters_of_a_pods_own_ports_that_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they did when no change named them: a StatefulSet's pod that came back with other ports was served its predecessor's."""

    def unread(
        snapshot: MeshSnapshot, type_: Type, name: str, client: Client, into: set[Input]
    ) -> Resource | Placed | None:
        return in_form(snapshot, type_, name, client, set() if name.startswith("inbound:") else into)

    monkeypatch.setattr(source_module.build, "in_form", unread)
    with pytest.raises(AssertionError):
        finds(Mesh, 300, 50)


def test_machine_finds_what_outlives_its_last_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms that nobody holds any more."""
    monkeypatch.setattr(Source, "release", lambda _, view, cell: cell.holders.discard(view))
    with pytest.raises(AssertionError):
        finds(Mesh, 300, 50)
