"""The lines of a watch: what each says of an object, decoded in one go.

In: a line as the API server sends it. Out: the event, with the object in the shape of its kind. Refuses, with one of `kube.client.UNREADABLE`, a line that is none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from controlplane.feed.shapes import Meta

T = TypeVar("T")


class Added(msgspec.Struct, Generic[T], tag_field="type", tag="ADDED"):
    """It is new, or came into the selection."""

    object: T


class Modified(msgspec.Struct, Generic[T], tag_field="type", tag="MODIFIED"):
    """It is another one than before."""

    object: T


class Deleted(msgspec.Struct, Generic[T], tag_field="type", tag="DELETED"):
    """It is gone, or left the selection; as it was last."""

    object: T


class Marked(msgspec.Struct):
    """A version in the place of an object."""

    metadata: Meta


class Bookmark(msgspec.Struct, tag_field="type", tag="BOOKMARK"):
    """Nothing happened up to a version."""

    object: Marked


class Failure(msgspec.Struct):
    """A Status in the place of an object."""

    code: int = 500
    reason: str = ""
    message: str = ""


class Failed(msgspec.Struct, tag_field="type", tag="ERROR"):
    """The watch is over."""

    object: Failure


Event = Added[T] | Modified[T] | Deleted[T] | Bookmark | Failed


def reader(shape: Any) -> Callable[[bytes], Event[Any]]:
    """Make what decodes the lines about objects of a shape."""
    return msgspec.json.Decoder[Event[Any]](Event[shape]).decode  # type: ignore[misc]
