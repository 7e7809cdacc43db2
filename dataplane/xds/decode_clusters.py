"""Clusters and load assignments, from Envoy's messages to nouns.

In: Cluster and ClusterLoadAssignment messages. Out: `Cluster`, `Endpoints`. Refuses cluster types, policies and endpoint addresses it cannot
serve (names would have to be resolved; a hash policy promises affinity).
"""

from __future__ import annotations

from typing import Any

from dataplane.config import AppProtocol, CircuitLimits, Cluster, Endpoint, Endpoints, TlsContext
from dataplane.xds.decode_tls import transport_socket
from dataplane.xds.reading import (
    RefusedError,
    choice,
    from_this_stream,
    keepalive,
    kind_of,
    maybe_seconds,
    number,
    plain,
    seconds,
    unpacked,
)
from dataplane.xds.watched import Opened, bare, leave
from meshapi import xds
from meshapi.addresses import canonical

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
    kind = _KINDS.get(choice(message, "type", where))
    if kind is None or message.WhichOneof("cluster_discovery_type") == "cluster_type":
        raise RefusedError(f"{where}: its type is not supported; use EDS, STATIC or ORIGINAL_DST")
    tls, mesh_tls = _sockets(message, where)
    protocol, http2 = _protocol(message, where)
    common = _common(message, where)
    eds = message.eds_cluster_config if kind == "eds" else None
    if eds is not None:
        from_this_stream(eds.eds_config, where)
    return Cluster(
        name=message.name,
        kind=kind,
        endpoints_name=(eds.service_name or message.name) if eds is not None else "",
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
        labels=_labels(message.metadata.filter_metadata),
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
    options = _options(message, where)
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
            either = options.use_downstream_protocol_config
            either.HasField("http_protocol_options")
            return AppProtocol.AS_DOWNSTREAM, either.http2_protocol_options
        case other:
            raise RefusedError(f"{where}: {other or 'an empty HTTP configuration'} is not supported")


def _options(message: Any, where: str) -> Any:
    """Open the HTTP options that stand in an extension."""
    options = unpacked(message.typed_extension_protocol_options[_HTTP_OPTIONS], where)
    if options.DESCRIPTOR.full_name != _HTTP_OPTIONS:
        raise RefusedError(f"{where}: its HTTP options are a {kind_of(options)}")
    return options


def _common(message: Any, where: str) -> Any:
    """Find the options both HTTP versions share, in either place."""
    if _HTTP_OPTIONS in message.typed_extension_protocol_options:
        return _options(message, where).common_http_protocol_options
    return message.common_http_protocol_options


def _limits(message: Any, where: str) -> CircuitLimits:
    found = CircuitLimits()
    for one in message.circuit_breakers.thresholds:
        if choice(one, "priority", where) != "DEFAULT":
            raise RefusedError(f"{where}: circuit breakers of another priority than DEFAULT are not supported")
        budgeted = one.HasField("retry_budget")
        least, most = number(one.retry_budget, "min_retry_concurrency", 3), number(one, "max_retries", 3)
        found = CircuitLimits(
            max_connections=number(one, "max_connections", 1024),
            max_pending=number(one, "max_pending_requests", 1024),
            max_requests=number(one, "max_requests", 1024),
            max_retries=least if budgeted else most,
            retry_percent=_percent(one.retry_budget, where) if budgeted else 0.0,
        )
    return found


def _percent(budget: Any, where: str) -> float:
    percent = float(budget.budget_percent.value) if budget.HasField("budget_percent") else 20.0
    if not 0.0 <= percent <= 100.0:
        raise RefusedError(f"{where}: a retry budget of {percent:g} percent makes no sense; use 0 to 100")
    return percent


def endpoints(message: Any, name: str = "") -> Endpoints:
    """Read a ClusterLoadAssignment; endpoints that are not healthy are left out."""
    name = message.cluster_name or name
    where = f"endpoints {name}"
    found = []
    for group in message.endpoints:
        zone, priority = group.locality.zone, group.priority
        for index, one in enumerate(bare(group, "lb_endpoints")):
            if choice(one, "health_status", where) in _USABLE:
                opened = Opened(f"lb_endpoints[{index}]", one)
                found.append(_endpoint(opened, zone, priority, where))
                leave(group, opened)
    return Endpoints(name=name, endpoints=tuple(found))


def _endpoint(opened: Opened, zone: str, priority: int, where: str) -> Endpoint:
    """Read one of what may be thousands."""
    told = opened.fields
    told.pop("health_status", None)
    place = opened.inside("endpoint", "address", "socket_address")
    address = place.pop("address", "")
    try:
        canonical(address)
    except ValueError:
        raise RefusedError(f"{where}: {address!r} is no IP address; names are not resolved here") from None
    if "port_value" not in place:
        raise RefusedError(f"{where}: ports must be numbers")
    weight = told.pop("load_balancing_weight", None)
    marks = told.pop("metadata", None)
    facts = marks.filter_metadata if marks is not None else {}
    labels = dict(_labels(facts))
    mesh = xds.TRANSPORT_MATCH in facts and dict(plain(facts[xds.TRANSPORT_MATCH])).get(xds.MESH_MATCH) == "true"
    identity = labels.pop("identity", "")
    return Endpoint(
        address=address,
        port=place.pop("port_value"),
        weight=1 if weight is None else weight.value,
        priority=priority,
        zone=zone,
        mesh=mesh,
        identity=identity,
        labels=tuple(labels.items()),
    )


def _labels(facts: Any) -> tuple[tuple[str, str], ...]:
    """Read Tulle's own facts out of metadata; those of others say nothing to a sidecar."""
    if xds.METADATA not in facts:
        return ()
    return tuple((key, str(value)) for key, value in plain(facts[xds.METADATA]))
