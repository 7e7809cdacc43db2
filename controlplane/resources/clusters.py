"""Clusters: whom a sidecar may call, and how.

In: one Service port (or mesh pod's port) with the identities behind it; or a port of the pod's own app. Out: a Cluster. Which of its
two transport sockets an endpoint gets is decided by the endpoint's own metadata, so pods in and out of the mesh can share a Service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.model.services import Protocol
from controlplane.resources import tls
from controlplane.resources.envoy import ADS, facts, make, packed, seconds, struct
from meshapi import names, xds

_CLUSTER = "envoy.config.cluster.v3.Cluster"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECT = 5.0
"""Seconds for TCP and TLS together."""
_CONNECT_LOCAL = 1.0
_MOST = 2**32 - 1
_OPEN = {
    "max_connections": {"value": _MOST},
    "max_pending_requests": {"value": _MOST},
    "max_requests": {"value": _MOST},
}
"""Left out, each would be 1024, and a service with as many WebSockets would answer 503. The sidecar's own bounds hold."""
_BUDGET = {"budget_percent": {"value": 20.0}, "min_retry_concurrency": {"value": 10}}
"""A fifth of the requests may be retries, or ten at once: what keeps retries from being what keeps a service down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What a cluster is made of."""

    name: str
    namespace: str
    owner: str
    """The Service, or the pod."""
    port: int
    protocol: Protocol
    identities: Sequence[str]
    trust_domain: str


def upstream(of: Upstream, *, grpc: bool = False) -> Any:
    """Write an EDS cluster; gRPC clients without a sidecar know no transport socket matches and get none."""
    alpn = _alpn(of.protocol)
    secure = tls.client(
        f"{of.port}.{of.owner}.{of.namespace}",
        alpn,
        of.identities,
        f"spiffe://{of.trust_domain}/ns/{of.namespace}/",
    )
    matches = [
        {"name": "mesh", "match": struct({xds.MESH_MATCH: "true"}), "transport_socket": secure},
        {"name": "plain", "match": struct({}), "transport_socket": tls.plaintext()},
    ]
    return make(
        _CLUSTER,
        name=of.name,
        type="EDS",
        eds_cluster_config={"eds_config": ADS, "service_name": of.name},
        connect_timeout=seconds(_CONNECT),
        lb_policy="ROUND_ROBIN",
        circuit_breakers={"thresholds": [{**_OPEN, "retry_budget": _BUDGET}]},
        preconnect_policy=None if grpc else {"predictive_preconnect_ratio": {"value": 2.0}},
        transport_socket_matches=[] if grpc else matches,
        typed_extension_protocol_options=_http_options(of.protocol, outbound=True),
        metadata=facts(service=of.owner, namespace=of.namespace, port=of.port),
    )


def inbound(port: int, protocol: Protocol) -> Any:
    """Write the cluster of the pod's own app: where the connection was going."""
    return make(
        _CLUSTER,
        name=xds.inbound_cluster(port),
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        circuit_breakers={"thresholds": [_OPEN]},
        connect_timeout=seconds(_CONNECT_LOCAL),
        typed_extension_protocol_options=_http_options(protocol, outbound=False),
    )


def passthrough() -> Any:
    """Write the cluster of destinations the mesh does not know."""
    return make(
        _CLUSTER,
        name=xds.PASSTHROUGH,
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        circuit_breakers={"thresholds": [_OPEN]},
        connect_timeout=seconds(_CONNECT),
    )


def _alpn(protocol: Protocol) -> tuple[str, ...]:
    if protocol.is_http:
        return (names.ALPN_H2,)
    return (names.ALPN_H2, names.ALPN_TCP) if protocol is Protocol.AUTO else (names.ALPN_TCP,)


def _http_options(protocol: Protocol, *, outbound: bool) -> dict[str, Any]:
    """Write the HTTP version spoken in plaintext.

    Towards the own app a declared HTTP/1 is kept to; towards others the client's version is repeated, for a port named http may be
    served by either.
    """
    if protocol in {Protocol.HTTP2, Protocol.GRPC}:
        options: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    elif protocol is Protocol.HTTP and not outbound:
        options = {"explicit_http_config": {"http_protocol_options": {}}}
    else:
        options = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    return {_HTTP_OPTIONS: packed(_HTTP_OPTIONS, **options)}
