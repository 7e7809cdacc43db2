"""Who serves what, where: the endpoints of each Service port, and mesh pods as they are reached by their own address.

In: the model, and each pod's policy. Out: `ServiceEntry` by Service and `PodEntry` by mesh pod. An endpoint counts when it is ready;
terminating ones only while there is no ready one (Kubernetes' own rule for ClusterIPs, KEP-1669). Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from controlplane.compiler.memo import Memo
from controlplane.compiler.snapshot import Endpoint, PodEntry, PodPolicy, PortEndpoints, ServiceEntry
from controlplane.model.mesh import Model
from controlplane.model.meta import Key
from controlplane.model.services import EndpointSlice, Protocol, Service, ServicePort, SliceEndpoint
from controlplane.model.workloads import Node, Pod
from meshapi.identity import BadIdentityError, Identity

Policies = Mapping[Key, PodPolicy]


def slices_by_service(model: Model, services: Collection[Key]) -> dict[Key, list[EndpointSlice]]:
    """Group the slices of some Services, in a fixed order."""
    grouped: dict[Key, list[EndpointSlice]] = {}
    for one in model.slices.values():
        if one.service in services:
            grouped.setdefault(one.service, []).append(one)
    for group in grouped.values():
        group.sort(key=lambda one: one.key)
    return grouped


def identity_of(pod: Pod, trust_domain: str) -> str:
    """Tell a pod's SPIFFE URI; empty when its names cannot be one."""
    try:
        return str(Identity(trust_domain=trust_domain, namespace=pod.key.namespace, account=pod.account))
    except BadIdentityError:
        return ""


def compile_services(
    model: Model, policies: Policies, memo: Memo[Key, ServiceEntry], only: Collection[Key] | None = None
) -> dict[Key, ServiceEntry]:
    """Compile each Service whose own object, slices, pods, policies or nodes changed; of `only` these, where no other can have."""
    wanted = model.services.keys() if only is None else only
    grouped = slices_by_service(model, wanted)
    entries = {}
    for key in wanted:
        service = model.services.get(key)
        if service is None:
            memo.forget(key)
            continue
        slices = grouped.get(key, [])
        endpoints = [endpoint for one in slices for endpoint in one.endpoints]
        pods = [model.pods.get(endpoint.pod) if endpoint.pod else None for endpoint in endpoints]
        inputs = (
            service,
            model.trust_domain,
            *slices,
            *pods,
            *(policies.get(pod.key) if pod else None for pod in pods),
            *(None if endpoint.zone else model.nodes.get(Key("", endpoint.node)) for endpoint in endpoints),
        )
        entry = memo.get(
            key,
            inputs,
            lambda s=service, g=slices: _entry(s, g, model, policies),  # type: ignore[misc]
        )
        if entry is not None:
            entries[key] = entry
    return entries


def _entry(service: Service, slices: Iterable[EndpointSlice], model: Model, policies: Policies) -> ServiceEntry:
    ports: dict[int, PortEndpoints] = {}
    backing: set[tuple[Key, int, Protocol]] = set()
    for port in service.ports:
        found = [pair for one in slices for pair in _at_port(one, port) if _known(pair[0].pod, model, policies)]
        usable = [pair for pair in found if pair[0].ready and not pair[0].terminating]
        usable = usable or [pair for pair in found if pair[0].serving and pair[0].terminating]
        made = {(e.address, number): _endpoint(e, number, model, policies) for e, number in usable}
        endpoints = tuple(made[address] for address in sorted(made))
        identities = tuple(sorted({e.identity for e in endpoints if e.identity}))
        ports[port.port] = PortEndpoints(endpoints=endpoints, identities=identities)
        backing.update((e.pod, number, port.protocol) for e, number in found if e.pod)
    order = sorted(backing, key=lambda one: (one[0], one[1], one[2].value))
    return ServiceEntry(service=service, ports=ports, backing=tuple(order))


def _known(pod: Key | None, model: Model, policies: Policies) -> bool:
    """An endpoint whose pod is not seen or decided yet waits for it: called in plaintext it would be called without its identity."""
    return pod is None or (pod in model.pods and (pod in policies or not model.pods[pod].mesh))


def _at_port(one: EndpointSlice, port: ServicePort) -> list[tuple[SliceEndpoint, int]]:
    """Pair a slice's endpoints with the number they serve a Service port at; ports correspond by name."""
    for name, number in one.ports:
        if name == port.name:
            return [(endpoint, number or port.port) for endpoint in one.endpoints]
    return []


def _endpoint(raw: SliceEndpoint, port: int, model: Model, policies: Policies) -> Endpoint:
    pod = model.pods.get(raw.pod) if raw.pod else None
    node = model.nodes.get(Key("", raw.node), Node(name=""))
    zone = raw.zone or node.zone
    if pod is None:
        return Endpoint(address=raw.address, port=port, zone=zone)
    policy = policies.get(pod.key)
    entry = PodEntry(pod=pod, identity=identity_of(pod, model.trust_domain), policy=policy) if policy else None
    mesh = entry is not None and entry.speaks_mesh(port)
    return Endpoint(
        address=raw.address,
        port=port,
        zone=zone,
        mesh=mesh,
        identity=entry.identity if entry and mesh else "",
        pod=pod.key.name,
        namespace=pod.key.namespace,
        workload=pod.workload,
        app=pod.app,
        version=pod.version,
    )


def compile_pods(
    model: Model,
    services: Mapping[Key, ServiceEntry],
    policies: Policies,
    memo: Memo[Key, PodEntry],
    only: Collection[Key] | None = None,
) -> dict[Key, PodEntry]:
    """Compile each mesh pod, or of `only` these: its identity, its policy, its known ports and what they speak."""
    wanted = policies.keys() if only is None else only
    served: dict[Key, list[tuple[int, Protocol]]] = {}
    for service in services.values():
        for key, port, protocol in service.backing:
            if key in wanted:
                served.setdefault(key, []).append((port, protocol))
    entries = {}
    for key in wanted:
        policy = policies.get(key)
        if policy is None:
            memo.forget(key)
            continue
        pod, behind = model.pods[key], served.get(key, [])
        entry = memo.get(
            key,
            (pod, policy, behind, model.trust_domain),
            lambda p=pod, q=policy, s=behind: PodEntry(  # type: ignore[misc]
                pod=p, identity=identity_of(p, model.trust_domain), policy=q, ports=_known_ports(p, s)
            ),
        )
        if entry is not None:
            entries[key] = entry
    return entries


def _known_ports(pod: Pod, served: Iterable[tuple[int, Protocol]]) -> tuple[tuple[int, Protocol], ...]:
    """A port speaks what the Services in front of it declare; when they disagree, the sidecar looks for itself."""
    ports = {one.port: Protocol.AUTO for one in pod.ports}
    declared: dict[int, set[Protocol]] = {}
    for number, protocol in served:
        declared.setdefault(number, set()).add(protocol)
    for number, protocols in declared.items():
        spoken = protocols - {Protocol.AUTO}
        ports[number] = next(iter(spoken)) if len(spoken) == 1 else Protocol.AUTO
    for number in pod.opaque & ports.keys():
        ports[number] = Protocol.TCP
    return tuple(sorted((number, protocol) for number, protocol in ports.items() if number not in pod.excluded))
