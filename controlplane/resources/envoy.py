"""Short ways to write Envoy's messages, and what a finished resource is.

In: names and plain values. Out: messages, and a `Resource` whose version is the hash of its bytes, so equal content has equal
versions on every replica. Refuses nothing; a field that does not exist is a mistake in a builder and raises there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshapi import protos, xds
from meshapi.xds import Type

ADS = {"ads": {}, "resource_api_version": "V3"}
"""A config source: the stream this came by."""
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource, encoded."""

    type: Type
    name: str
    version: str
    body: bytes
    """The message itself, serialised; `Any` goes around it on the wire."""


def finished(type_: Type, name: str, message: Any) -> Resource:
    """Encode a message, deterministically."""
    body: bytes = message.SerializeToString(deterministic=True)
    return Resource(type=type_, name=name, version=hashlib.blake2b(body, digest_size=8).hexdigest(), body=body)


def make(name: str, /, **fields: Any) -> Any:
    """Make a message; nested messages may be dicts."""
    return protos.message(name)(**fields)


def packed(name: str, /, **fields: Any) -> Any:
    """Make a message inside an Any."""
    return protos.pack(make(name, **fields))


def seconds(value: float) -> dict[str, int]:
    """Write a duration."""
    whole = int(value)
    return {"seconds": whole, "nanos": round((value - whole) * 1e9)}


def facts(**values: object) -> Any:
    """Write Tulle's own metadata; empty values are left out."""
    return labelled({xds.METADATA: {key: value for key, value in values.items() if value not in ("", None)}})


def struct(values: Mapping[str, object]) -> Any:
    """Write a Struct."""
    message = make("google.protobuf.Struct")
    message.update(dict(values))
    return message


def labelled(namespaces: Mapping[str, Mapping[str, object]]) -> Any:
    """Write metadata of several namespaces."""
    message = make("envoy.config.core.v3.Metadata")
    for namespace, values in namespaces.items():
        message.filter_metadata[namespace].update(dict(values))
    return message


def address(ip: str, port: int) -> dict[str, Any]:
    """Write a TCP address."""
    return {"socket_address": {"address": ip, "port_value": port}}


def http_filter(prefix: str, **routes: Any) -> dict[str, Any]:
    """Write the filter that treats a connection as HTTP; `routes` is `route_config` or `rds`."""
    config = packed(
        HCM,
        stat_prefix=prefix,
        http_filters=[{"name": "router", "typed_config": packed(ROUTER)}],
        # HTTP/1.0 clients and upgrades are the app's business; so is how long a stream may be silent.
        http_protocol_options={"accept_http_10": True},
        upgrade_configs=[{"upgrade_type": "websocket"}],
        stream_idle_timeout=seconds(0),
        **routes,
    )
    return {"name": "http", "typed_config": config}


def tcp_filter(prefix: str, shares: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """Write the filter that relays a connection to one of some clusters by weight."""
    found = list(shares)
    if len(found) == 1:
        where: dict[str, Any] = {"cluster": found[0][0]}
    else:
        where = {"weighted_clusters": {"clusters": [{"name": name, "weight": weight} for name, weight in found]}}
    return {"name": "tcp", "typed_config": packed(TCP_PROXY, stat_prefix=prefix, **where)}


LISTENER_FILTERS = {
    "original_dst": "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "tls_inspector": "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "http_inspector": "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
}


def listener_filters(*names: str) -> list[dict[str, Any]]:
    """Write what looks at a connection before its chain is chosen."""
    return [{"name": name, "typed_config": packed(LISTENER_FILTERS[name])} for name in names]


PLAINTEXT_HTTP = ("http/1.0", "http/1.1", "h2c")
"""What plaintext is called once the HTTP inspector has seen its first bytes."""
