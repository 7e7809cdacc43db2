"""Listeners, from Envoy's messages to nouns.

In: Listener messages. Out: `Listener`. Refuses filters it does not run, unless they are optional or switched off, and ways of choosing a chain
it does not follow: both would let through what was to be stopped.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import (
    Authorization,
    ChainMatch,
    FilterChain,
    HttpFilter,
    HttpTimeouts,
    Listener,
    PathRule,
    Target,
    TcpFilter,
)
from dataplane.xds import decode_rbac
from dataplane.xds.decode_routes import route_table
from dataplane.xds.decode_tls import transport_socket
from dataplane.xds.reading import (
    RefusedError,
    choice,
    flag,
    from_this_stream,
    keepalive,
    kind_of,
    number,
    plain,
    seconds,
    socket_address,
    unpacked,
    upgrades,
)
from dataplane.xds.watched import pass_over
from meshapi import xds

_INSPECTORS = {"OriginalDst": "original_dst", "TlsInspector": "tls", "HttpInspector": "http"}
_ESCAPED = {
    "IMPLEMENTATION_SPECIFIC_DEFAULT": "keep",
    "KEEP_UNCHANGED": "keep",
    "REJECT_REQUEST": "reject",
    "UNESCAPE_AND_REDIRECT": "redirect",
    "UNESCAPE_AND_FORWARD": "unescape",
}
_CODECS = {"AUTO": "auto", "HTTP1": "http1", "HTTP2": "http2"}


def listener(message: Any) -> Listener:
    """Read a Listener."""
    where = f"listener {message.name}"
    address, port = socket_address(message.address, where)
    inspectors = {_inspector(one, where) for one in message.listener_filters}
    chains = tuple(_chain(one, index, where) for index, one in enumerate(message.filter_chains))
    default = _chain(message.default_filter_chain, -1, where) if message.HasField("default_filter_chain") else None
    if not chains and default is None:
        raise RefusedError(f"{where}: it has no filter chain")
    facts = message.metadata.filter_metadata
    return Listener(
        name=message.name,
        address=address,
        port=port,
        chains=chains,
        default_chain=default,
        bind=flag(message, "bind_to_port", default=True),
        detect="http" in inspectors,
        detect_timeout=seconds(message, "listener_filters_timeout", 15.0),
        use_original_dst=flag(message, "use_original_dst", default=False) or "original_dst" in inspectors,
        inbound=choice(message, "traffic_direction", where) == "INBOUND",
        metadata=plain(facts[xds.METADATA]) if xds.METADATA in facts else (),
    )


def _inspector(message: Any, where: str) -> str:
    kind = kind_of(unpacked(message.typed_config, f"{where}: listener filter {message.name}"))
    if kind not in _INSPECTORS:
        raise RefusedError(f"{where}: listener filter {message.name} ({kind}) is not supported")
    return _INSPECTORS[kind]


def _chain(message: Any, index: int, listener_: str) -> FilterChain:
    name = message.name or ("default" if index < 0 else f"chain-{index}")
    where = f"{listener_}, chain {name}"
    match = message.filter_chain_match
    if match.transport_protocol not in {"", "tls", "raw_buffer"}:
        raise RefusedError(f"{where}: transport protocol {match.transport_protocol!r} is not supported")
    filter_, rules = _filters(message.filters, where)
    return FilterChain(
        name=name,
        match=ChainMatch(
            destination_port=number(match, "destination_port", 0),
            transport=match.transport_protocol,
            alpn=tuple(match.application_protocols),
            sni=tuple(match.server_names),
        ),
        filter=filter_,
        tls=transport_socket(message.transport_socket, where) if message.HasField("transport_socket") else None,
        authorization=rules,
    )


def _filters(filters: Any, where: str) -> tuple[HttpFilter | TcpFilter, tuple[Authorization, ...]]:
    """Read the one filter a chain ends in, and the authorization rules before it."""
    configs = [unpacked(one.typed_config, f"{where}: network filter {one.name}") for one in filters]
    rules = 0
    while rules < len(configs) and configs[rules].DESCRIPTOR.full_name == decode_rbac.NETWORK:
        rules += 1
    if len(configs) != rules + 1:
        names = ", ".join(one.name for one in filters) or "none"
        raise RefusedError(
            f"{where}: one network filter is needed, an HTTP connection manager or a TCP proxy, not {names}"
        )
    authorization = tuple(
        decode_rbac.authorization(config, f"{where}, filter {one.name}")
        for one, config in zip(filters, configs[:rules], strict=False)
    )
    match kind_of(configs[rules]):
        case "HttpConnectionManager":
            return _http(configs[rules], where), authorization
        case "TcpProxy":
            return _tcp(configs[rules], where), authorization
        case other:
            raise RefusedError(f"{where}: network filter {filters[rules].name} ({other}) is not supported")


def _http(config: Any, where: str) -> HttpFilter:
    authorization = tuple(rules for one in config.http_filters if (rules := _http_filter(one, where)) is not None)
    config.HasField("http_protocol_options")
    codec = _CODECS.get(choice(config, "codec_type", where))
    if codec is None:
        raise RefusedError(f"{where}: HTTP/3 is not supported")
    route_name, routes = "", None
    match config.WhichOneof("route_specifier"):
        case "rds":
            from_this_stream(config.rds.config_source, where)
            route_name = config.rds.route_config_name
        case "route_config":
            routes = route_table(config.route_config)
        case other:
            raise RefusedError(f"{where}: routes by {other or 'nothing'} are not supported")
    return HttpFilter(
        route_name=route_name,
        routes=routes,
        timeouts=HttpTimeouts(
            idle=seconds(config.common_http_protocol_options, "idle_timeout", 3600.0),
            stream_idle=seconds(config, "stream_idle_timeout", 300.0),
            request=seconds(config, "request_timeout", 0.0),
            request_headers=seconds(config, "request_headers_timeout", 0.0),
            life=seconds(config.common_http_protocol_options, "max_connection_duration", 0.0),
            duration=seconds(config.common_http_protocol_options, "max_stream_duration", 0.0),
            keepalive=keepalive(config.http2_protocol_options),
        ),
        max_requests=number(config.common_http_protocol_options, "max_requests_per_connection", 0),
        max_streams=number(config.http2_protocol_options, "max_concurrent_streams", 0),
        paths=_paths(config, where),
        upgrades=upgrades(config.upgrade_configs),
        use_remote_address=flag(config, "use_remote_address", default=False),
        trusted_hops=config.xff_num_trusted_hops,
        codec=codec,
        authorization=authorization,
    )


def _paths(config: Any, where: str) -> PathRule | None:
    rule = PathRule(
        normalize=flag(config, "normalize_path", default=False),
        merge_slashes=bool(config.merge_slashes),
        escaped_slashes=_ESCAPED[choice(config, "path_with_escaped_slashes_action", where)],
    )
    return rule if rule != PathRule() else None


def _http_filter(message: Any, where: str) -> Authorization | None:
    """Read authorization rules; None of filters that do nothing here."""
    name = message.typed_config.type_url.rpartition("/")[2]
    if message.disabled or (message.is_optional and name != decode_rbac.HTTP):
        pass_over(message, "name", "typed_config", "is_optional")
        return None
    config = unpacked(message.typed_config, f"{where}: HTTP filter {message.name}")
    if name == decode_rbac.HTTP:
        return decode_rbac.authorization(config, f"{where}, filter {message.name}")
    if kind_of(config) != "Router":
        raise RefusedError(f"{where}: HTTP filter {message.name} ({kind_of(config)}) is not supported")
    return None


def _tcp(config: Any, where: str) -> TcpFilter:
    if config.WhichOneof("cluster_specifier") == "weighted_clusters":
        clusters = config.weighted_clusters.clusters
        targets = tuple(Target(cluster=one.name, weight=one.weight) for one in clusters)
    else:
        targets = (Target(cluster=config.cluster),)
    if not any(target.cluster and target.weight for target in targets):
        raise RefusedError(f"{where}: the TCP proxy leads to no cluster")
    return TcpFilter(
        targets=targets,
        idle_timeout=seconds(config, "idle_timeout", 3600.0),
        life=seconds(config, "max_downstream_connection_duration", 0.0),
    )
