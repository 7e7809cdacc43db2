"""Model to snapshot: the passes, in order.

In: a model, and the snapshot made before it. Out: a `MeshSnapshot`, in which everything that did not change is the very same object as
before. Each pass makes what the changes concern by the indexes, and hands on what came out another one. Pure and total: any model compiles,
and a fault in one key leaves its last form and is told of in `faults`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from controlplane.compiler.attach import PRODUCER, Verdict, attach
from controlplane.compiler.conditions import route_status
from controlplane.compiler.indexes import Indexes
from controlplane.compiler.keyed import Faults, remade
from controlplane.compiler.owners import Claim, Claims
from controlplane.compiler.policies import Reach, Scopes, Standing, bypassed, scopes_of, standing, unreadable
from controlplane.compiler.precedence import merge
from controlplane.compiler.services import Last, compile_pod, compile_service
from controlplane.compiler.snapshot import (
    Condition,
    MeshSnapshot,
    ParentStatus,
    PodEntry,
    PodPolicy,
    PortKey,
    PortRoutes,
    PortTraffic,
    ServiceEntry,
)
from controlplane.model.mesh import MESH_NAME, Model
from controlplane.model.meta import Key, RouteKey
from controlplane.model.steps import Steps, finished
from controlplane.model.traffic import Route
from meshapi.table import Table

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attached:
    """What all routes come to at one Service."""

    traffic: Mapping[PortKey, PortTraffic]
    verdicts: Mapping[tuple[RouteKey, int], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Works:
    """What the passes of one snapshot leave for those of the next."""

    scopes: Scopes = field(default_factory=Scopes)
    indexes: Indexes = field(default_factory=Indexes)
    policies: Table[Key, PodPolicy] = field(default_factory=Table)
    standings: Table[str, Standing] = field(default_factory=Table)
    attached: Table[Key, _Attached] = field(default_factory=Table)
    service_claims: Claims = field(default_factory=Claims)
    pod_claims: Claims = field(default_factory=Claims)
    faults: Faults = field(default_factory=Faults)


def compile_mesh(model: Model, previous: MeshSnapshot | None = None, *, roots: bytes = b"") -> MeshSnapshot:
    """Compile a model; `roots` are the certificates (PEM) trusted now."""
    return finished(compiling(model, previous, roots=roots))


def compiling(model: Model, previous: MeshSnapshot | None = None, *, roots: bytes = b"") -> Steps[MeshSnapshot]:
    """Do the same step by step."""
    if previous is None or previous.works is None or previous.trust_domain != model.trust_domain:
        previous = MeshSnapshot(trust_domain=model.trust_domain, works=_Works())
    yield
    passes = _Passes(model, previous)
    policies = yield from passes.policies()
    services = yield from passes.services(policies)
    pods = yield from passes.pods(policies, services)
    attached, traffic, statuses = yield from passes.routes()
    standings, told = yield from passes.standings()
    service_claims, pod_claims = passes.claims(services, pods)
    return MeshSnapshot(
        trust_domain=model.trust_domain,
        roots=roots,
        mesh=model.mesh,
        services=services,
        service_ips=service_claims.owners,
        zones=passes.zones(),
        pods=pods,
        pod_ips=pod_claims.owners,
        traffic=traffic,
        route_statuses=statuses,
        policy_statuses=told,
        user_problems=model.problems,
        model=model,
        works=_Works(
            scopes=passes.scopes,
            indexes=passes.indexes,
            policies=policies,
            standings=standings,
            attached=attached,
            service_claims=service_claims,
            pod_claims=pod_claims,
            faults=passes.faults,
        ),
        faults={**model.faults, **passes.faults.told()},
    )


class _Passes:
    """The passes over one model; each is given what those before it made."""

    def __init__(self, model: Model, before: MeshSnapshot) -> None:
        self._model = model
        self._before = before
        self._old = before.model
        self.works = cast("_Works", before.works)
        self.faults = Faults()
        self.indexes = self.works.indexes.after(self._old, model)
        same = model.authentications is self._old.authentications
        self.scopes = self.works.scopes if same else scopes_of(model.authentications)
        self._pods = _changed(self._old.pods, model.pods)
        self._services = _changed(self._old.services, model.services)
        self._slices = model.slices.differing(self._old.slices)
        self._retargeted = self._behind_targets()
        self._reach = Reach(model=model, scopes=self.scopes, indexes=self.indexes)
        self._remoded = model.mesh.mode is not self._old.mesh.mode

    def policies(self) -> Steps[Table[Key, PodPolicy]]:
        """Decide for the pods that changed, those of namespaces whose policies did, and those that came or went behind a Service that is targeted."""
        model = self._model
        only = set(self._pods)
        if self._remoded:
            only |= model.pods.keys()
        for key in _changed(self._old.authentications, model.authentications):
            only.update(self.indexes.pods_in.get(key.namespace, ()))
        only |= self._retargeted
        only |= {*self.works.faults.keys("policies")}
        return (yield from remade("policies", self.works.policies, only, self._reach.policy, self.faults))

    def services(self, policies: Table[Key, PodPolicy]) -> Steps[Table[Key, ServiceEntry]]:
        """Compile Services: those whose own object, slices, pods, pods' policies or nodes changed."""
        model, indexes, before = self._model, self.indexes, self._before.services
        only = set(self._services)
        for _, was, now in self._slices:
            only |= {one.service for one in (was, now) if one is not None}
        moved, rezoned = self._moved(policies), self._rezoned()
        for pod in moved:
            only |= {model.slices[one].service for one in indexes.slices_with.get(pod, ())}
        stale = {*self.works.faults.keys("services")}
        only |= {*self._on(rezoned), *stale}

        def make(key: Key) -> ServiceEntry | None:
            service = model.services.get(key)
            if service is None:
                return None
            slices = [model.slices[one] for one in indexes.slices_of.get(key, ())]
            # What could not be made is still what it was before: nothing is known to be the same.
            ends = () if key in stale else [self._old.slices[one] for one in self.works.indexes.slices_of.get(key, ())]
            return compile_service(service, slices, model, policies, Last.of(before.get(key), ends, moved, rezoned))

        return (yield from remade("services", before, only, make, self.faults))

    def pods(self, policies: Table[Key, PodPolicy], services: Table[Key, ServiceEntry]) -> Steps[Table[Key, PodEntry]]:
        """Compile mesh pods: those that changed, whose policy did, or that serve other ports than before."""
        model, indexes = self._model, self.indexes
        only = self._moved(policies)
        for _, was, now in services.differing(self._before.services):
            old, new = was.backing if was else {}, now.backing if now else {}
            only |= {pod for pod in old.keys() | new.keys() if old.get(pod) != new.get(pod)}
        only |= {*self.works.faults.keys("pods")}

        def make(key: Key) -> PodEntry | None:
            policy = policies.get(key)
            if policy is None:
                return None
            behind = {model.slices[one].service for one in indexes.slices_with.get(key, ())}
            entries = (services.get(one) for one in behind)
            served = [at for entry in entries if entry for at in entry.backing.get(key, ())]
            return compile_pod(model.pods[key], policy, served, model.trust_domain)

        return (yield from remade("pods", self._before.pods, only, make, self.faults))

    def routes(
        self,
    ) -> Steps[tuple[Table[Key, _Attached], Table[PortKey, PortTraffic], Table[RouteKey, tuple[ParentStatus, ...]]]]:
        """Attach the routes of the Services that changed, of those a changed route names, and of those whose routes lead to a changed Service."""
        model, indexes, works = self._model, self.indexes, self.works
        told: set[RouteKey] = set()
        only = set(self._services)
        for key, was, now in model.routes.differing(self._old.routes):
            told.add(key)
            only |= {parent.key for route in (was, now) if route is not None for parent in route.parents}
        for service in self._services:
            for key in indexes.routes_to.get(service, ()):
                told.add(key)
                only |= {parent.key for parent in model.routes[key].parents}
        only |= {*works.faults.keys("routes")}

        def make(key: Key) -> _Attached | None:
            on = indexes.routes_on.get(key)
            return _attached(key, [model.routes[one] for one in on], model) if on else None

        attached = yield from remade("routes", works.attached, only, make, self.faults)
        traffic: dict[PortKey, PortTraffic | None] = {}
        for _, before, after in attached.differing(works.attached):
            traffic |= dict.fromkeys(before.traffic) if before else {}
            traffic |= after.traffic if after else {}
        for service in only:
            told |= indexes.routes_on.get(service, frozenset())
        told |= {*works.faults.keys("route statuses")}

        def tell(key: RouteKey) -> tuple[ParentStatus, ...] | None:
            route = model.routes.get(key)
            if route is None:
                return None
            verdicts = [attached[parent.key].verdicts[key, n] for n, parent in enumerate(route.parents)]
            return route_status(route, verdicts, model.services)

        statuses = yield from remade("route statuses", self._before.route_statuses, told, tell, self.faults)
        return attached, self._before.traffic.after(traffic), statuses

    def standings(self) -> Steps[tuple[Table[str, Standing], Table[Key, tuple[Condition, ...]]]]:
        """Tell the policies of namespaces in which a pod or policy changed, or a Service or slice that one may target."""
        model, works = self._model, self.works
        policies = _changed(self._old.authentications, model.authentications)
        only = {key.namespace for key in (*self._pods, *policies, *self._retargeted)}
        targeted = self.scopes.services | works.scopes.services
        only |= {key.namespace for key in self._services if key in targeted}
        if self._remoded:
            only |= {*self.indexes.pods_in, *self.scopes.members}
        only |= {*works.faults.keys("policy statuses")}
        make = lambda namespace: standing(namespace, self._reach)  # noqa: E731 - looked up where tests plant
        standings = yield from remade("policy statuses", works.standings, only, make, self.faults)
        told: dict[Key, tuple[Condition, ...] | None] = {}
        if model.problems is not self._old.problems:
            told |= dict.fromkeys(unreadable(self._old.problems))
        for _, before, after in standings.differing(works.standings):
            told |= dict.fromkeys(before.told) if before else {}
            told |= after.told if after else {}
        told |= unreadable(model.problems)
        if standings is not works.standings:
            told[Key("", MESH_NAME)] = bypassed(standings.values()) or None
        return standings, self._before.policy_statuses.after(told)

    def claims(self, services: Table[Key, ServiceEntry], pods: Table[Key, PodEntry]) -> tuple[Claims, Claims]:
        """Find out whose each address is, of Services and of pods."""
        works, before = self.works, self._before
        differing = services.differing(before.services)
        # A ClusterIP is nobody else's; further addresses anybody may claim.
        own = (
            Claim(key, was.service.ips if was else (), now.service.ips if now else (), "1", "1")
            for key, was, now in differing
        )
        others = (
            Claim(key, was.service.others if was else (), now.service.others if now else ())
            for key, was, now in differing
        )
        of_services = works.service_claims.after((*own, *others))
        of_pods = works.pod_claims.after(
            Claim(
                key,
                was.pod.ips if was else (),
                now.pod.ips if now else (),
                was.pod.created if was else "",
                now.pod.created if now else "",
            )
            for key, was, now in pods.differing(before.pods)
        )
        return of_services, of_pods

    def zones(self) -> Table[str, str]:
        """The zone of each node that has one."""
        nodes = self._model.nodes.differing(self._old.nodes)
        return self._before.zones.after({key.name: (now.zone if now else "") or None for key, _, now in nodes})

    def _behind_targets(self) -> set[Key]:
        """Pods of the slices that changed, of Services that a policy targets."""
        targeted = self.scopes.services | self.works.scopes.services
        slices = (one for _, was, now in self._slices for one in (was, now) if one is not None) if targeted else ()
        return {end.pod for one in slices if one.service in targeted for end in one.endpoints if end.pod}

    def _moved(self, policies: Table[Key, PodPolicy]) -> set[Key]:
        """Pods that changed, or whose policy did."""
        return self._pods | _changed(self.works.policies, policies)

    def _rezoned(self) -> set[str]:
        """Name nodes whose zone is another one now."""
        return {
            key.name
            for key, was, now in self._model.nodes.differing(self._old.nodes)
            if (was.zone if was else "") != (now.zone if now else "")
        }

    def _on(self, nodes: set[str]) -> Iterator[Key]:
        """Name Services with an endpoint that says no zone of its own on one of these nodes."""
        if nodes:
            for one in self._model.slices.values():
                if any(not end.zone and end.node in nodes for end in one.endpoints):
                    yield one.service


def _changed(old: Table[Key, V], new: Table[Key, V]) -> set[Key]:
    return {key for key, _, _ in new.differing(old)}


def _attached(key: Key, routes: Iterable[Route], model: Model) -> _Attached:
    """Attach and merge the routes of one Service."""
    attachments = attach(key, model.services.get(key), routes)
    producers: dict[PortKey, PortRoutes] = {}
    consumers: dict[PortKey, dict[str, PortRoutes]] = {}
    for (port, client), claims in attachments.routes.items():
        merged = merge(claims[0].key.kind, claims, model.services)
        if client == PRODUCER:
            producers[port] = merged
        else:
            consumers.setdefault(port, {})[client] = merged
    traffic = {
        port: PortTraffic(producer=producers.get(port), consumers=consumers.get(port, {}))
        for port in producers.keys() | consumers.keys()
    }
    return _Attached(traffic=traffic, verdicts=attachments.verdicts)
