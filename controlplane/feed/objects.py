"""The raw objects of the cluster as far as the mesh reads them, and the set of those that changed.

In: `apply`, `remove` and `replace` from the reflector and from kopf's handlers, in any order, repeated or not. Out: objects by
kind for `ingest`, and to listeners a `Ref` for each change that matters. One mutator, this class; objects are never changed in
place, so readers may hold on to them. Refuses objects without kind-proper metadata by ignoring them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

RUNTIME_KINDS = frozenset({"Pod", "Service", "EndpointSlice", "Node", "Namespace"})
"""Kinds whose status is news to the mesh; for all others a change of status alone is nobody's business but the writer's."""

_VOLATILE = frozenset({"resourceVersion", "managedFields"})


@dataclass(frozen=True, slots=True, order=True)
class Ref:
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
    """Raw objects by kind and place."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[tuple[str, str], Object]] = {}
        self._listeners: list[Listener] = []
        self._status_listeners: list[Listener] = []
        self._touched: dict[Ref, int] = {}
        self.revision = 0
        """Grows with every apply and remove; a mark for `replace`."""

    def listen(self, listener: Listener) -> None:
        """Call back on every change that matters."""
        self._listeners.append(listener)

    def listen_status(self, listener: Listener) -> None:
        """Call back when only the status of an object changed."""
        self._status_listeners.append(listener)

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
        self._touch(ref)
        objects = self._kinds.setdefault(kind, {})
        old = objects.get((ref.namespace, ref.name))
        if old == obj:
            # The old one stays, so that readers who know objects by identity see that nothing happened.
            return False
        objects[ref.namespace, ref.name] = obj
        if old is not None and _essence(kind, old) == _essence(kind, obj):
            if old.get("status") != obj.get("status"):
                _tell(self._status_listeners, ref)
            return False
        _tell(self._listeners, ref)
        return True

    def remove(self, kind: str, namespace: str, name: str) -> bool:
        """Forget an object; tells whether it was there."""
        ref = Ref(kind, namespace, name)
        self._touch(ref)
        if self._kinds.get(kind, {}).pop((namespace, name), None) is None:
            return False
        _tell(self._listeners, ref)
        return True

    def replace(self, kind: str, objects: Iterable[Object], since: int | None = None) -> None:
        """Take in a whole list of a kind; what is not on it is gone.

        `since` is the revision when the list was asked for: what was applied or removed after that is fresher than the list.
        """
        fresher = {ref for ref, at in self._touched.items() if since is not None and at > since}
        listed = set()
        for obj in objects:
            ref = ref_of(kind, obj)
            listed.add((ref.namespace, ref.name))
            if ref not in fresher:
                self.apply(kind, obj)
        for namespace, name in [key for key in self._kinds.get(kind, {}) if key not in listed]:
            if Ref(kind, namespace, name) not in fresher:
                self.remove(kind, namespace, name)
        self._touched = {ref: at for ref, at in self._touched.items() if ref.kind != kind}

    def _touch(self, ref: Ref) -> None:
        self.revision += 1
        if ref.kind not in RUNTIME_KINDS:
            self._touched[ref] = self.revision


def _tell(listeners: list[Listener], ref: Ref) -> None:
    for listener in listeners:
        listener(ref)


def _essence(kind: str, obj: Object) -> Object:
    if kind in RUNTIME_KINDS:
        return obj
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _VOLATILE}
    return {key: value for key, value in obj.items() if key not in {"status", "metadata"}} | {"metadata": metadata}
