"""A message that remembers what was read of it, so that what nobody read is known by the machine and not by a list.

In: a protobuf message. Out: its fields, in the same words (`message.field`, `HasField`, `WhichOneof`), and afterwards `unread`: every field that
is set and was not read. Messages inside are watched as well, in lists, maps and `Any`; Google's own small ones (Duration, Struct,
the wrappers of numbers) are read as a whole. Refuses nothing; `decode` says what an unread field means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from google.protobuf.message import Message

from meshapi.records import record

NEWER = "fields of newer protos"
"""The name under which they are counted: they have numbers only."""
CLOSED = "tulle_closed"
"""The one field of a message that no decoder reads: its own were left out of what a sidecar holds (`messages`)."""
_GOOGLE = "google.protobuf."
_PACKED = "google.protobuf.Any"


@record(kw_only=False)
class Unread:
    """A field that is set and was not read."""

    path: str
    """From the resource on, e.g. `filter_chains[0].filters[1].typed_config.tracing`."""
    name: str
    """Its full name, e.g. `envoy.config.cluster.v3.Cluster.outlier_detection`."""
    sentence: str = ""
    """Of what is not followed (`lose`, `miss`): why."""


class Watched:
    """One message; attributes are its fields, and what was read stands among them."""

    _content: Watched | None = None
    """Of an `Any`, what is inside."""
    _asked: AbstractSet[str] = frozenset()
    """Messages inside that were asked whether they are there."""
    _left: tuple[Unread, ...] = ()
    """What was not read of messages inside that were not watched (`Opened`), and what was not followed (`miss`)."""
    _lost = ""
    """Why what it says is not followed."""
    _newer = False
    """Whether it, or a message inside, came with fields that have no name here."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __getattr__(self, field: str) -> Any:
        # Asked once for each field: the answer becomes an attribute.
        message: Any = self._message
        made: Any = type(message)
        value = getattr(message, field)
        make = _kinds(made).get(field)
        self.__dict__[field] = value = value if make is None else make(value)
        return value

    def HasField(self, field: str) -> bool:  # noqa: N802 - protobuf's word
        """Whether a field is set. To ask it of a message is to read that it is there, and nothing of what is in it."""
        there: bool = self._message.HasField(field)
        if there:
            self._asked = {*self._asked, field}
        return there

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's word
        """Tell which field of a group is set; as `HasField`."""
        which: str | None = self._message.WhichOneof(group)
        if which is not None:
            self._asked = {*self._asked, which}
        return which


class _Packed(Watched):
    """An `Any`."""


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
            self.taken[key] = _watched(self._entries[key])
        return self.taken[key]


def _watched(message: Any) -> Watched:
    return (_Packed if message.DESCRIPTOR.full_name == _PACKED else Watched)(message)


def _many(messages: Any) -> list[Watched]:
    return [_watched(message) for message in messages]


def _closed(descriptor: Any) -> bool:
    return CLOSED in descriptor.fields_by_name


def _whole(descriptor: Any) -> bool:
    name: str = descriptor.full_name
    return name.startswith(_GOOGLE) and name != _PACKED


def _unreadable(value: Any) -> Any:
    raise LookupError(f"a decoder reads a message that was left out (run `make messages`): {value!r}")


@functools.cache
def _kinds(made: Any) -> dict[str, Callable[[Any], Any] | None]:
    """Tell how the messages inside a type are handed out; None as they are."""
    empty, kinds = made(), dict[str, Callable[[Any], Any] | None]()
    for field in made.DESCRIPTOR.fields:
        inside = field.message_type
        if inside is None:
            continue
        value = getattr(empty, field.name)
        single = isinstance(value, Message)  # also `Struct`, which is a mapping to boot
        mapped = not single and isinstance(value, Mapping)
        if mapped:
            inside = inside.fields_by_name["value"].message_type
        if inside is None or _whole(inside):
            kinds[field.name] = None
        elif _closed(inside):
            kinds[field.name] = _unreadable
        elif single:
            kinds[field.name] = _Packed if inside.full_name == _PACKED else Watched
        else:
            kinds[field.name] = _Map if mapped else _many
    return kinds


def watch(message: Any) -> Watched:
    """Watch a message that was just parsed. Fields of newer protos are taken out of it and remembered as one."""
    size = message.ByteSize()
    message.DiscardUnknownFields()
    watched = Watched(message)
    if message.ByteSize() != size:
        watched._newer = True  # noqa: SLF001 - of this module
    return watched


def opened(packed: Watched, content: Callable[[], Any]) -> Watched:
    """Note what is inside an `Any`; the second time return what was noted the first time."""
    found = packed._content  # noqa: SLF001 - of this module
    if found is None:
        found = packed._content = watch(content())  # noqa: SLF001
    return found


def pass_over(message: Watched, *names: str) -> None:
    """Take fields as read that mean nothing where they stand, with all there is inside."""
    message.__dict__.update(dict.fromkeys(names))


def lose(message: Watched, sentence: str) -> None:
    """Note that what a message says is not followed, though all around it is: nothing else inside is unread."""
    message._lost = sentence  # noqa: SLF001 - of this module


def miss(message: Watched, field: str, sentence: str) -> None:
    """Note that a part of a field is not followed, though the rest of it is."""
    name = f"{message.DESCRIPTOR.full_name}.{field}"
    message._left += (Unread(field, name, sentence),)  # noqa: SLF001 - of this module


def bare(message: Watched, name: str) -> Any:
    """Read a field as it is, unwatched: its messages are so many that `fields` takes them apart, and `leave` hears of the rest."""
    message.__dict__[name] = None
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
        message._left += tuple(left)  # noqa: SLF001 - of this module


_Place = tuple[Any, str] | None
"""Where a message is: the place of the one around it, and the name there. It is put into words only where something is unread."""


def unread(message: Watched) -> list[Unread]:
    """Find what is set and was not read, in the order of the fields."""
    found: list[Unread] = []
    _walk(message, None, found)
    return found


def _walk(message: Watched, place: _Place, found: list[Unread]) -> None:
    if message._lost:  # noqa: SLF001 - of this module
        found.append(Unread(_words(place), message.DESCRIPTOR.full_name, message._lost))  # noqa: SLF001
        return
    read = message.__dict__
    for field, value in message._message.ListFields():  # noqa: SLF001
        name = field.name
        if name in read:
            _look(read[name], place, name, field, found)
        elif name not in message._asked or field.message_type is None or _closed(field.message_type):  # noqa: SLF001
            found.append(Unread(_words((place, name)), field.full_name))
        elif not _whole(field.message_type):
            _walk(Watched(value), (place, name), found)
    found += [Unread(_words((place, one.path)), one.name, one.sentence) for one in message._left]  # noqa: SLF001
    if message._newer:  # noqa: SLF001
        found.append(Unread(_words(place), NEWER))


def _look(read: Any, place: _Place, name: str, field: Any, found: list[Unread]) -> None:
    """Go into what was handed out of a field."""
    kind = type(read)
    if kind is Watched:
        _walk(read, (place, name), found)
    elif kind is _Packed:
        if read._content is None:  # noqa: SLF001 - of this module
            found.append(Unread(_words((place, name)), field.full_name))
        else:
            _walk(read._content, (place, name), found)  # noqa: SLF001
    elif kind is list:
        for index, one in enumerate(read):
            _look(one, place, f"{name}[{index}]", field, found)
    elif kind is _Map:
        for key in sorted(read):
            if key in read.taken:
                _look(read.taken[key], place, f"{name}[{key}]", field, found)
            else:
                found.append(Unread(_words((place, f"{name}[{key}]")), field.full_name))


def _words(place: _Place) -> str:
    parts: list[str] = []
    while place is not None:
        place, name = place
        parts.append(name)
    return ".".join(reversed(parts))
