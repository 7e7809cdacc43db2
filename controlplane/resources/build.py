"""From a resource's name to the resource.

In: a snapshot, a type, a name, and who asks. Out: a `Resource`, or None where that name does not exist (for that client). Each builder
gets only what its name stands for, so a resource changes when its own inputs change and never otherwise; `depends` says
which parts of the client count, for caches. Refuses nothing: a name outside the grammar does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from controlplane.compiler.snapshot import Endpoint, MeshSnapshot, PodEntry, PortKey, PortRoutes, ServiceEntry
from controlplane.model.meta import Key
from controlplane.model.services import Protocol
from controlplane.resources import clusters, endpoints, listeners, outbound, routes, tls
from controlplane.resources.wire import Resource, finished
from meshapi import xds
from meshapi.xds import BadNameError, Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks, as far as it changes the answer."""

    namespace: str = ""
    pod: str = ""
    grpc: bool = False
    """A gRPC library without a sidecar: names listeners by `<service>.<namespace>:<port>`."""
    warm: tuple[str, ...] = ()
    """Outbound listeners this pod's workload is known to use."""
    contract: int = xds.CONTRACT
    """The level it reads; what came later is not written to it (`tests/contract/` has what each level was written)."""


def build(snapshot: MeshSnapshot, type_: Type, name: str, client: Client) -> Resource | None:
    """Build one resource."""
    try:
        message = _BUILDERS[type_](snapshot, name, client)
    except BadNameError:
        return None
    return None if message is None else finished(type_, name, message)


def depends(type_: Type, name: str) -> frozenset[str]:
    """Tell which fields of a `Client` a resource depends on besides its name."""
    if name.startswith("inbound/"):
        return frozenset({"namespace", "pod", "warm", "contract"})
    if type_ is Type.LISTENER:
        return frozenset({"namespace", "grpc", "contract"})
    if type_ is Type.CLUSTER:
        of = {"namespace", "pod"} if name.startswith("inbound:") else {"grpc"}
        return frozenset({*of, "contract"})
    return frozenset({"contract"})


def names(snapshot: MeshSnapshot, type_: Type, client: Client) -> Iterator[str]:
    """List what a wildcard subscriber (a real Envoy) gets: the view of its namespace, and what belongs to its own pod."""
    own = snapshot.pods.get(Key(client.namespace, client.pod))
    ports = [(entry, port) for entry in snapshot.services.values() for port in entry.service.ports]
    match type_:
        case Type.SECRET:
            yield xds.TRUST_BUNDLE
        case Type.LISTENER:
            for entry, port in ports:
                yield from (xds.outbound_listener(ip, port.port) for ip in entry.service.ips)
            if own:
                yield xds.inbound_listener(client.namespace, client.pod)
        case Type.CLUSTER:
            yield xds.PASSTHROUGH
            yield from (_cluster_name(entry, port.port) for entry, port in ports)
            if own:
                yield from (xds.inbound_cluster(port) for port in [*(number for number, _ in own.ports), 0])
        case Type.ENDPOINTS:
            yield from (_cluster_name(entry, port.port) for entry, port in ports)
        case Type.ROUTES:
            for entry, port in ports:
                if port.protocol.may_be_http:
                    yield _routes_of(snapshot, entry, port.port, client.namespace)[0]


def _cluster_name(entry: ServiceEntry, port: int) -> str:
    return xds.service_cluster(entry.service.key.namespace, entry.service.key.name, port)


def _routes_of(snapshot: MeshSnapshot, entry: ServiceEntry, port: int, namespace: str) -> tuple[str, PortRoutes | None]:
    """Name and find the routes a client namespace uses at a port."""
    key = entry.service.key
    traffic = snapshot.traffic.get(PortKey(key.namespace, key.name, port))
    if traffic and namespace in traffic.consumers:
        return xds.consumer_routes(key.namespace, key.name, port, namespace), traffic.consumers[namespace]
    return _cluster_name(entry, port), traffic.producer if traffic else None


def _listener(snapshot: MeshSnapshot, name: str, client: Client) -> Any:
    if name.startswith("inbound/"):
        key = Key(*xds.parse_inbound_listener(name))
        own = snapshot.pods.get(key)
        if own is None or (client.pod and key != (client.namespace, client.pod)):
            return None
        return listeners.inbound(own, snapshot.mesh, snapshot.trust_domain, client.warm)
    if not name.startswith("outbound/"):
        return _api_listener(snapshot, name, client) if client.grpc else None
    ip, port = xds.parse_outbound_listener(name)
    if xds.outbound_listener(ip, port) != name:
        return None
    service = snapshot.service_ips.get(ip)
    if service is not None:
        entry = snapshot.services[service]
        declared = entry.service.port(port)
        if declared is None:
            return None
        routes_name, attached = _routes_of(snapshot, entry, port, client.namespace)
        at = outbound.ServiceAddress(
            ip=ip, service=entry.service, port=declared, routes=attached, routes_name=routes_name
        )
        return outbound.to_service(at, snapshot.mesh)
    pod = _pod_at(snapshot, ip, port)
    return outbound.to_pod(ip, port, pod, snapshot.mesh) if pod else None


def _pod_at(snapshot: MeshSnapshot, ip: str, port: int) -> PodEntry | None:
    """Find the mesh pod whose port speaks mesh TLS; any port of it, for apps need not declare theirs."""
    key = snapshot.pod_ips.get(ip)
    entry = snapshot.pods[key] if key else None
    return entry if entry and entry.speaks_mesh(port) else None


def _api_listener(snapshot: MeshSnapshot, name: str, client: Client) -> Any:
    key = parse_grpc_name(name)
    entry = snapshot.services.get(Key(key.namespace, key.service)) if key else None
    if key is None or entry is None or entry.service.port(key.port) is None:
        return outbound.for_grpc(name, routes.no_routes(name))
    _, attached = _routes_of(snapshot, entry, key.port, client.namespace)
    return outbound.for_grpc(name, routes.routes(name, key.cluster, attached))


def parse_grpc_name(name: str) -> PortKey | None:
    """Read `<service>.<namespace>[.svc[.<cluster domain>]]:<port>`."""
    host, _, port = name.rpartition(":")
    parts = host.split(".")
    if len(parts) < 2 or not port.isdecimal() or (len(parts) > 2 and parts[2] != "svc"):
        return None
    return PortKey(parts[1], parts[0], int(port))


def _cluster(snapshot: MeshSnapshot, name: str, client: Client) -> Any:
    if name == xds.PASSTHROUGH:
        return clusters.passthrough()
    if name.startswith("inbound:"):
        own = snapshot.pods.get(Key(client.namespace, client.pod))
        number = name.removeprefix("inbound:")
        return clusters.inbound(int(number), own.protocol(int(number))) if own and number.isdecimal() else None
    if name.startswith("pod/"):
        pod, port = _pod_by_name(snapshot, name)
        return clusters.upstream(_to_pod(pod, port, snapshot.trust_domain), grpc=client.grpc) if pod else None
    key = PortKey(*xds.parse_service_cluster(name))
    entry = snapshot.services.get(Key(key.namespace, key.service))
    declared = entry.service.port(key.port) if entry else None
    if entry is None or declared is None or entry.service.external:
        return None
    of = clusters.Upstream(
        name=name,
        namespace=key.namespace,
        owner=key.service,
        port=key.port,
        protocol=declared.protocol,
        identities=entry.ports[key.port].identities,
        trust_domain=snapshot.trust_domain,
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


def _pod_by_name(snapshot: MeshSnapshot, name: str) -> tuple[PodEntry | None, int]:
    """Read `pod/<namespace>/<pod>:<port>`; no pod where nobody speaks mesh TLS there."""
    namespace, pod, port = xds.parse_service_cluster(name.removeprefix("pod/"))
    entry = snapshot.pods.get(Key(namespace, pod))
    return (entry if entry and entry.pod.ips and entry.speaks_mesh(port) else None), port


def _endpoints(snapshot: MeshSnapshot, name: str, _client: Client) -> Any:
    if name.startswith("pod/"):
        pod, port = _pod_by_name(snapshot, name)
        return endpoints.assignment(name, [_pod_endpoint(pod, port)]) if pod else None
    namespace, service, port = xds.parse_service_cluster(name)
    entry = snapshot.services.get(Key(namespace, service))
    found = entry.ports.get(port) if entry else None
    return None if found is None else endpoints.assignment(name, found.endpoints)


def _pod_endpoint(entry: PodEntry, port: int) -> Endpoint:
    pod = entry.pod
    return Endpoint(
        address=pod.ips[0],
        port=port,
        mesh=True,
        identity=entry.identity,
        pod=pod.key.name,
        namespace=pod.key.namespace,
        workload=pod.workload,
        app=pod.app,
        version=pod.version,
    )


def _routes(snapshot: MeshSnapshot, name: str, _client: Client) -> Any:
    port_name, _, consumer = name.partition("@")
    key = PortKey(*xds.parse_service_cluster(port_name))
    entry = snapshot.services.get(Key(key.namespace, key.service))
    declared = entry.service.port(key.port) if entry else None
    if declared is None or not declared.protocol.may_be_http:
        return None
    traffic = snapshot.traffic.get(key)
    if consumer:
        if traffic is None or consumer not in traffic.consumers:
            return None
        return routes.routes(name, key.cluster, traffic.consumers[consumer])
    return routes.routes(name, key.cluster, traffic.producer if traffic else None)


def _secret(snapshot: MeshSnapshot, name: str, _client: Client) -> Any:
    return tls.trust(snapshot.roots) if name == xds.TRUST_BUNDLE and snapshot.roots else None


_BUILDERS = {
    Type.SECRET: _secret,
    Type.CLUSTER: _cluster,
    Type.ENDPOINTS: _endpoints,
    Type.LISTENER: _listener,
    Type.ROUTES: _routes,
}
