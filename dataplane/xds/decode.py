"""xDS resources, each by itself, into the sidecar's nouns.

In: a resource's type and name, and its message or bytes. Out: one of the nouns of `dataplane.config`. Refuses with RefusedError, one
sentence that names the resource; the session turns it into a NACK of that resource alone. So are fields that no decoder read, unless
`ignored` gives a reason why they may be. Raw messages end here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from dataplane.config import Cluster, Endpoints, Listener, RouteTable, Secret
from dataplane.xds import messages
from dataplane.xds.decode_clusters import cluster, endpoints
from dataplane.xds.decode_listeners import listener
from dataplane.xds.decode_routes import route_table
from dataplane.xds.decode_tls import secret
from dataplane.xds.ignored import IGNORED
from dataplane.xds.reading import RefusedError
from dataplane.xds.watched import unread, watch
from meshapi.records import field, record
from meshapi.xds import Type

__all__ = ["Notes", "Noun", "RefusedError", "decode", "decode_message"]

Noun = Secret | Cluster | Endpoints | Listener | RouteTable

_KINDS = {
    Type.SECRET: "secret",
    Type.CLUSTER: "cluster",
    Type.ENDPOINTS: "endpoints",
    Type.LISTENER: "listener",
    Type.ROUTES: "route configuration",
}
_NAMED = 5
"""So many fields a refusal names."""
_DECODERS: Mapping[Type, Callable[[Any], Noun]] = {
    Type.SECRET: secret,
    Type.CLUSTER: cluster,
    Type.ENDPOINTS: endpoints,
    Type.LISTENER: listener,
    Type.ROUTES: route_table,
}


@record(frozen=False, kw_only=False)
class Notes:
    """What is to be said about a resource that can be used all the same."""

    passed: Counter[str] = field(default_factory=Counter)
    """How often which field was passed over (`ignored`), by its full name."""
    lost: list[str] = field(default_factory=list)
    """Sentences about what cannot be followed: of a route that answers 500, of a policy that lets nobody through, of a header that stays as it is."""


def decode(type_: Type, name: str, body: bytes, notes: Notes | None = None) -> Noun:
    """Decode a serialised resource; raises RefusedError."""
    try:
        message = messages.message(type_.url.rpartition("/")[2]).FromString(body)
    except DecodeError:
        raise RefusedError(f"{name}: these bytes are no {type_.url.rpartition('.')[2]}") from None
    noun = decode_message(type_, message, notes)
    if noun.name != name:
        raise RefusedError(f"{name}: the resource calls itself {noun.name!r}")
    return noun


def decode_message(type_: Type, message: Any, notes: Notes | None = None) -> Noun:
    """Decode a message; raises RefusedError, also for a lost rule where there is nobody to note it."""
    watched = watch(message)
    try:
        noun = _DECODERS[type_](watched)
    except DecodeError as error:
        raise RefusedError(f"an extension inside cannot be read: {error}") from None
    refused, lost = list[str](), list[str]()
    for one in unread(watched):
        if one.sentence:
            lost.append(one.sentence)
        elif one.name not in IGNORED:
            refused.append(one.path)
        elif notes is not None:
            notes.passed[one.name] += 1
    if refused:
        named = ", ".join(refused[:_NAMED]) + (", ..." if len(refused) > _NAMED else "")
        raise RefusedError(f"{_KINDS[type_]} {noun.name}: {named} {'is' if len(refused) == 1 else 'are'} not supported")
    if lost and notes is None:
        raise RefusedError(lost[0])
    if notes is not None:
        notes.lost += lost
    return noun
