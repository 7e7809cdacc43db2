"""Inbound listeners: everything a mesh pod's sidecar accepts, by port, TLS and protocol.

In: one mesh pod, the mesh's settings, what its workload is known to call. Out: a Listener as docs/xds-contract.md lays its chains out.
In STRICT only mesh TLS has chains, so whatever else comes matches none and is closed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from controlplane.compiler.snapshot import PodEntry
from controlplane.model.mesh import MeshSettings
from controlplane.model.security import Mode
from controlplane.model.services import Protocol
from controlplane.resources import tls
from controlplane.resources.envoy import (
    PLAINTEXT_HTTP,
    address,
    facts,
    http_filter,
    listener_filters,
    make,
    seconds,
    tcp_filter,
)
from controlplane.resources.routeconfig import plain_routes
from meshapi import names, xds

_CHAIN = "envoy.config.listener.v3.FilterChain"
_KEPT = 4096
"""Sets of chains that are kept: most pods serve on a few ports."""


def inbound(entry: PodEntry, mesh: MeshSettings, trust_domain: str, warm: Sequence[str]) -> Any:
    """Write a pod's inbound listener."""
    pod = entry.pod
    policy = entry.policy
    chains = [one for port, spoken in entry.ports for one in _chains(policy.at(port), port, spoken, trust_domain)]
    chains += _chains(policy.at(0), 0, Protocol.AUTO, trust_domain)
    return make(
        "envoy.config.listener.v3.Listener",
        name=xds.inbound_listener(pod.key.namespace, pod.key.name),
        address=address("0.0.0.0", names.INBOUND_PORT),
        use_original_dst={"value": True},
        traffic_direction="INBOUND",
        listener_filters=listener_filters("original_dst", "tls_inspector", "http_inspector"),
        listener_filters_timeout=seconds(mesh.detection_timeout),
        continue_on_listener_filters_timeout=True,
        metadata=facts(
            warm=list(warm),
            outbound_policy="allow" if mesh.outbound_allowed else "deny",
            mode=entry.policy.mode.value,
            access_log="on" if mesh.access_log else "off",
            workload=pod.workload,
            namespace=pod.key.namespace,
            service_account=pod.account,
            app=pod.app,
            version=pod.version,
        ),
        filter_chains=chains,
    )


@functools.lru_cache(_KEPT)
def _chains(mode: Mode, port: int, protocol: Protocol, trust_domain: str) -> tuple[Any, ...]:
    """Write the set of chains of one port, once for all pods that have it; 0 is the set for all other ports. Nobody changes what is written."""
    return tuple(make(_CHAIN, **one) for one in _described(mode, port, protocol, trust_domain))


def _described(mode: Mode, port: int, protocol: Protocol, trust_domain: str) -> Iterator[dict[str, Any]]:
    cluster = xds.inbound_cluster(port)
    http = http_filter(cluster, route_config=plain_routes(cluster, cluster))
    tcp = tcp_filter(cluster, [(cluster, 1)])
    label = str(port or "*")

    def chain(name: str, filter_: dict[str, Any], alpn: Sequence[str] = (), **match: Any) -> dict[str, Any]:
        if port:
            match["destination_port"] = {"value": port}
        return {
            "name": f"{label}/{name}",
            "filter_chain_match": {**match, "application_protocols": list(alpn)},
            "filters": [filter_],
        }

    def secured(name: str, filter_: dict[str, Any], *alpn: str) -> dict[str, Any]:
        made = chain(name, filter_, alpn, transport_protocol="tls")
        return {**made, "transport_socket": tls.server(trust_domain, alpn)}

    if mode is not Mode.DISABLE:
        # Whatever is declared: callers say what they speak, and may not have heard of a change yet.
        yield secured("mesh-http", http, names.ALPN_H2, names.ALPN_HTTP1)
        yield secured("mesh-tcp", tcp, names.ALPN_TCP)
    if mode is not Mode.STRICT:
        yield chain("app-tls", tcp, transport_protocol="tls")
        if protocol.may_be_http:
            alpn = () if protocol.is_http else PLAINTEXT_HTTP
            yield chain("plain-http", http, alpn, transport_protocol="raw_buffer")
        if not protocol.is_http:
            yield chain("plain-tcp", tcp, transport_protocol="raw_buffer")
