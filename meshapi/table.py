"""A mapping that never changes, whose next version costs what differs and not what there is.

In: a dict once, then changes. Out: a `Table`, which knows what it differs in from the one it was made of. It is a dict that many versions share and a small one laid over it;
when the small one has grown, both become one dict, which costs a copy once in a while (some 60 µs at 10,000 entries, once in 260 changes). Values are never None: that says gone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, ItemsView, Iterator, KeysView, Mapping, ValuesView
from math import isqrt
from typing import Any, TypeVar, cast, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_GONE: Any = object()
_ABSENT: Any = object()
_LEAST = 64
"""Changes laid over even the smallest table."""


class Table(Mapping[K, V]):
    """One version of a mapping."""

    __slots__ = ("_base", "_mark", "_over", "_parent", "_size", "_touched")

    def __init__(self, base: dict[K, V] | None = None) -> None:
        """Take a dict over; nobody else may change it from here on."""
        self._base: dict[K, V] = {} if base is None else base
        self._over: dict[K, V] = {}
        self._size = len(self._base)
        self._mark = object()
        self._parent: object = None
        self._touched: Collection[K] = ()

    def after(self, changes: Mapping[K, V | None], same: Callable[[V, V], bool] = operator.eq) -> Table[K, V]:
        """Make the next version: None takes a key away, and an equal value leaves the old one. This very table where nothing differs."""
        news: dict[K, V | None] = {}
        grown = 0
        for key, value in changes.items():
            old = self.get(key)
            if value is old or (old is not None and value is not None and same(old, value)):
                continue
            news[key] = value
            grown += (value is not None) - (old is not None)
        if not news:
            return self
        made: Table[K, V] = Table()
        made._size = self._size + grown
        made._parent = self._mark
        made._touched = news.keys()
        if len(self._over) + len(news) > _LEAST + 2 * isqrt(self._size):
            made._base = _laid({**self._base}, self._over)
            made._base = _laid(made._base, _marked(news))
        else:
            made._base = self._base
            made._over = {**self._over, **_marked(news)}
        return made

    def differing(self, old: Mapping[K, V]) -> list[tuple[K, V | None, V | None]]:
        """Tell where this differs from an older one, and what each has there; at the cost of what differs where it was made of that one."""
        if old is self:
            return []
        if isinstance(old, Table) and self._parent is old._mark:  # noqa: SLF001 - of this class
            return [(key, old.get(key), self.get(key)) for key in self._touched]
        both = ((key, old.get(key), self.get(key)) for key in {*old, *self})
        return [(key, before, after) for key, before, after in both if after is not before and after != before]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        """What is there, or the default."""
        if self._over:
            value = self._over.get(key, _ABSENT)
            if value is not _ABSENT:
                return default if value is _GONE else value
        return self._base.get(key, default)

    def __getitem__(self, key: K) -> V:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return cast("V", value)

    def __contains__(self, key: object) -> bool:
        return self.get(cast("K", key), _ABSENT) is not _ABSENT

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        return iter(self._whole())

    def keys(self) -> KeysView[K]:
        """All keys."""
        return self._whole().keys()

    def values(self) -> ValuesView[V]:
        """All values."""
        return self._whole().values()

    def items(self) -> ItemsView[K, V]:
        """All keys with their values."""
        return self._whole().items()

    def __repr__(self) -> str:
        return f"Table({self._whole()!r})"

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Table[K, V]], tuple[dict[K, V]]]:
        """Copy what there is: what it differs in from another is known in one process alone."""
        return Table, (self._whole(),)

    def _whole(self) -> dict[K, V]:
        """One dict of everything, which is remembered: who walks a table once will again."""
        if self._over:
            self._base, self._over = _laid({**self._base}, self._over), {}
        return self._base


def _marked(news: Mapping[K, V | None]) -> dict[K, V]:
    return {key: _GONE if value is None else value for key, value in news.items()}


def _laid(base: dict[K, V], over: Mapping[K, V]) -> dict[K, V]:
    """Lay changes over a dict that is nobody else's."""
    for key, value in over.items():
        if value is _GONE:
            base.pop(key, None)
        else:
            base[key] = value
    return base


def tabled(mapping: Mapping[K, V]) -> Table[K, V]:
    """Give a mapping as a table: itself, if it is one."""
    return mapping if isinstance(mapping, Table) else Table(dict(mapping))


def differing(old: Mapping[K, V], new: Mapping[K, V]) -> list[tuple[K, V | None, V | None]]:
    """Tell where two mappings differ, and what each has there."""
    return tabled(new).differing(old)
