"""The configuration both proxies read: an Envoy bootstrap with static resources, as JSON (which is YAML too).

The outbound proxy takes plaintext, routes, retries and sends over mutual TLS; the inbound one ends TLS, checks who calls
against an authorization rule and hands on to the app. Nothing in it is written for one of the two proxies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.certificates import Identity
from meshapi import names, xds

Object = dict[str, Any]
_TYPE = "type.googleapis.com/envoy."
_HTTP_OPTIONS = _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one pair of proxies is to do."""

    between: str = "h2"
    """`h2`, `http/1.1`, or `tcp`."""
    app: str = "http/1.1"
    """What the app speaks: `http/1.1`, `h2` or `tcp`."""
    secure: bool = True
    routes: int = 1
    """Routes of the table; the request takes the last."""
    endpoints: int = 1
    """Addresses of the service; all lead to the same inbound proxy."""
    mesh: bool = False
    """The service is told of as docs/xds-contract.md tells of one in the mesh: by its endpoints' metadata, with ALPN `tulle-tcp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everything listens on loopback."""

    outbound: int
    inbound: int
    app: int
    outbound_admin: int
    inbound_admin: int


def outbound(plan: Plan, ports: Ports, me: Identity, peer: Identity) -> Object:
    """Configure the caller's proxy."""
    cluster = _cluster(
        "service", [(f"127.0.{n // 250}.{1 + n % 250}", ports.inbound) for n in range(plan.endpoints)], plan.between
    )
    tls = _tls("Upstream", plan, me, peer, sni="service.bench") if plan.secure else None
    if tls is not None and plan.mesh:
        _join_mesh(cluster, tls)
    elif tls is not None:
        cluster["transport_socket"] = tls
    return _bootstrap(ports.outbound, ports.outbound_admin, _filters(plan, "service", []), cluster, None)


def inbound(plan: Plan, ports: Ports, me: Identity, peer: Identity) -> Object:
    """Configure the callee's proxy."""
    tls = _tls("Downstream", plan, me, peer) if plan.secure else None
    rules = [_authorization(peer.uri)] if plan.secure else []
    cluster = _cluster("app", [("127.0.0.1", ports.app)], plan.app)
    return _bootstrap(ports.inbound, ports.inbound_admin, _filters(plan, "app", rules), cluster, tls)


def _bootstrap(port: int, admin: int, filters: list[Object], cluster: Object, tls: Object | None) -> Object:
    chain: Object = {"name": "chain", "filters": filters}
    if tls is not None:
        chain["transport_socket"] = tls
    listener = {"name": "in", "address": _address("0.0.0.0", port), "filter_chains": [chain]}
    return {
        "admin": {"address": _address("127.0.0.1", admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _address(host: str, port: int) -> Object:
    return {"socket_address": {"address": host, "port_value": port}}


def _filters(plan: Plan, cluster: str, rules: list[Object]) -> list[Object]:
    if plan.app == "tcp":
        return [
            {
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": _TYPE + "extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "tcp",
                    "cluster": cluster,
                },
            }
        ]
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": _TYPE + "extensions.filters.http.router.v3.Router"},
    }
    action = {
        "cluster": cluster,
        "timeout": "0s",
        "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2},
    }
    routes = [
        {"match": {"path_separated_prefix": f"/other/{n}", "headers": [_version_header(n)]}, "route": action}
        for n in range(plan.routes - 1)
    ]
    routes.append({"match": {"prefix": "/"}, "route": action})
    manager = {
        "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "codec_type": "AUTO",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": [*rules, router],
    }
    return [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]


def _version_header(number: int) -> Object:
    return {"name": "x-version", "string_match": {"exact": str(number)}}


def _authorization(uri: str) -> Object:
    principal = {"authenticated": {"principal_name": {"exact": uri}}}
    policy = {"permissions": [{"any": True}], "principals": [principal]}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": _TYPE + "extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"caller": policy}},
        },
    }


def _cluster(name: str, addresses: list[tuple[str, int]], protocol: str) -> Object:
    endpoints = [{"endpoint": {"address": _address(*address)}} for address in addresses]
    cluster: Object = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "circuit_breakers": {
            "thresholds": [{"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}]
        },
    }
    if protocol != "tcp":
        options = "http2_protocol_options" if protocol == "h2" else "http_protocol_options"
        cluster["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS.removeprefix("type.googleapis.com/"): {
                "@type": _HTTP_OPTIONS,
                "explicit_http_config": {options: {}},
            }
        }
    return cluster


def _join_mesh(cluster: Object, tls: Object) -> None:
    """Say of each endpoint that it is in the mesh, and how those are connected to."""
    for locality in cluster["load_assignment"]["endpoints"]:
        for endpoint in locality["lb_endpoints"]:
            endpoint["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {xds.MESH_MATCH: "true"}}}
    plain = {
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": {"@type": f"{_TYPE}extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
    }
    cluster["transport_socket_matches"] = [
        {"name": "mesh", "match": {xds.MESH_MATCH: "true"}, "transport_socket": tls},
        {"name": "plain", "match": {}, "transport_socket": plain},
    ]


def _tls(side: str, plan: Plan, me: Identity, peer: Identity, sni: str = "") -> Object:
    common: Object = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {"certificate_chain": {"inline_string": me.certificate}, "private_key": {"inline_string": me.key}}
        ],
        "validation_context": {
            "trusted_ca": {"inline_string": me.root},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer.uri}}],
        },
    }
    if plan.between != "tcp":
        common["alpn_protocols"] = [plan.between]
    elif plan.mesh:
        common["alpn_protocols"] = [names.ALPN_TCP]
    context: Object = {
        "@type": f"{_TYPE}extensions.transport_sockets.tls.v3.{side}TlsContext",
        "common_tls_context": common,
    }
    if sni:
        context["sni"] = sni
    else:
        context["require_client_certificate"] = True
        # A resumed session costs less than a handshake: both are held to full ones (our sidecar gives no tickets).
        context["disable_stateless_session_resumption"] = True
        context["disable_stateful_session_resumption"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}
