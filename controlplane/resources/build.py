"""From a resource's name to the resource.

In: a snapshot, a type, a name, and who asks. Out: a `Resource`, or None where that name does not exist (for that client), and what of the snapshot was
read for it. Builders see the snapshot through `Reads` alone and of the client what `form` leaves of it, so a resource is what these are and nothing
else, and can be kept for as long as they are the same. Refuses nothing: a name outside the grammar does not exist.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from controlplane.compiler.nearness import seen_from
from controlplane.compiler.reads import Input, Reads
from controlplane.compiler.snapshot import Endpoint, MeshSnapshot, PodEntry, PortKey, PortRoutes
from controlplane.model.meta import Key
from controlplane.model.services import Protocol, Service
from controlplane.resources import clusters, endpoints, listeners, outbound, routeconfig, tls
from controlplane.resources.envoy import Resource, finished
from meshapi import xds
from meshapi.xds import BadNameError, Type

_NOWHERE = "-"
"""Stands for the node or namespace of a client nobody knows it of; none is called so."""


class Client(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who asks, as far as it changes the answer."""

    namespace: str = ""
    pod: str = ""
    grpc: bool = False
    """A gRPC library without a sidecar: names listeners by `<service>.<namespace>:<port>`."""
    warm: tuple[str, ...] = ()
    """Outbound listeners this pod's workload is known to use."""
    contract: int = xds.CONTRACT
    """The level it reads; what came later is not written to it (`tests/contract/` has what each level was written)."""
    families: tuple[int, ...] = ()
    """Families of its pod's addresses (4, 6), the first one first; empty when they are not known."""
    node: str = ""
    """Where it runs; matters where a Service's endpoints are not the same for all callers."""


class Placed(enum.Enum):
    """A resource that is another one for callers elsewhere, on other nodes or in other namespaces: `placed` says of whom."""

    PLACED = enum.auto()


PLACED = Placed.PLACED


def build(
    snapshot: MeshSnapshot, type_: Type, name: str, client: Client, into: set[Input] | None = None
) -> Resource | None:
    """Build one resource; what was read for it is added to `into`."""
    made = in_form(snapshot, type_, name, form(type_, name, client), into)
    return in_form(snapshot, type_, name, placed(type_, client), into) if made is PLACED else made  # type: ignore[return-value]


def in_form(
    snapshot: MeshSnapshot, type_: Type, name: str, client: Client, into: set[Input] | None = None
) -> Resource | Placed | None:
    """Build one resource for clients of a form; PLACED where that does not say enough of them."""
    try:
        message = _BUILDERS[type_](Reads(snapshot, set() if into is None else into), name, client)
    except BadNameError:
        return None
    return message if message is None or message is PLACED else finished(type_, name, message)


def placed(type_: Type, client: Client) -> Client:
    """Leave of a client what a resource depends on that is PLACED in its form."""
    if type_ is Type.LISTENER:
        return Client(namespace=client.namespace or _NOWHERE, grpc=client.grpc, contract=client.contract)
    return Client(contract=client.contract, families=client.families, node=client.node or _NOWHERE)


def form(type_: Type, name: str, client: Client) -> Client:
    """Leave of a client what a resource, or `names` (as `*`), depends on besides its name: clients alike in that get the same."""
    if name == "*" and type_ in {Type.ENDPOINTS, Type.SECRET}:
        return Client(contract=client.contract)
    if name == "*" and type_ is Type.ROUTES:
        return Client(namespace=client.namespace, contract=client.contract)
    if name == "*":
        return Client(namespace=client.namespace, pod=client.pod, contract=client.contract)
    if name.startswith("inbound/"):
        return Client(namespace=client.namespace, pod=client.pod, warm=client.warm, contract=client.contract)
    if type_ is Type.CLUSTER and name.startswith("inbound:"):
        return Client(namespace=client.namespace, pod=client.pod, contract=client.contract)
    if type_ in {Type.LISTENER, Type.CLUSTER}:
        return Client(grpc=client.grpc, contract=client.contract)
    if type_ is Type.ENDPOINTS:
        return Client(contract=client.contract, families=client.families)
    return Client(contract=client.contract)


def names(snapshot: MeshSnapshot, type_: Type, client: Client, into: set[Input] | None = None) -> Iterator[str]:
    """List what a wildcard subscriber (a real Envoy) gets: the view of its namespace, and what belongs to its own pod."""
    seen = Reads(snapshot, set() if into is None else into)
    match type_:
        case Type.SECRET:
            yield xds.TRUST_BUNDLE
        case Type.LISTENER:
            for service in seen.services():
                yield from (xds.outbound_listener(ip, port.port) for port in service.ports for ip in service.addresses)
            if seen.pod(Key(client.namespace, client.pod)):
                yield xds.inbound_listener(client.namespace, client.pod)
        case Type.CLUSTER:
            yield xds.PASSTHROUGH
            yield from _ports_of(seen)
            own = seen.pod(Key(client.namespace, client.pod))
            if own:
                yield from (xds.inbound_cluster(port) for port in [*(number for number, _ in own.ports), 0])
        case Type.ENDPOINTS:
            yield from _ports_of(seen)
        case Type.ROUTES:
            for service in seen.services():
                for port in service.ports:
                    if port.protocol.may_be_http:
                        yield _routes_of(seen, service, port.port, client.namespace)[0]


def reachable(snapshot: MeshSnapshot, name: str) -> bool:
    """Tell whether an outbound listener exists, without writing it."""
    seen = Reads(snapshot, set())
    try:
        ip, port = xds.parse_outbound_listener(name)
    except BadNameError:
        return False
    if xds.outbound_listener(ip, port) != name:
        return False
    service = seen.service_at(ip)
    if service is None:
        return _pod_at(seen, ip, port) is not None
    found = seen.service(service)
    return found is not None and found.port(port) is not None


def _ports_of(seen: Reads) -> Iterator[str]:
    return (_cluster_name(service, port.port) for service in seen.services() for port in service.ports)


def _cluster_name(service: Service, port: int) -> str:
    return xds.service_cluster(service.key.namespace, service.key.name, port)


def _differs(seen: Reads, service: Service, port: int, client: Client) -> bool:
    """Tell whether a form says too little of a client: some namespace uses routes of its own there."""
    traffic = seen.traffic(PortKey(service.key.namespace, service.key.name, port))
    return not client.namespace and traffic is not None and bool(traffic.consumers)


def _routes_of(seen: Reads, service: Service, port: int, namespace: str) -> tuple[str, PortRoutes | None]:
    """Name and find the routes a client namespace uses at a port."""
    key = service.key
    traffic = seen.traffic(PortKey(key.namespace, key.name, port))
    if traffic and namespace in traffic.consumers:
        return xds.consumer_routes(key.namespace, key.name, port, namespace), traffic.consumers[namespace]
    return _cluster_name(service, port), traffic.producer if traffic else None


def _listener(seen: Reads, name: str, client: Client) -> Any:
    if name.startswith("inbound/"):
        key = Key(*xds.parse_inbound_listener(name))
        own = seen.pod(key)
        if own is None or (client.pod and key != (client.namespace, client.pod)):
            return None
        return listeners.inbound(own, seen.mesh(), seen.trust_domain(), client.warm)
    if not name.startswith("outbound/"):
        return _api_listener(seen, name, client) if client.grpc else None
    ip, port = xds.parse_outbound_listener(name)
    if xds.outbound_listener(ip, port) != name:
        return None
    owner = seen.service_at(ip)
    if owner is not None:
        service = seen.service(owner)
        declared = service.port(port) if service else None
        if service is None or declared is None:
            return None
        if _differs(seen, service, port, client):
            return PLACED
        routes_name, attached = _routes_of(seen, service, port, client.namespace)
        at = outbound.ServiceAddress(ip=ip, service=service, port=declared, routes=attached, routes_name=routes_name)
        return outbound.to_service(at, seen.mesh())
    pod = _pod_at(seen, ip, port)
    return outbound.to_pod(ip, port, pod, seen.mesh()) if pod else None


def _pod_at(seen: Reads, ip: str, port: int) -> PodEntry | None:
    """Find the mesh pod whose port speaks mesh TLS; any port of it, for apps need not declare theirs."""
    key = seen.pod_at(ip)
    entry = seen.pod(key) if key else None
    return entry if entry and entry.speaks_mesh(port) else None


def _api_listener(seen: Reads, name: str, client: Client) -> Any:
    key = parse_grpc_name(name)
    service = seen.service(Key(key.namespace, key.service)) if key else None
    if key is None or service is None or service.port(key.port) is None:
        return outbound.for_grpc(name, routeconfig.no_routes(name))
    if _differs(seen, service, key.port, client):
        return PLACED
    _, attached = _routes_of(seen, service, key.port, client.namespace)
    return outbound.for_grpc(name, routeconfig.routes(name, key.cluster, attached, client.contract))


def parse_grpc_name(name: str) -> PortKey | None:
    """Read `<service>.<namespace>[.svc[.<cluster domain>]]:<port>`."""
    host, _, port = name.rpartition(":")
    parts = host.split(".")
    number = xds.port_of(port)
    if len(parts) < 2 or number is None or (len(parts) > 2 and parts[2] != "svc"):
        return None
    return PortKey(parts[1], parts[0], number)


def _cluster(seen: Reads, name: str, client: Client) -> Any:
    if name == xds.PASSTHROUGH:
        return clusters.passthrough()
    if name.startswith("inbound:"):
        own = seen.pod(Key(client.namespace, client.pod))
        number = xds.port_of(name.removeprefix("inbound:"))
        return clusters.inbound(number, own.protocol(number)) if own and number is not None else None
    if name.startswith("pod/"):
        pod, port = _pod_by_name(seen, name)
        return clusters.upstream(_to_pod(pod, port, seen.trust_domain()), grpc=client.grpc) if pod else None
    key = PortKey(*xds.parse_service_cluster(name))
    service = seen.service(Key(key.namespace, key.service))
    declared = service.port(key.port) if service else None
    if service is None or declared is None or service.external:
        return None
    of = clusters.Upstream(
        name=name,
        namespace=key.namespace,
        owner=key.service,
        port=key.port,
        protocol=declared.protocol,
        identities=seen.identities(key),
        trust_domain=seen.trust_domain(),
    )
    return clusters.upstream(of, grpc=client.grpc)


def _to_pod(entry: PodEntry, port: int, trust_domain: str) -> clusters.Upstream:
    key = entry.pod.key
    return clusters.Upstream(
        name=xds.pod_cluster(key.namespace, key.name, port),
        namespace=key.namespace,
        owner=key.name,
        port=port,
        protocol=entry.protocol(port) if port else Protocol.AUTO,
        identities=[entry.identity] if entry.identity else [],
        trust_domain=trust_domain,
    )


def _pod_by_name(seen: Reads, name: str) -> tuple[PodEntry | None, int]:
    """Read `pod/<namespace>/<pod>:<port>`; no pod where nobody speaks mesh TLS there."""
    namespace, pod, port = xds.parse_service_cluster(name.removeprefix("pod/"))
    entry = seen.pod(Key(namespace, pod))
    return (entry if entry and entry.pod.ips and entry.speaks_mesh(port) else None), port


def _endpoints(seen: Reads, name: str, client: Client) -> Any:
    if name.startswith("pod/"):
        pod, port = _pod_by_name(seen, name)
        if pod is None:
            return None
        of_pod: Iterable[Endpoint] = [_pod_endpoint(pod, port, ip) for ip in pod.pod.ips]
        return endpoints.assignment(name, endpoints.of_one_family(of_pod, client.families)[:1])
    served = seen.endpoints(PortKey(*xds.parse_service_cluster(name)))
    if served is None:
        return None
    if not served.placed:
        return endpoints.assignment(name, endpoints.of_one_family(served.endpoints, client.families))
    if not client.node:
        return PLACED
    node = "" if client.node == _NOWHERE else client.node
    family = replace(
        served,
        endpoints=tuple(endpoints.of_one_family(served.endpoints, client.families)),
        ending=tuple(endpoints.of_one_family(served.ending, client.families)),
    )
    return endpoints.assignment(name, seen_from(family, node, seen.zone(node)))


def _pod_endpoint(entry: PodEntry, port: int, ip: str) -> Endpoint:
    pod = entry.pod
    return Endpoint(
        address=ip,
        port=port,
        mesh=True,
        identity=entry.identity,
        pod=pod.key.name,
        namespace=pod.key.namespace,
        workload=pod.workload,
        app=pod.app,
        version=pod.version,
    )


def _routes(seen: Reads, name: str, client: Client) -> Any:
    port_name, mark, consumer = name.partition("@")
    key = PortKey(*xds.parse_service_cluster(port_name))
    service = seen.service(Key(key.namespace, key.service))
    declared = service.port(key.port) if service else None
    if declared is None or not declared.protocol.may_be_http:
        return None
    traffic = seen.traffic(key)
    if mark:
        if traffic is None or consumer not in traffic.consumers:
            return None
        return routeconfig.routes(name, key.cluster, traffic.consumers[consumer], client.contract)
    return routeconfig.routes(name, key.cluster, traffic.producer if traffic else None, client.contract)


def _secret(seen: Reads, name: str, _client: Client) -> Any:
    roots = seen.roots() if name == xds.TRUST_BUNDLE else b""
    return tls.trust(roots) if roots else None


_BUILDERS = {
    Type.SECRET: _secret,
    Type.CLUSTER: _cluster,
    Type.ENDPOINTS: _endpoints,
    Type.LISTENER: _listener,
    Type.ROUTES: _routes,
}
