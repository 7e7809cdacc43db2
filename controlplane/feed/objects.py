"""The objects of the cluster as far as the mesh reads them, each a record of its kind's shape, and who is told of those that changed.

In: `apply`, `remove` and `retain` from the reflectors and from nobody else, in any order, repeated or not. Out: objects by kind, and to
listeners a `Ref` for each change that matters. One mutator, this class; objects are never changed in
place, so readers may hold on to them. Refuses objects without kind-proper metadata by ignoring them. A listener that raises is logged, and keeps no other
from hearing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

from controlplane.feed.kinds import CONFIGURED

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
"""A `Record`, by the API's names."""

TOLD = frozenset(kind.name for kind in CONFIGURED)
"""Kinds whose status says what the mesh made of them: it is the writer's business, and no news to the mesh. That of all others is."""


class Ref(NamedTuple):
    """Where an object is: kind, namespace ("" for cluster-scoped) and name."""

    kind: str
    namespace: str
    name: str


Listener = Callable[[Ref], None]


def ref_of(kind: str, obj: Mapping[str, Any]) -> Ref:
    """Read the place of an object off its metadata."""
    metadata = obj.get("metadata") or {}
    return Ref(kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


class ObjectStore:
    """Objects by kind and place."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[tuple[str, str], Object]] = {}
        self._listeners: list[Listener] = []
        self._defect: tuple[Listener, type[Exception]] | None = None
        """Who could not take what last, and why."""

    def listen(self, listener: Listener) -> None:
        """Call back on every change that matters."""
        self._listeners.append(listener)

    def of(self, kind: str) -> Iterable[Object]:
        """All objects of a kind; not to be changed."""
        return self._kinds.get(kind, {}).values()

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        return self._kinds.get(kind, {}).get((namespace, name))

    def count(self) -> dict[str, int]:
        """How many objects there are of each kind."""
        return {kind: len(objects) for kind, objects in self._kinds.items()}

    def apply(self, kind: str, obj: Object) -> bool:
        """Take in an object as it is now; tells whether that was news to the mesh."""
        ref = ref_of(kind, obj)
        if not ref.name:
            return False
        objects = self._kinds.setdefault(kind, {})
        old = objects.get((ref.namespace, ref.name))
        if old == obj:
            # The old one stays, so that readers who know objects by identity see that nothing happened.
            return False
        objects[ref.namespace, ref.name] = obj
        if old is not None and _essence(kind, old) == _essence(kind, obj):
            return False
        self._tell(ref)
        return True

    def remove(self, kind: str, namespace: str, name: str) -> bool:
        """Forget an object; tells whether it was there."""
        if self._kinds.get(kind, {}).pop((namespace, name), None) is None:
            return False
        self._tell(Ref(kind, namespace, name))
        return True

    def retain(self, kind: str, places: Container[tuple[str, str]]) -> None:
        """Forget all objects of a kind that are not at these places (namespace, name): a whole list has been taken in."""
        for namespace, name in [place for place in self._kinds.get(kind, {}) if place not in places]:
            self.remove(kind, namespace, name)

    def _tell(self, ref: Ref) -> None:
        for listener in self._listeners:
            try:
                listener(ref)
            except Exception as error:  # the object is taken in, so no list tells it again: the others hear of it now
                words = f"a defect keeps somebody from hearing of {ref.kind} {ref.namespace}/{ref.name}: {error!r}"
                known, self._defect = self._defect, (listener, type(error))
                log.exception(words, exc_info=self._defect != known)


def _essence(kind: str, obj: Object) -> object:
    return {key: value for key, value in obj.items() if key != "status"} if kind in TOLD else obj
