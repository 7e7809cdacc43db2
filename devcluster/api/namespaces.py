"""Ending namespaces: everything in them goes first, then the namespace itself.

In: Namespaces that are Terminating, and every delete. Out: deletes through the registry, conditions that say what is still there.
"""

from __future__ import annotations

import asyncio
import logging

from devcluster.api.calls import Call
from devcluster.api.errors import Object, StatusError
from devcluster.api.lifecycle import may_go, timestamp
from devcluster.api.registry import Registry
from devcluster.api.store import Kind
from devcluster.api.users import User
from devcluster.api.watch import WatchEvent

LOG = logging.getLogger(__name__)
_KIND: Kind = ("", "namespaces")
_CONTROLLER = Call(user=User(name="system:serviceaccount:kube-system:namespace-controller", groups=("system:masters",)))


class Undertaker:
    """Empties namespaces that end."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._todo: asyncio.Queue[str] = asyncio.Queue()
        registry.store.subscribe_all(self._seen)

    def _seen(self, kind: Kind, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if kind == _KIND and event.type != "DELETED" and metadata.get("deletionTimestamp"):
            self._todo.put_nowait(metadata["name"])
        elif event.type == "DELETED" and metadata.get("namespace"):
            found = self._registry.store.get(_KIND, "", metadata["namespace"])
            if found is not None and found["metadata"].get("deletionTimestamp"):
                self._todo.put_nowait(metadata["namespace"])

    async def run(self) -> None:
        """Empty namespaces for ever; what refuses to go is said and does not stop the rest."""
        while True:
            name = await self._todo.get()
            try:
                await self._empty(name)
            except StatusError as error:
                if error.code != 404:
                    LOG.warning("namespace %s stays: %s", name, error)

    async def _empty(self, name: str) -> None:
        left: list[str] = []
        for row in self._registry.resources:
            if not row.namespaced or "list" not in row.verbs:
                continue
            for obj in self._registry.store.list(row.key, name):
                if not obj["metadata"].get("deletionTimestamp"):
                    options = {"propagationPolicy": "Background"}
                    await self._registry.delete(row, name, obj["metadata"]["name"], options=options, user=_CONTROLLER)
            remaining = self._registry.store.list(row.key, name)
            if remaining:
                left.append(f"{row.name} has {len(remaining)} resource instances")
        namespace = self._registry.store.get(_KIND, "", name)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return
        if left:
            self._report(namespace, ", ".join(left))
            return
        spec = {"finalizers": [f for f in namespace["spec"].get("finalizers") or [] if f != "kubernetes"]}
        ended = namespace | {"metadata": dict(namespace["metadata"]), "spec": spec}
        if may_go(ended):
            self._registry.store.remove(_KIND, "", name)
        elif ended != namespace:
            self._registry.store.put(_KIND, ended)

    def _report(self, namespace: Object, left: str) -> None:
        condition = {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {left}",
            "lastTransitionTime": timestamp(),
        }
        status = namespace["status"]
        known = status.get("conditions") or []
        if known and known[0]["message"] == condition["message"]:
            return
        reported = namespace | {"metadata": dict(namespace["metadata"]), "status": status | {"conditions": [condition]}}
        self._registry.store.put(_KIND, reported)
