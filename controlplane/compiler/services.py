"""Who serves what, where: the endpoints of each Service port, and mesh pods as they are reached by their own address.

In: a Service with its slices, or a mesh pod with what it serves; the model, and each pod's policy. Out: `ServiceEntry` or `PodEntry`. An endpoint counts when it is ready, as
it is while it ends where `publishNotReadyAddresses` says so; else one that ends and still serves, only while there is no ready one (kube-proxy's rule, KEP-1669). Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from controlplane.compiler.snapshot import Endpoint, PodEntry, PodPolicy, PortEndpoints, ServiceEntry
from controlplane.model.mesh import Model
from controlplane.model.meta import Key
from controlplane.model.services import EndpointSlice, Protocol, Service, ServicePort, SliceEndpoint
from controlplane.model.workloads import Node, Pod
from meshapi.identity import BadIdentityError, Identity

Policies = Mapping[Key, PodPolicy]
Place = tuple[str, int]
"""Where an endpoint is: address and port."""

_NOBODY, _NOWHERE = Pod(key=Key("", "")), Node(name="")
"""Stand for the pod and the node of an endpoint that has none."""


def identity_of(pod: Pod, trust_domain: str) -> str:
    """Tell a pod's SPIFFE URI; empty when its names cannot be one."""
    try:
        return str(Identity(trust_domain=trust_domain, namespace=pod.key.namespace, account=pod.account))
    except BadIdentityError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """How a Service was compiled last, and what of that is another one now."""

    entry: ServiceEntry | None = None
    ends: Container[int] = ()
    """By identity, the endpoints it was made of."""
    pods: Container[Key | None] = ()
    """Pods that changed since, or whose policy did."""
    nodes: Container[str] = ()
    """Nodes whose zone is another one since."""

    @classmethod
    def of(
        cls,
        entry: ServiceEntry | None,
        slices: Iterable[EndpointSlice],
        pods: Container[Key | None],
        nodes: Container[str],
    ) -> Last:
        """Describe it by the slices of then; where two endpoints had one address, nobody knows which of them was taken."""
        ends = {end.address: id(end) for one in slices for end in one.endpoints}
        listed = sum(len(one.endpoints) for one in slices)
        return cls(entry=entry, ends=frozenset(ends.values()) if len(ends) == listed else (), pods=pods, nodes=nodes)

    def holds(self, end: SliceEndpoint) -> bool:
        """Tell whether what was made of an endpoint is what would be made of it now."""
        return id(end) in self.ends and end.pod not in self.pods and end.node not in self.nodes

    def endpoints(self, port: int) -> dict[Place, Endpoint]:
        """What was made for a port."""
        made = self.entry.ports.get(port) if self.entry else None
        return {(end.address, end.port): end for end in (*made.endpoints, *made.ending)} if made else {}


def compile_service(
    service: Service, slices: Iterable[EndpointSlice], model: Model, policies: Policies, last: Last
) -> ServiceEntry:
    """Decide who serves a Service, port by port; endpoints that are what they were stay the same objects."""
    listed = sorted(slices, key=lambda one: one.key)
    ports: dict[int, PortEndpoints] = {}
    backing: dict[Key, tuple[tuple[int, Protocol], ...]] = {}
    for port in service.ports:
        found = [pair for one in listed for pair in _at_port(one, port) if _known(pair[0].pod, model, policies)]
        ready = [pair for pair in found if pair[0].ready]
        ending = [pair for pair in found if not pair[0].ready and pair[0].serving and pair[0].terminating]
        kept = last.endpoints(port.port)
        endpoints = _made(ready if ready or service.local else ending, kept, last, model, policies)
        late = _made(ending if service.local else (), kept, last, model, policies)
        identities = {one.identity for one in (*endpoints, *late) if one.identity}
        ports[port.port] = PortEndpoints(
            endpoints=endpoints, identities=tuple(sorted(identities)), local=service.local, ending=late
        )
        for end, number in found:
            if end.pod:
                backing[end.pod] = _with(backing.get(end.pod, ()), (number, port.protocol))
    return ServiceEntry(service=service, ports=ports, backing=backing)


def _with(served: tuple[tuple[int, Protocol], ...], one: tuple[int, Protocol]) -> tuple[tuple[int, Protocol], ...]:
    """Add a port to those a pod serves, in their order."""
    if one in served:
        return served
    return tuple(sorted((*served, one), key=lambda at: (at[0], at[1].value))) if served else (one,)


def _made(
    pairs: Iterable[tuple[SliceEndpoint, int]],
    kept: Mapping[Place, Endpoint],
    last: Last,
    model: Model,
    policies: Policies,
) -> tuple[Endpoint, ...]:
    """Give endpoints in the order of their addresses; one that is what it was stays the same object."""
    made: dict[Place, Endpoint] = {}
    for end, number in pairs:
        at = end.address, number
        old = kept.get(at)
        if old is None or not last.holds(end):
            new = _endpoint(end, number, model, policies)
            old = old if old == new else new
        made[at] = old
    return tuple(made[address] for address in sorted(made))


def _known(pod: Key | None, model: Model, policies: Policies) -> bool:
    """An endpoint whose pod is not seen or decided yet waits for it: called in plaintext it would be called without its identity."""
    if pod is None:
        return True
    seen = model.pods.get(pod)
    return seen is not None and (not seen.mesh or pod in policies)


def _at_port(one: EndpointSlice, port: ServicePort) -> list[tuple[SliceEndpoint, int]]:
    """Pair a slice's endpoints with the number they serve a Service port at; ports correspond by name."""
    for name, number in one.ports:
        if name == port.name:
            return [(endpoint, number or port.port) for endpoint in one.endpoints]
    return []


def _endpoint(raw: SliceEndpoint, port: int, model: Model, policies: Policies) -> Endpoint:
    pod = model.pods.get(raw.pod, _NOBODY) if raw.pod else _NOBODY
    policy = policies.get(pod.key)
    entry = PodEntry(pod=pod, identity=identity_of(pod, model.trust_domain), policy=policy) if policy else None
    mesh = entry is not None and entry.speaks_mesh(port)
    return Endpoint(
        address=raw.address,
        port=port,
        node=raw.node,
        zone=raw.zone or model.nodes.get(Key("", raw.node), _NOWHERE).zone,
        for_zones=raw.for_zones,
        for_nodes=raw.for_nodes,
        mesh=mesh,
        identity=entry.identity if entry and mesh else "",
        pod=pod.key.name,
        namespace=pod.key.namespace,
        workload=pod.workload,
        app=pod.app,
        version=pod.version,
    )


def compile_pod(pod: Pod, policy: PodPolicy, served: Iterable[tuple[int, Protocol]], trust_domain: str) -> PodEntry:
    """Decide a mesh pod: its identity, its policy, its known ports and what they speak."""
    return PodEntry(pod=pod, identity=identity_of(pod, trust_domain), policy=policy, ports=_known_ports(pod, served))


def _known_ports(pod: Pod, served: Iterable[tuple[int, Protocol]]) -> tuple[tuple[int, Protocol], ...]:
    """A port speaks what the Services in front of it declare; when they disagree, the sidecar looks for itself."""
    ports = {one.port: Protocol.AUTO for one in pod.ports}
    declared: dict[int, set[Protocol]] = {}
    for number, protocol in served:
        declared.setdefault(number, set()).add(protocol)
    for number, protocols in declared.items():
        spoken = protocols - {Protocol.AUTO}
        ports[number] = next(iter(spoken)) if len(spoken) == 1 else Protocol.AUTO
    for number in ports:
        if number in pod.opaque:
            ports[number] = Protocol.TCP
    return tuple(sorted((number, protocol) for number, protocol in ports.items() if number not in pod.excluded))
