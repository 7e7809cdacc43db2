"""Clusters and load assignments, from Envoy's messages to nouns.

In: Cluster and ClusterLoadAssignment messages. Out: `Cluster`, `Endpoints`. Refuses cluster types, policies and endpoint addresses it cannot
serve (names would have to be resolved; a hash policy promises affinity).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from dataplane.config import AppProtocol, CircuitLimits, Cluster, Endpoint, Endpoints, TlsContext
from dataplane.xds.decode_tls import transport_socket
from dataplane.xds.reading import (
    RefusedError,
    choice,
    keepalive,
    kind_of,
    maybe_seconds,
    number,
    plain,
    refuse_fields,
    seconds,
    socket_address,
    unpacked,
)
from meshapi import xds

_KINDS = {"EDS": "eds", "STATIC": "static", "ORIGINAL_DST": "original_dst"}
_POLICIES = {
    "ROUND_ROBIN": "round_robin",
    "LEAST_REQUEST": "least_request",
    "RANDOM": "random",
    "CLUSTER_PROVIDED": "round_robin",
    "RoundRobin": "round_robin",
    "LeastRequest": "least_request",
    "Random": "random",
}
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_USABLE = frozenset({"UNKNOWN", "HEALTHY"})


def cluster(message: Any) -> Cluster:
    """Read a Cluster."""
    where = f"cluster {message.name}"
    refuse_fields(message, where, "cluster_type", "lb_subset_config", "filters")
    kind = _KINDS.get(choice(message, "type", where))
    if kind is None or message.WhichOneof("cluster_discovery_type") == "cluster_type":
        raise RefusedError(f"{where}: its type is not supported; use EDS, STATIC or ORIGINAL_DST")
    tls, mesh_tls = _sockets(message, where)
    protocol, http2 = _protocol(message, where)
    common = _common(message, where)
    return Cluster(
        name=message.name,
        kind=kind,
        endpoints_name=(message.eds_cluster_config.service_name or message.name) if kind == "eds" else "",
        static=endpoints(message.load_assignment, message.name) if kind == "static" else None,
        connect_timeout=seconds(message, "connect_timeout", 5.0),
        protocol=protocol,
        tls=tls,
        mesh_tls=mesh_tls,
        policy=_policy(message, where),
        limits=_limits(message, where),
        max_streams=number(http2, "max_concurrent_streams", 0),
        max_requests=number(common, "max_requests_per_connection", 0),
        idle=maybe_seconds(common, "idle_timeout"),
        life=maybe_seconds(common, "max_connection_duration"),
        keepalive=keepalive(http2),
        # 1 asks for what a request needs itself, and whatever is more than that for the next one.
        ahead=message.preconnect_policy.predictive_preconnect_ratio.value > 1.0,
        labels=_labels(message.metadata),
    )


def _policy(message: Any, where: str) -> str:
    name = choice(message, "lb_policy", where)
    if message.HasField("load_balancing_policy"):
        policies = message.load_balancing_policy.policies
        name = kind_of(unpacked(policies[0].typed_extension_config.typed_config, where)) if policies else "none"
    policy = _POLICIES.get(name)
    if policy is None:
        raise RefusedError(f"{where}: load balancing by {name} is not supported")
    return policy


def _sockets(message: Any, where: str) -> tuple[TlsContext | None, TlsContext | None]:
    """Read the TLS of all endpoints, and that of endpoints marked as the mesh's."""
    tls = transport_socket(message.transport_socket, where) if message.HasField("transport_socket") else None
    mesh_tls = None
    for one in message.transport_socket_matches:
        matched = plain(one.match)
        socket = transport_socket(one.transport_socket, f"{where}, {one.name}")
        if matched == ((xds.MESH_MATCH, "true"),):
            mesh_tls = socket
        elif not matched:
            tls = socket
        else:
            raise RefusedError(f"{where}: a transport socket match by {matched[0][0]} is not supported")
    return tls, mesh_tls


def _protocol(message: Any, where: str) -> tuple[AppProtocol, Any]:
    """Read the HTTP version spoken to endpoints; also returns the options of HTTP/2."""
    if _HTTP_OPTIONS not in message.typed_extension_protocol_options:
        legacy = message.HasField("http2_protocol_options")
        return (AppProtocol.HTTP2 if legacy else AppProtocol.HTTP1), message.http2_protocol_options
    options = unpacked(message.typed_extension_protocol_options[_HTTP_OPTIONS], where)
    match options.WhichOneof("upstream_protocol_options"):
        case "explicit_http_config":
            explicit = options.explicit_http_config
            which = explicit.WhichOneof("protocol_config")
            if which == "http3_protocol_options":
                raise RefusedError(f"{where}: HTTP/3 towards endpoints is not supported")
            if which == "http2_protocol_options":
                return AppProtocol.HTTP2, explicit.http2_protocol_options
            return AppProtocol.HTTP1, explicit.http2_protocol_options
        case "use_downstream_protocol_config":
            return AppProtocol.AS_DOWNSTREAM, options.use_downstream_protocol_config.http2_protocol_options
        case other:
            raise RefusedError(f"{where}: {other or 'an empty HTTP configuration'} is not supported")


def _common(message: Any, where: str) -> Any:
    """Find the options both HTTP versions share, in either place."""
    if _HTTP_OPTIONS in message.typed_extension_protocol_options:
        return unpacked(message.typed_extension_protocol_options[_HTTP_OPTIONS], where).common_http_protocol_options
    return message.common_http_protocol_options


def _limits(message: Any, where: str) -> CircuitLimits:
    for one in message.circuit_breakers.thresholds:
        if one.priority == 0:
            budgeted = one.HasField("retry_budget")
            least = number(one.retry_budget, "min_retry_concurrency", 3)
            return CircuitLimits(
                max_connections=number(one, "max_connections", 1024),
                max_pending=number(one, "max_pending_requests", 1024),
                max_requests=number(one, "max_requests", 1024),
                max_retries=least if budgeted else number(one, "max_retries", 3),
                retry_percent=_percent(one.retry_budget, where) if budgeted else 0.0,
            )
    return CircuitLimits()


def _percent(budget: Any, where: str) -> float:
    percent = float(budget.budget_percent.value) if budget.HasField("budget_percent") else 20.0
    if not 0.0 <= percent <= 100.0:
        raise RefusedError(f"{where}: a retry budget of {percent:g} percent makes no sense; use 0 to 100")
    return percent


def _labels(metadata: Any) -> tuple[tuple[str, str], ...]:
    if xds.METADATA not in metadata.filter_metadata:
        return ()
    return tuple((key, str(value)) for key, value in plain(metadata.filter_metadata[xds.METADATA]))


def endpoints(message: Any, name: str = "") -> Endpoints:
    """Read a ClusterLoadAssignment; endpoints that are not healthy are left out."""
    name = message.cluster_name or name
    where = f"endpoints {name}"
    if message.policy.drop_overloads:
        raise RefusedError(f"{where}: drop_overloads is not supported")
    found = []
    for group in message.endpoints:
        refuse_fields(group, where, "leds_cluster_locality_config", "load_balancer_endpoints")
        for one in group.lb_endpoints:
            refuse_fields(one, where, "endpoint_name")
            if choice(one, "health_status", where) in _USABLE:
                found.append(_endpoint(one, group.locality.zone, group.priority, where))
    return Endpoints(name=name, endpoints=tuple(found))


def _endpoint(message: Any, zone: str, priority: int, where: str) -> Endpoint:
    address, port = socket_address(message.endpoint.address, where)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise RefusedError(f"{where}: {address!r} is no IP address; names are not resolved here") from None
    labels = dict(_labels(message.metadata))
    matched = message.metadata.filter_metadata
    mesh = xds.TRANSPORT_MATCH in matched and dict(plain(matched[xds.TRANSPORT_MATCH])).get(xds.MESH_MATCH) == "true"
    identity = labels.pop("identity", "")
    return Endpoint(
        address=address,
        port=port,
        weight=number(message, "load_balancing_weight", 1),
        priority=priority,
        zone=zone,
        mesh=mesh,
        identity=identity,
        labels=tuple(labels.items()),
    )
