"""Outbound listeners: what a sidecar does with connections to one address, and API listeners, where gRPC clients start.

In: one Service port (or mesh pod's port) and the routes a client namespace uses there. Out: a Listener.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.compiler.snapshot import PodEntry, PortRoutes, Target
from controlplane.model.mesh import MeshSettings
from controlplane.model.services import Protocol, Service, ServicePort
from controlplane.resources.envoy import (
    ADS,
    HCM,
    PLAINTEXT_HTTP,
    ROUTER,
    address,
    facts,
    http_filter,
    listener_filters,
    make,
    packed,
    seconds,
    tcp_filter,
)
from controlplane.resources.routeconfig import plain_routes
from meshapi import xds

_LISTENER = "envoy.config.listener.v3.Listener"
_CONNECTION_KINDS = frozenset({"TCPRoute", "TLSRoute"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddress:
    """A Service port at one of its ClusterIPs, with the routes the asking namespace uses there."""

    ip: str
    service: Service
    port: ServicePort
    routes: PortRoutes | None
    routes_name: str


def to_service(at: ServiceAddress, mesh: MeshSettings) -> Any:
    """Write the listener for a ClusterIP and port."""
    service, port, routes = at.service, at.port, at.routes
    cluster = xds.service_cluster(service.key.namespace, service.key.name, port.port)
    if routes is not None and routes.kind in _CONNECTION_KINDS:
        chains = _route_chains(cluster, routes)
        inspectors = ["tls_inspector"] if routes.kind == "TLSRoute" else []
    else:
        rds = {"config_source": ADS, "route_config_name": at.routes_name}
        http = http_filter(cluster, rds=rds)
        chains = _chains(port.protocol, http, tcp_filter(cluster, [(cluster, 1)]))
        inspectors = ["http_inspector"] if port.protocol is Protocol.AUTO else []
    return _listener(
        at.ip,
        port.port,
        chains=chains,
        inspectors=inspectors,
        mesh=mesh,
        metadata=facts(
            kind="service",
            service=service.key.name,
            namespace=service.key.namespace,
            port=port.port,
            protocol=port.protocol.value,
        ),
    )


def to_pod(ip: str, port: int, entry: PodEntry, mesh: MeshSettings) -> Any:
    """Write the listener for a mesh pod's own address: no routes apply there (GEP-1294), identity does."""
    key, protocol = entry.pod.key, entry.protocol(port)
    cluster = xds.pod_cluster(key.namespace, key.name, port)
    http = http_filter(cluster, route_config=plain_routes(cluster, cluster))
    return _listener(
        ip,
        port,
        chains=_chains(protocol, http, tcp_filter(cluster, [(cluster, 1)])),
        inspectors=["http_inspector"] if protocol is Protocol.AUTO else [],
        mesh=mesh,
        metadata=facts(kind="pod", pod=key.name, namespace=key.namespace, port=port, protocol=protocol.value),
    )


def _listener(  # noqa: PLR0913 - one message, its parts by name
    ip: str, port: int, *, chains: list[dict[str, Any]], inspectors: Sequence[str], mesh: MeshSettings, metadata: Any
) -> Any:
    return make(
        _LISTENER,
        name=xds.outbound_listener(ip, port),
        address=address(ip, port),
        bind_to_port={"value": False},
        traffic_direction="OUTBOUND",
        listener_filters=listener_filters(*inspectors),
        listener_filters_timeout=seconds(mesh.detection_timeout),
        continue_on_listener_filters_timeout=True,
        metadata=metadata,
        filter_chains=chains,
    )


def _chains(protocol: Protocol, http: dict[str, Any], tcp: dict[str, Any]) -> list[dict[str, Any]]:
    """A declared protocol has its one chain; an undeclared one is looked at."""
    if protocol.is_http:
        return [{"name": "http", "filters": [http]}]
    if protocol is Protocol.AUTO:
        # `http/1.1` is what plaintext was found to be, and what an HTTPS client's hello offers: only bytes that are no TLS are HTTP to us.
        plain = {"transport_protocol": "raw_buffer"}
        match = {**plain, "application_protocols": list(PLAINTEXT_HTTP)}
        return [
            {"name": "http", "filter_chain_match": match, "filters": [http]},
            {"name": "tcp", "filter_chain_match": plain, "filters": [tcp]},
            {"name": "app-tls", "filters": [tcp]},
        ]
    return [{"name": "tcp", "filters": [tcp]}]


def _route_chains(prefix: str, routes: PortRoutes) -> list[dict[str, Any]]:
    """TCPRoute: one chain. TLSRoute: one chain a route, by server name; a name belongs to the oldest route that has it."""
    if routes.kind == "TCPRoute":
        return [{"name": "tcp", "filters": [tcp_filter(prefix, _shares(routes.splits[0][1]))]}]
    chains = []
    taken: set[str] = set()
    for number, (hosts, targets) in enumerate(routes.splits):
        free = [host for host in dict.fromkeys(hosts or ("*",)) if host not in taken]
        taken.update(free)
        if not free:
            continue
        match = {"transport_protocol": "tls", "server_names": [host for host in free if host != "*"]}
        chain = {
            "name": f"tls-{number}",
            "filter_chain_match": match,
            "filters": [tcp_filter(prefix, _shares(targets))],
        }
        chains.append(chain)
    return chains


def _shares(targets: Sequence[Target]) -> list[tuple[str, int]]:
    return [(target.cluster, target.weight) for target in targets] or [(xds.INVALID, 1)]


def for_grpc(name: str, route_config: Any) -> Any:
    """Write an API listener with its routes inline.

    Without any route every call fails at once, which is how a name that does not exist is answered: gRPC would wait 15 seconds for
    silence to mean that.
    """
    manager = packed(
        HCM,
        stat_prefix=name,
        http_filters=[{"name": "router", "typed_config": packed(ROUTER)}],
        route_config=route_config,
    )
    return make(_LISTENER, name=name, api_listener={"api_listener": manager})
