"""A message that remembers what was read of it, so that what nobody read is known by the machine and not by a list.

In: a protobuf message. Out: its fields, in the same words (`message.field`, `HasField`, `WhichOneof`), and afterwards `unread`: every field that
is set and was not read. Messages inside are watched as well, in lists, maps and `Any`; Google's own small ones (Duration, Struct,
the wrappers of numbers) are read as a whole. Refuses nothing; `decode` says what an unread field means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

NEWER = "fields of newer protos"
"""The name under which they are counted: they have numbers only."""
_GOOGLE = "google.protobuf."
_PACKED = "google.protobuf.Any"
_THERE = object()
"""Of a field that was asked whether it is there and nothing more."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A field that is set and was not read."""

    path: str
    """From the resource on, e.g. `filter_chains[0].filters[1].typed_config.tracing`."""
    name: str
    """Its full name, e.g. `envoy.config.cluster.v3.Cluster.outlier_detection`."""
    sentence: str = ""
    """Of a message that is not followed (`lose`): why."""


class Watched:
    """One message; attributes are its fields."""

    __slots__ = ("_content", "_kinds", "_left", "_lost", "_message", "_newer", "_seen")

    def __init__(self, message: Any, *, newer: bool = False) -> None:
        self._message = message
        self._newer = newer
        """Whether it, or a message inside, came with fields that have no name here."""
        made: Any = type(message)
        self._kinds = _kinds(made)
        self._seen: dict[str, Any] = {}
        """What was read, by name, as it was handed out."""
        self._content: Watched | None = None
        """Of an `Any`, what is inside."""
        self._left: list[Unread] = []
        """What was not read of messages inside that were not watched (`Opened`)."""
        self._lost = ""
        """Why what it says is not followed."""

    def __getattr__(self, field: str) -> Any:
        seen = self._seen
        value = seen.get(field, _THERE)
        if value is _THERE:
            value = getattr(self._message, field)
            make = self._kinds.get(field)
            seen[field] = value = value if make is None else make(value)
        return value

    def HasField(self, field: str) -> bool:  # noqa: N802 - protobuf's word
        """Whether a field is set. To ask it of a message is to read that it is there, and nothing of what is in it."""
        if field in self._kinds:
            self._seen.setdefault(field, _THERE)
        there: bool = self._message.HasField(field)
        return there

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's word
        """Tell which field of a group is set; as `HasField`."""
        which: str | None = self._message.WhichOneof(group)
        if which in self._kinds:
            self._seen.setdefault(which, _THERE)
        return which


class _Map(Mapping[str, Watched]):
    """A map of messages; an entry is read once it was taken."""

    __slots__ = ("_entries", "taken")

    def __init__(self, entries: Any) -> None:
        self._entries = entries
        self.taken: dict[str, Watched] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, key: str) -> Watched:
        if key not in self.taken:
            self.taken[key] = Watched(self._entries[key])
        return self.taken[key]


def _many(messages: Any) -> list[Watched]:
    return [Watched(message) for message in messages]


def _whole(descriptor: Any) -> bool:
    name: str = descriptor.full_name
    return name.startswith(_GOOGLE) and name != _PACKED


@functools.cache
def _kinds(made: Any) -> dict[str, Callable[[Any], Any] | None]:
    """Tell how the messages inside a type are handed out; None as they are."""
    empty, kinds = made(), dict[str, Callable[[Any], Any] | None]()
    for field in made.DESCRIPTOR.fields:
        inside = field.message_type
        if inside is None:
            continue
        mapped = inside.GetOptions().map_entry
        if mapped:
            inside = inside.fields_by_name["value"].message_type
        if inside is None or _whole(inside):
            kinds[field.name] = None
        elif isinstance(getattr(empty, field.name), Message):
            kinds[field.name] = Watched
        else:
            kinds[field.name] = _Map if mapped else _many
    return kinds


def watch(message: Any) -> Watched:
    """Watch a message that was just parsed. Fields of newer protos are taken out of it and remembered as one."""
    size = message.ByteSize()
    message.DiscardUnknownFields()
    return Watched(message, newer=message.ByteSize() != size)


def opened(packed: Watched, content: Callable[[], Any]) -> Watched:
    """Note what is inside an `Any`; the second time return what was noted the first time."""
    found = packed._content  # noqa: SLF001 - of this module
    if found is None:
        found = packed._content = watch(content())  # noqa: SLF001
    return found


def pass_over(message: Watched, *names: str) -> None:
    """Take fields as read that mean nothing where they stand, with all there is inside."""
    message._seen.update(dict.fromkeys(names))  # noqa: SLF001 - of this module


def lose(message: Watched, sentence: str) -> None:
    """Note that what a message says is not followed, though all around it is: nothing else inside is unread."""
    message._lost = sentence  # noqa: SLF001 - of this module


def bare(message: Watched, name: str) -> Any:
    """Read a field as it is, unwatched: its messages are so many that `fields` takes them apart, and `leave` hears of the rest."""
    message._seen[name] = None  # noqa: SLF001 - of this module
    return getattr(message._message, name)  # noqa: SLF001


class Opened:
    """An unwatched message taken apart: what its reader does not take out of it was not read."""

    __slots__ = ("_parts", "_path", "fields")

    def __init__(self, path: str, message: Any) -> None:
        self._path = path
        self.fields: dict[str, Any] = {field.name: value for field, value in message.ListFields()}
        """What is set; the reader pops it."""
        self._parts = [(path, message, self.fields)]

    def inside(self, *names: str) -> dict[str, Any]:
        """Take a message out of this one, along a path, and it apart as well; empty where it is not there."""
        path, told = self._path, self.fields
        for name in names:
            message = told.pop(name, None)
            if message is None:
                return {}
            path = f"{path}.{name}"
            told = {field.name: value for field, value in message.ListFields()}
            self._parts.append((path, message, told))
        return told

    def left(self) -> list[Unread]:
        """Tell what was not taken out."""
        return [
            Unread(f"{path}.{name}", f"{message.DESCRIPTOR.full_name}.{name}")
            for path, message, told in self._parts
            if told
            for name in told
        ]


def leave(message: Watched, opened: Opened) -> None:
    """Note what was not read of a message inside."""
    left = opened.left()
    if left:
        message._left += left  # noqa: SLF001 - of this module


def unread(message: Watched, path: str = "") -> Iterator[Unread]:
    """Find what is set and was not read, in the order of the fields."""
    if message._lost:  # noqa: SLF001 - of this module
        yield Unread(path.rstrip("."), message.DESCRIPTOR.full_name, message._lost)  # noqa: SLF001
        return
    seen = message._seen  # noqa: SLF001
    for field, value in message._message.ListFields():  # noqa: SLF001
        at, name = path + field.name, field.full_name
        read = seen.get(field.name, seen)
        if read is seen:
            yield Unread(at, name)
        elif read is _THERE:
            if not _whole(value.DESCRIPTOR):
                yield from unread(Watched(value), f"{at}.")
        elif isinstance(read, Watched):
            yield from _inside(read, at, name)
        elif isinstance(read, list):
            for index, one in enumerate(read):
                yield from _inside(one, f"{at}[{index}]", name)
        elif isinstance(read, _Map):
            for key in sorted(read):
                one = read.taken.get(key)
                yield from [Unread(f"{at}[{key}]", name)] if one is None else _inside(one, f"{at}[{key}]", name)
    yield from (Unread(path + one.path, one.name) for one in message._left)  # noqa: SLF001
    if message._newer:  # noqa: SLF001
        yield Unread(path.rstrip("."), NEWER)


def _inside(message: Watched, path: str, name: str) -> Iterator[Unread]:
    content = message._content  # noqa: SLF001 - of this module
    if content is not None:
        yield from unread(content, f"{path}.")
    elif message.DESCRIPTOR.full_name == _PACKED:
        yield Unread(path, name)
    else:
        yield from unread(message, f"{path}.")
