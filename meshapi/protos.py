"""Envoy's v3 messages and Tulle's ca.proto, out of a private descriptor pool.

The default pool is shared by everything in a process, and the packages that register Envoy's files there also
register old copies of OpenTelemetry's; a private pool cannot clash with anybody's. `message("envoy...Listener")`
returns the class; `pack`/`unpack` move messages in and out of `google.protobuf.Any` of the same pool.
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import Any as Untyped

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

TYPE_PREFIX = "type.googleapis.com/"


class UnknownTypeError(LookupError):
    """A message type this build does not carry; the message names it."""


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    """Load the descriptor set once and return the pool."""
    raw = zlib.decompress(Path(__file__).with_name("descriptors.binpb").read_bytes())
    own = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(raw).file:
        own.Add(file)
    return own


@functools.cache
def message(full_name: str) -> Untyped:
    """Return the message class of a full proto name; raises UnknownTypeError."""
    try:
        return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))
    except KeyError:
        raise UnknownTypeError(f"message type {full_name!r} is not among the xDS types Tulle carries") from None


def pack(value: Untyped) -> Untyped:
    """Wrap a message into an Any; deterministic, so equal messages give equal bytes."""
    return message("google.protobuf.Any")(
        type_url=TYPE_PREFIX + value.DESCRIPTOR.full_name, value=value.SerializeToString(deterministic=True)
    )


def unpack(wrapped: Untyped) -> Untyped:
    """Parse what an Any holds; raises UnknownTypeError or google.protobuf.message.DecodeError."""
    return message(wrapped.type_url.rpartition("/")[2]).FromString(wrapped.value)


def to_dict(value: Untyped) -> dict[str, Untyped]:
    """Render a message as JSON-ready dicts with proto field names, Any included."""
    return json_format.MessageToDict(value, preserving_proto_field_name=True, descriptor_pool=pool())


def from_dict(full_name: str, value: dict[str, Untyped]) -> Untyped:
    """Build a message from JSON-ready dicts; raises json_format.ParseError naming the field that is wrong."""
    return json_format.ParseDict(value, message(full_name)(), descriptor_pool=pool())
