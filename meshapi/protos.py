"""Envoy's v3 messages and Tulle's ca.proto, out of a private descriptor pool.

The default pool is shared by everything in a process, and the packages that register Envoy's files there also
register old copies of OpenTelemetry's; a private pool cannot clash with anybody's. `message("envoy...Listener")`
returns the class; `pack`/`unpack` move messages in and out of `google.protobuf.Any` of the same pool. Only protobuf's
compiled heart (upb) is taken: its public modules bring the slow twin of it in Python along, which is 1.5 MB of each sidecar.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any as Untyped
from typing import Final

from google.protobuf.internal import api_implementation
from google.protobuf.message import Message

if api_implementation.Type() == "upb":
    from google._upb._message import DescriptorPool, MessageMeta

    def _class_of(found: Untyped) -> Untyped:
        return MessageMeta(found.name, (Message,), {"DESCRIPTOR": found, "__module__": None})

else:  # where protobuf is another one, as on machines nobody builds wheels for, or by its environment variable
    from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[assignment] # of the same face
    from google.protobuf.message_factory import GetMessageClass

    def _class_of(found: Untyped) -> Untyped:
        return GetMessageClass(found)


TYPE_PREFIX = "type.googleapis.com/"


class UnknownTypeError(LookupError):
    """A message type this build does not carry; the message names it."""


class Messages:
    """The messages of one descriptor set; it is read when the first one is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._classes: dict[str, Untyped] = {}

    @functools.cached_property
    def pool(self) -> Untyped:
        """The pool they are from."""
        own = DescriptorPool()
        for file in _files(zlib.decompress(self._path.read_bytes())):
            own.AddSerializedFile(file)
        return own

    def message(self, full_name: str) -> Untyped:
        """Return the message class of a full proto name; raises UnknownTypeError."""
        made = self._classes.get(full_name)
        if made is None:
            try:
                found = self.pool.FindMessageTypeByName(full_name)
            except KeyError:
                raise UnknownTypeError(f"message type {full_name!r} is not among the xDS types Tulle carries") from None
            made = _class_of(found)
            self._classes[full_name] = made
        return made

    def pack(self, value: Untyped) -> Untyped:
        """Wrap a message into an Any; deterministic, so equal messages give equal bytes."""
        return self.message("google.protobuf.Any")(
            type_url=TYPE_PREFIX + value.DESCRIPTOR.full_name, value=value.SerializeToString(deterministic=True)
        )

    def unpack(self, wrapped: Untyped) -> Untyped:
        """Parse what an Any holds; raises UnknownTypeError or google.protobuf.message.DecodeError."""
        return self.message(wrapped.type_url.rpartition("/")[2]).FromString(wrapped.value)

    def to_dict(self, value: Untyped) -> dict[str, Untyped]:
        """Render a message as JSON-ready dicts with proto field names, Any included."""
        from google.protobuf import json_format  # noqa: PLC0415 - it brings protobuf's twin in Python along

        return json_format.MessageToDict(value, preserving_proto_field_name=True, descriptor_pool=self.pool)

    def from_dict(self, full_name: str, value: dict[str, Untyped]) -> Untyped:
        """Build a message from JSON-ready dicts; raises json_format.ParseError naming the field that is wrong."""
        from google.protobuf import json_format  # noqa: PLC0415 - as above

        return json_format.ParseDict(value, self.message(full_name)(), descriptor_pool=self.pool)


def _files(raw: bytes) -> Iterator[bytes]:
    """Take a `FileDescriptorSet` apart: its one field is repeated, each time a tag, a length (a varint) and a file."""
    at = 0
    while at < len(raw):
        at += 1
        size = shift = 0
        more = True
        while more:
            size |= (raw[at] & 0x7F) << shift
            shift += 7
            more = raw[at] >= 0x80
            at += 1
        yield raw[at : at + size]
        at += size


CONTRACT: Final = Messages(Path(__file__).with_name("descriptors.binpb"))
"""All of the contract; a sidecar holds but those it reads (`dataplane.xds.messages`)."""
message = CONTRACT.message
pack = CONTRACT.pack
unpack = CONTRACT.unpack
to_dict = CONTRACT.to_dict
from_dict = CONTRACT.from_dict
