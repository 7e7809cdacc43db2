"""The mesh at one moment, decided: what every resource is built from.

Immutable, comparable by content, and whole: `problems()` tells of references that lead nowhere (there are none when the passes
are right; tests hold it to that). Resources are built from it by name; it knows nothing of xDS but the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.model.mesh import MeshSettings, Model
from controlplane.model.meta import Key, Problem, RouteKey
from controlplane.model.security import Mode
from controlplane.model.services import Protocol, Service
from controlplane.model.traffic import Headers, Match, Redirect, Retry, Rewrite
from controlplane.model.workloads import Pod
from meshapi import xds
from meshapi.table import Table


class PortKey(NamedTuple):
    """One port of one Service."""

    namespace: str
    service: str
    port: int

    @property
    def cluster(self) -> str:
        """Its name in xDS."""
        return xds.service_cluster(self.namespace, self.service, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address that serves."""

    address: str
    port: int
    node: str = ""
    zone: str = ""
    for_zones: tuple[str, ...] = ()
    """Zones whose callers it is meant for; none where nobody said."""
    for_nodes: tuple[str, ...] = ()
    mesh: bool = False
    """Speaks mesh TLS."""
    identity: str = ""
    """SPIFFE URI; only where `mesh`."""
    pod: str = ""
    namespace: str = ""
    workload: str = ""
    app: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortEndpoints:
    """The endpoints of one port that may be used now, and the identities behind them."""

    endpoints: tuple[Endpoint, ...] = ()
    identities: tuple[str, ...] = ()
    local: bool = False
    """Each caller has those of its own node alone."""
    ending: tuple[Endpoint, ...] = ()
    """Endpoints that end and still serve: for callers of a node on which no other one is; only where `local`."""

    @property
    def placed(self) -> bool:
        """Whether who calls from where decides which of them it gets."""
        return self.local or any(one.for_zones or one.for_nodes for one in self.endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """A Service with its endpoints by port."""

    service: Service
    ports: Mapping[int, PortEndpoints] = field(default_factory=dict)
    backing: Mapping[Key, tuple[tuple[int, Protocol], ...]] = field(default_factory=dict)
    """Pods behind it, with the ports they serve it on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPolicy:
    """Which mTLS mode holds on a pod, and on which of its ports another one."""

    mode: Mode
    ports: tuple[tuple[int, Mode], ...] = ()

    def at(self, port: int) -> Mode:
        """Tell the mode of a port."""
        return dict(self.ports).get(port, self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEntry:
    """A mesh pod: what its sidecar lets in, and how others reach it by its own address."""

    pod: Pod
    identity: str
    policy: PodPolicy
    ports: tuple[tuple[int, Protocol], ...] = ()
    """Known ports: declared by containers or served to a Service."""

    def protocol(self, port: int) -> Protocol:
        """Tell what a port speaks; AUTO where nobody said."""
        return dict(self.ports).get(port, Protocol.AUTO)

    def speaks_mesh(self, port: int) -> bool:
        """Tell whether callers find mesh TLS at a port."""
        return port not in self.pod.excluded and self.policy.at(port) is not Mode.DISABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A share of the traffic and where it goes."""

    cluster: str
    weight: int = 1
    request_headers: Headers | None = None
    response_headers: Headers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Send on."""

    targets: tuple[Target, ...]
    timeout: float = 0.0
    try_timeout: float = 0.0
    retry: Retry | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[tuple[str, float], ...] = ()
    unresolved_status: int = 500
    """Answered to the share of a backend that does not resolve; 503 is what gRPC clients read as UNAVAILABLE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer at once with a status."""

    status: int
    why: str
    """What is said of the rule, as a clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """One row of a route table: the first that matches decides."""

    match: Match
    action: Forward | Redirect | Answer
    route: RouteKey
    rule: int
    request_headers: Headers | None = None
    response_headers: Headers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRoutes:
    """The routes of one port for one class of clients; all of one kind."""

    kind: str
    rows: tuple[RouteRow, ...] = ()
    """HTTPRoute and GRPCRoute."""
    splits: tuple[tuple[tuple[str, ...], tuple[Target, ...]], ...] = ()
    """TLSRoute: server names and targets. TCPRoute: one entry without names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortTraffic:
    """Routes of one port: the producer's, and those of client namespaces that use their own instead."""

    producer: PortRoutes | None = None
    consumers: Mapping[str, PortRoutes] = field(default_factory=dict)

    def seen_from(self, namespace: str) -> PortRoutes | None:
        """Choose the routes a client namespace uses."""
        return self.consumers.get(namespace, self.producer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a status, without its time."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentStatus:
    """What a route is told about one of its parents."""

    reference: Mapping[str, object]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSnapshot:
    """Everything decided."""

    trust_domain: str = "cluster.local"
    roots: bytes = b""
    """PEM of all roots trusted now."""
    mesh: MeshSettings = field(default_factory=MeshSettings)
    services: Table[Key, ServiceEntry] = field(default_factory=Table)
    service_ips: Table[str, Key] = field(default_factory=Table)
    zones: Table[str, str] = field(default_factory=Table)
    """Of each node that has one."""
    pods: Table[Key, PodEntry] = field(default_factory=Table)
    """Mesh pods only."""
    pod_ips: Table[str, Key] = field(default_factory=Table)
    traffic: Table[PortKey, PortTraffic] = field(default_factory=Table)
    route_statuses: Table[RouteKey, tuple[ParentStatus, ...]] = field(default_factory=Table)
    policy_statuses: Table[Key, tuple[Condition, ...]] = field(default_factory=Table)
    user_problems: tuple[Problem, ...] = ()
    """Mistakes in users' objects, for the log and their status."""
    model: Model = field(default_factory=Model, compare=False, repr=False)
    works: object = field(default=None, compare=False, repr=False)
    """How it was made; only the passes look inside."""
    faults: Mapping[str, Exception] = field(default_factory=dict, compare=False, repr=False)
    """What could not be made for a defect of ours and stands in its last form, by what it is."""

    def problems(self) -> list[str]:
        """Tell of every reference that leads nowhere; empty when the snapshot is whole."""
        known = {
            PortKey(key.namespace, key.name, port).cluster
            for key, entry in self.services.items()
            for port in entry.ports
        } | {xds.INVALID}
        found = [
            f"address {ip} belongs to unknown Service {key}"
            for ip, key in self.service_ips.items()
            if key not in self.services
        ]
        found += [
            f"address {ip} belongs to unknown pod {key}" for ip, key in self.pod_ips.items() if key not in self.pods
        ]
        for port, traffic in self.traffic.items():
            if port.cluster not in known:
                found.append(f"routes for unknown port {port.cluster}")
            for routes in filter(None, (traffic.producer, *traffic.consumers.values())):
                found += [
                    f"{port.cluster} routes to unknown {name}" for name in clusters_of(routes) if name not in known
                ]
        return found


def clusters_of(routes: PortRoutes) -> set[str]:
    """All clusters some routes lead to."""
    forwards = [row.action for row in routes.rows if isinstance(row.action, Forward)]
    return (
        {target.cluster for forward in forwards for target in forward.targets}
        | {cluster for forward in forwards for cluster, _ in forward.mirrors}
        | {target.cluster for _, targets in routes.splits for target in targets}
    )
