"""Whatever a resource holds, it is decoded or refused in a sentence: messages grown at random from their descriptors."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dataplane.tables.compile import Tables
from dataplane.tables.endpoints import compile_cluster
from dataplane.tables.listeners import ListenerTable
from dataplane.tables.routes import RouteIndex
from dataplane.xds.decode import Notes, RefusedError, decode_message
from meshapi import protos
from meshapi.xds import Type
from tests.support.contract import level
from tests.support.machines import FACTOR

STEPS = 1000 * FACTOR
"""Messages of a type."""
_NUMBERS = (0, 1, 2, 80, 443, 65535, 2**31 - 1)
_FLOATS = (0.0, 1.0, -1.0, 50.0, float("nan"), float("inf"), 1e300)
_WORDS = ("", "a", "/", "/a", "*", "x-a", ":method", "websocket", "10.0.0.1", "::1", "(", "(?=a)", "a*", "5xx", "%", "ü", "a b", "\r\n", "tls", "HTTP1")  # fmt: skip
_KINDS = (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.router.v3.Router",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
)


class Grower:
    """Changes messages."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def change(self, message: Any, depth: int = 0) -> None:
        """Change something somewhere inside: set, clear or change a field, of this message or of one in it."""
        fields = message.DESCRIPTOR.fields
        there = [(field, value) for field, value in message.ListFields() if field.message_type is not None]
        if there and self.dice.random() < 0.8:
            self._inside(*self.dice.choice(there), depth)
            return
        if not fields:
            return
        field = self.dice.choice(fields)
        if self.dice.random() < 0.1:
            message.ClearField(field.name)
        else:
            self._set(message, field, depth)

    def _inside(self, field: Any, value: Any, depth: int) -> None:
        if hasattr(value, "ListFields"):
            self._enter(value, depth)
        elif field.message_type.GetOptions().map_entry:
            one = value[self.dice.choice(sorted(value))]
            if hasattr(one, "ListFields"):
                self._enter(one, depth)
        else:
            self._enter(self.dice.choice(value), depth)

    def _enter(self, message: Any, depth: int) -> None:
        if message.DESCRIPTOR.full_name != "google.protobuf.Any":
            self.change(message, depth + 1)
        elif message.type_url and self.dice.random() < 0.9:
            content = protos.unpack(message)
            self.change(content, depth + 1)
            message.CopyFrom(protos.pack(content))
        else:
            self._pack(message)

    def _pack(self, message: Any) -> None:
        content = protos.message(self.dice.choice(_KINDS))()
        self.change(content, 3)
        message.CopyFrom(protos.pack(content))

    def _set(self, message: Any, field: Any, depth: int) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, entry = self.dice.choice(_WORDS), field.message_type.fields_by_name
            if entry["value"].message_type is not None and entry["key"].cpp_type == field.CPPTYPE_STRING:
                self._grow(getattr(message, field.name)[key], depth)
            return
        held = getattr(message, field.name)
        if field.message_type is not None:
            one = held if hasattr(held, "ListFields") else held.add()
            one.SetInParent()
            self._grow(one, depth)
        elif hasattr(held, "append"):
            held.append(self._scalar(field))
        else:
            setattr(message, field.name, self._scalar(field))

    def _grow(self, message: Any, depth: int) -> None:
        if message.DESCRIPTOR.full_name == "google.protobuf.Any":
            self._pack(message)
        elif depth < 6:
            for _ in range(self.dice.randrange(3)):
                self.change(message, depth + 1)

    def _scalar(self, field: Any) -> Any:
        kind = field.cpp_type
        if field.enum_type is not None:
            return self.dice.choice([*field.enum_type.values_by_number, 99])
        if kind == field.CPPTYPE_STRING:
            word = self.dice.choice(_WORDS)
            return word.encode() if field.type == field.TYPE_BYTES else word
        if kind == field.CPPTYPE_BOOL:
            return self.dice.random() < 0.8
        return self.dice.choice(_FLOATS if kind in {field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT} else _NUMBERS)


def compiled(noun: Any, type_: Type) -> Any:
    """Make the table of a noun: what was decoded can be used."""
    if type_ is Type.LISTENER:
        return ListenerTable(noun)
    if type_ is Type.ROUTES:
        return RouteIndex(noun)
    return compile_cluster(noun, noun.static, None, 0) if type_ is Type.CLUSTER else Tables()


@pytest.mark.parametrize("type_", Type)
def test_message_of_any_kind_is_decoded_or_refused_in_a_sentence(type_: Type) -> None:
    """Begins with what the control plane writes and walks away from it, going on from whatever was taken."""
    grower = Grower(len(type_.name))
    seeds = [message for (kind, _), message in level(1).items() if kind is type_]
    taken = 0
    for step in range(STEPS):
        message = type(seeds[0])()
        message.CopyFrom(seeds[step % len(seeds)])
        for _ in range(grower.dice.randrange(1, 4)):
            grower.change(message)
        before = message.SerializeToString()
        try:
            noun = decode_message(type_, message, Notes())
        except RefusedError:
            continue
        compiled(noun, type_)
        taken += 1
        if len(seeds) < 50:
            seeds.append(type(message).FromString(before))

    assert 0 < taken < STEPS
