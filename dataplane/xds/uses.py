"""Which roots lead to which resources, so that what a root no longer leads to ends with the last one that did.

In: for a root (a listener a sidecar was told to have, the trust bundle) all it leads to. Out: who leads to a resource, and what nobody leads to any
more. A root that leads nowhere costs nothing. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from meshapi.xds import Type

Key = tuple[Type, str]
_NONE: frozenset[Key] = frozenset()


class Uses:
    """A relation between roots and resources, kept from both ends."""

    def __init__(self) -> None:
        self._keys: dict[Key, AbstractSet[Key]] = {}
        self._roots: dict[Key, set[Key]] = {}

    def put(self, root: Key, keys: AbstractSet[Key]) -> AbstractSet[Key]:
        """Say all that a root leads to now; returns what it led to before and does no more."""
        before = self._keys.pop(root, _NONE)
        if keys:
            self._keys[root] = frozenset(keys)
        for key in keys - before:
            self._roots.setdefault(key, set()).add(root)
        left = before - keys
        for key in left:
            roots = self._roots[key]
            roots.discard(root)
            if not roots:
                del self._roots[key]
        return left

    def roots(self, key: Key) -> AbstractSet[Key]:
        """Name the roots that lead to a resource."""
        return self._roots.get(key, _NONE)

    def led(self, root: Key) -> AbstractSet[Key]:
        """Name what a root leads to."""
        return self._keys.get(root, _NONE)

    def unused(self, keys: Iterable[Key]) -> set[Key]:
        """Pick out what nobody leads to."""
        return {key for key in keys if key not in self._roots}
