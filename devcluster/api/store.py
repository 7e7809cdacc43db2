"""The objects and their versions; all state of the cluster is here, in memory.

Sans-io. In: finished objects to put and remove. Out: stored objects (never to be changed by callers), versions, events.
It refuses only a stale expected version; what an object may look like is decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from devcluster.api.errors import Object
from devcluster.api.watch import EventLog, Listener, WatchEvent

FIRST_VERSION = 1000
"""Versions begin here, so the small ones a client may try are as expired as in an old cluster."""

Kind = tuple[str, str]
"""(group, plural)."""


class Store:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.version = FIRST_VERSION
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {}
        self._logs: dict[Kind, EventLog] = {}
        self._listeners: list[Callable[[Kind, WatchEvent], None]] = []

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Find one object."""
        return self._objects.get(kind, {}).get((namespace, name))

    def list(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Give all objects of a kind, ordered by namespace and name as etcd orders its keys."""
        found = self._objects.get(kind, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def put(self, kind: Kind, obj: Object) -> Object:
        """Store an object under a new version and tell of it; the given object becomes the stored one."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        key = _key(obj)
        objects = self._objects.setdefault(kind, {})
        old = objects.get(key)
        objects[key] = obj
        type_ = "MODIFIED" if old is not None else "ADDED"
        self._tell(kind, WatchEvent(type=type_, object=obj, old=old, version=self.version))
        return obj

    def remove(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Remove an object and tell of it, in its last state under a new version."""
        old = self._objects.get(kind, {}).pop((namespace, name), None)
        if old is None:
            return None
        self.version += 1
        last: dict[str, Any] = old | {"metadata": old["metadata"] | {"resourceVersion": str(self.version)}}
        self._tell(kind, WatchEvent(type="DELETED", object=last, old=old, version=self.version))
        return last

    def _tell(self, kind: Kind, event: WatchEvent) -> None:
        self.log(kind).append(event)
        for listener in self._listeners:
            listener(kind, event)

    def log(self, kind: Kind) -> EventLog:
        """Give the event log of a kind."""
        if kind not in self._logs:
            self._logs[kind] = EventLog(FIRST_VERSION)
        return self._logs[kind]

    def subscribe(self, kind: Kind, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every change of a kind; the returned function ends that."""
        return self.log(kind).listen(listener)

    def subscribe_all(self, listener: Callable[[Kind, WatchEvent], None]) -> None:
        """Call `listener` at every change of every kind, for as long as the store lives."""
        self._listeners.append(listener)

    def everything(self) -> Iterator[tuple[Kind, Object]]:
        """Give all objects of all kinds."""
        for kind, objects in tuple(self._objects.items()):
            for obj in tuple(objects.values()):
                yield kind, obj


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
