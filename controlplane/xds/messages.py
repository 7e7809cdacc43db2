"""Discovery messages taken apart and put together.

In: the bytes of a request, or resources already encoded. Out: a `Hello` or an `Ask`, or the bytes of a response. A protobuf message is
the concatenation of its fields (encoding, "Last One Wins" and repeated fields), so each resource is encoded once as the field it will be
in a response, and every response is a small header followed by shared bytes. Refuses bytes that are no discovery request: BadRequestError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from controlplane.xds.subscription import NO_NAMES, Ask
from meshapi import protos, xds
from meshapi.xds import Type

_DISCOVERY = "envoy.service.discovery.v3."
_DeltaRequest = protos.message(_DISCOVERY + "DeltaDiscoveryRequest")
_DeltaResponse = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")
_WorldRequest = protos.message(_DISCOVERY + "DiscoveryRequest")
_WorldResponse = protos.message(_DISCOVERY + "DiscoveryResponse")
_BY_URL = {type_.url: type_ for type_ in Type}
_OF_TYPE = {type_: _DeltaResponse(type_url=type_.url).SerializeToString() for type_ in Type}
"""The field of a delta response that says its type."""
MAX_DELTA_BYTES = 2 * 1024 * 1024
"""A delta response is split above this; clients refuse messages over 4 MiB (gRPC's default)."""
MAX_SENTENCE = 4096
"""Characters of a refusal that are looked at: in it every name of the response is searched."""
MAX_SAID = 4096
"""Characters of anything a client says of itself that are kept."""
_SAID = ("version", "certificate_expires_at", xds.NODE_PASSED, xds.NODE_CONTRACT, xds.NODE_ANSWERS)
"""What anybody asks of a node's metadata; the rest, which may be megabytes, is not looked at."""


class BadRequestError(ValueError):
    """Bytes that are no discovery request, or one for a type nobody serves."""


class Encoded:
    """A resource, encoded once for each variant of the protocol that is spoken."""

    __slots__ = ("_in_world", "in_delta", "name", "version")

    def __init__(self, name: str, version: str, in_delta: bytes) -> None:
        self.name = name
        self.version = version
        self.in_delta = in_delta
        """Field 2 of DeltaDiscoveryResponse."""
        self._in_world = b""

    @property
    def in_world(self) -> bytes:
        """Field 2 of DiscoveryResponse; sidecars speak delta, so it is made when somebody asks."""
        if not self._in_world:
            (resource,) = _DeltaResponse.FromString(self.in_delta).resources
            self._in_world = _WorldResponse(resources=[resource.resource]).SerializeToString()
        return self._in_world


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Who a client says it is, in the first message of a stream."""

    id: str
    user_agent: str
    metadata: dict[str, str]


def encode(type_: Type, name: str, version: str, body: bytes) -> Encoded:
    """Encode a resource's serialised message."""
    wrapped = protos.message("google.protobuf.Any")(type_url=type_.url, value=body)
    resource = protos.message(_DISCOVERY + "Resource")(name=name, version=version, resource=wrapped)
    return Encoded(name, version, _DeltaResponse(resources=[resource]).SerializeToString())


def decode(raw: bytes, *, delta: bool) -> tuple[Type | None, Ask, Node | None]:
    """Read a request: its type (None for one that is not served), what it asks, and the node if it says; raises BadRequestError."""
    try:
        message = (_DeltaRequest if delta else _WorldRequest).FromString(raw)
    except DecodeError as error:
        raise BadRequestError("these bytes are no discovery request") from error
    refusal = None
    if message.HasField("error_detail"):
        refusal = message.error_detail.message[:MAX_SENTENCE] or "refused without a sentence"
    if delta:
        # Most requests acknowledge and name nothing: an empty field is looked at and not copied.
        known = message.initial_resource_versions
        ask = Ask(
            subscribe=_names(message.resource_names_subscribe),
            unsubscribe=_names(message.resource_names_unsubscribe),
            known=dict(known) if known else {},
            nonce=message.response_nonce,
            error=refusal,
        )
    else:
        ask = Ask(subscribe=_names(message.resource_names), nonce=message.response_nonce, error=refusal)
    type_ = _BY_URL.get(message.type_url)
    return type_, ask, _node(message.node) if message.HasField("node") else None


def _names(field: Any) -> frozenset[str]:
    return frozenset(field) if field else NO_NAMES


def _node(node: Any) -> Node:
    said = node.metadata.fields
    return Node(
        id=node.id[:MAX_SAID],
        user_agent=node.user_agent_name[:MAX_SAID],
        metadata={name: said[name].string_value[:MAX_SAID] for name in _SAID if name in said},
    )


def delta_response(type_: Type, nonce: str, resources: Iterable[Encoded], removed: Collection[str]) -> bytes:
    """Put a delta response together."""
    head = _DeltaResponse(nonce=nonce, removed_resources=sorted(removed)) if removed else _DeltaResponse(nonce=nonce)
    return b"".join((_OF_TYPE[type_], head.SerializeToString(), *[resource.in_delta for resource in resources]))


def world_response(type_: Type, nonce: str, resources: Iterable[Encoded]) -> bytes:
    """Put a state-of-the-world response together; its version is the hash of what it holds."""
    held = list(resources)
    digest = hashlib.sha256("\n".join(f"{one.name}={one.version}" for one in held).encode()).hexdigest()[:16]
    head = _WorldResponse(type_url=type_.url, nonce=nonce, version_info=digest)
    return b"".join((head.SerializeToString(), *(resource.in_world for resource in held)))


def question(name: str, asked: str) -> bytes:
    """Put a question to a sidecar; it is no resource, and is not acknowledged."""
    wrapped = protos.message("google.protobuf.Any")(type_url=xds.QUESTION, value=asked.encode())
    resource = protos.message(_DISCOVERY + "Resource")(name=name, resource=wrapped)
    raw: bytes = _DeltaResponse(type_url=xds.QUESTION, resources=[resource]).SerializeToString()
    return raw


def portions(resources: Iterable[Encoded], limit: int = MAX_DELTA_BYTES) -> list[list[Encoded]]:
    """Split resources into responses of bearable size; one that is too large by itself travels alone."""
    batches: list[list[Encoded]] = [[]]
    size = 0
    for resource in resources:
        if batches[-1] and size + len(resource.in_delta) > limit:
            batches.append([])
            size = 0
        batches[-1].append(resource)
        size += len(resource.in_delta)
    return batches


def nothing(raw: bytes, *, delta: bool) -> list[bytes]:
    """Answer the first request of a stream for a type that is not served: there is nothing of it."""
    if not delta:
        request = _WorldRequest.FromString(raw)
        if request.response_nonce:
            return []
        return [_WorldResponse(type_url=request.type_url, nonce="0", version_info="0").SerializeToString()]
    request = _DeltaRequest.FromString(raw)
    if request.response_nonce and not request.resource_names_subscribe:
        return []
    gone = _DeltaResponse(
        type_url=request.type_url, nonce="0", removed_resources=list(request.resource_names_subscribe)
    )
    return [gone.SerializeToString()]
