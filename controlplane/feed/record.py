"""A record: the fields of an object, by name, that nobody can change.

In: what a decoder found. Out: attributes, and the same by the API's own names, as a mapping, for whoever reads a stored object and one that a review or an answer of the API
server brought alike; a field with nothing in it is not there. The garbage collector does not track records: they hold no cycle, and ten thousand pods are nothing to it.
Refuses to be changed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


class Record(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A record; a mapping that nobody can change."""

    def get(self, key: str, default: Any = None) -> Any:
        """Give a field by the API's name of it."""
        name = _attributes(type(self)).get(key)
        value = getattr(self, name) if name is not None else None
        return default if value is None else value

    def __getitem__(self, key: str) -> Any:
        """Give a field that must be there; raises KeyError."""
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        """Tell whether something is in a field."""
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        """Name the fields that hold something."""
        return (key for key, name in _attributes(type(self)).items() if getattr(self, name) is not None)

    def __len__(self) -> int:
        """Count them."""
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """Tell whether any field holds something: found out at the first that does."""
        for name in self.__struct_fields__:  # noqa: SIM110 - a generator costs three times the look
            if getattr(self, name) is not None:
                return True
        return False

    keys = Mapping.keys
    values = Mapping.values
    items = Mapping.items


Mapping.register(Record)


@functools.cache
def _attributes(shape: type[Record]) -> dict[str, str]:
    """By the API's name what a field is called here."""
    return dict(zip(shape.__struct_encode_fields__, shape.__struct_fields__, strict=True))
