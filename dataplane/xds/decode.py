"""xDS resources, each by itself, into the sidecar's nouns.

In: a resource's type and name, and its message or bytes. Out: one of the nouns of `dataplane.config`. Refuses with RefusedError, one
sentence that names the resource; the session turns it into a NACK of that resource alone. Raw messages end here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from dataplane.config import Cluster, Endpoints, Listener, RouteTable, Secret
from dataplane.xds.decode_clusters import cluster, endpoints
from dataplane.xds.decode_listeners import listener
from dataplane.xds.decode_routes import route_table
from dataplane.xds.decode_tls import secret
from dataplane.xds.reading import RefusedError
from meshapi import protos
from meshapi.xds import Type

__all__ = ["Noun", "RefusedError", "decode", "decode_message"]

Noun = Secret | Cluster | Endpoints | Listener | RouteTable

_DECODERS: Mapping[Type, Callable[[Any], Noun]] = {
    Type.SECRET: secret,
    Type.CLUSTER: cluster,
    Type.ENDPOINTS: endpoints,
    Type.LISTENER: listener,
    Type.ROUTES: route_table,
}


def decode(type_: Type, name: str, body: bytes) -> Noun:
    """Decode a serialised resource; raises RefusedError."""
    try:
        message = protos.message(type_.url.rpartition("/")[2]).FromString(body)
    except DecodeError:
        raise RefusedError(f"{name}: these bytes are no {type_.url.rpartition('.')[2]}") from None
    noun = decode_message(type_, message)
    if noun.name != name:
        raise RefusedError(f"{name}: the resource calls itself {noun.name!r}")
    return noun


def decode_message(type_: Type, message: Any) -> Noun:
    """Decode a message; raises RefusedError."""
    try:
        return _DECODERS[type_](message)
    except DecodeError as error:
        raise RefusedError(f"an extension inside cannot be read: {error}") from None
