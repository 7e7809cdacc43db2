"""Collecting garbage: what an owner leaves behind goes after it, before it (foreground) or stays (orphan).

In: every change in the store. Out: deletes and updates through the registry. An object goes when none of its owners lives.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import defaultdict

from devcluster.api.calls import Call
from devcluster.api.errors import Object, StatusError
from devcluster.api.registry import Registry
from devcluster.api.store import Kind
from devcluster.api.users import User
from devcluster.api.watch import WatchEvent

LOG = logging.getLogger(__name__)
Ref = tuple[Kind, str, str, str]
"""Kind, namespace, name, uid."""
_COLLECTOR = Call(
    user=User(name="system:serviceaccount:kube-system:generic-garbage-collector", groups=("system:masters",))
)
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


def owners(obj: Object) -> list[Object]:
    """Give an object's owner references."""
    return obj["metadata"].get("ownerReferences") or []


class Collector:
    """Follows who owns whom, and acts when an owner ends."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._dependents: dict[str, set[Ref]] = defaultdict(set)
        self._alive: dict[str, Ref] = {}
        self._todo: asyncio.Queue[Ref] = asyncio.Queue()
        for kind, obj in registry.store.everything():
            self._seen(kind, WatchEvent(type="ADDED", object=obj, old=None, version=0))
        registry.store.subscribe_all(self._seen)

    def _seen(self, kind: Kind, event: WatchEvent) -> None:
        obj = event.object
        metadata = obj["metadata"]
        ref: Ref = (kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
        for owner in owners(event.old or {"metadata": {}}):
            self._dependents[owner["uid"]].discard(ref)
        if event.type == "DELETED":
            self._alive.pop(metadata["uid"], None)
            for dependent in self._dependents.pop(metadata["uid"], ()):
                self._todo.put_nowait(dependent)
            for owner in owners(obj):
                if owner["uid"] in self._alive:
                    self._todo.put_nowait(self._alive[owner["uid"]])
            return
        self._alive[metadata["uid"]] = ref
        for owner in owners(obj):
            self._dependents[owner["uid"]].add(ref)
        ending = metadata.get("deletionTimestamp") and {FOREGROUND, ORPHAN} & set(metadata.get("finalizers") or [])
        if ending or (event.type == "ADDED" and owners(obj)):
            self._todo.put_nowait(ref)

    async def run(self) -> None:
        """Collect for ever; one object that cannot be collected does not stop the others."""
        while True:
            ref = await self._todo.get()
            try:
                await self._visit(ref)
            except StatusError as error:
                if error.code not in {404, 409}:
                    LOG.warning("garbage %s/%s of %s stays: %s", ref[1], ref[2], ref[0][1], error)
                elif error.code == 409:
                    self._todo.put_nowait(ref)
                    await asyncio.sleep(0)

    async def _visit(self, ref: Ref) -> None:
        kind, namespace, name, uid = ref
        obj = self._registry.store.get(kind, namespace, name)
        if obj is None or obj["metadata"]["uid"] != uid:
            return
        finalizers = set(obj["metadata"].get("finalizers") or [])
        if obj["metadata"].get("deletionTimestamp") and ORPHAN in finalizers:
            await self._orphan(ref)
        elif obj["metadata"].get("deletionTimestamp") and FOREGROUND in finalizers:
            await self._foreground(ref)
        elif owners(obj) and not any(owner["uid"] in self._alive for owner in owners(obj)):
            options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
            await self._registry.delete(_name(kind), namespace, name, options=options, user=_COLLECTOR)

    async def _orphan(self, ref: Ref) -> None:
        """Take the owner off its dependents, then let it go."""
        for kind, namespace, name, _ in tuple(self._dependents[ref[3]]):
            obj = copy.deepcopy(self._registry.get(_name(kind), namespace, name))
            obj["metadata"]["ownerReferences"] = [owner for owner in owners(obj) if owner["uid"] != ref[3]]
            await self._registry.update(_name(kind), obj, user=_COLLECTOR)
        await self._release(ref, ORPHAN)

    async def _foreground(self, ref: Ref) -> None:
        """End the dependents first; the last of them lets the owner go."""
        waiting = False
        for kind, namespace, name, uid in tuple(self._dependents[ref[3]]):
            obj = self._registry.store.get(kind, namespace, name)
            if obj is None:
                continue
            mine = next((owner for owner in owners(obj) if owner["uid"] == ref[3]), {})
            others = [owner for owner in owners(obj) if owner["uid"] != ref[3] and owner["uid"] in self._alive]
            waiting |= bool(mine.get("blockOwnerDeletion"))
            if not others and not obj["metadata"].get("deletionTimestamp"):
                options = {"preconditions": {"uid": uid}, "propagationPolicy": "Foreground"}
                await self._registry.delete(_name(kind), namespace, name, options=options, user=_COLLECTOR)
        if not waiting:
            await self._release(ref, FOREGROUND)

    async def _release(self, ref: Ref, finalizer: str) -> None:
        kind, namespace, name, _ = ref
        obj = copy.deepcopy(self._registry.get(_name(kind), namespace, name))
        obj["metadata"]["finalizers"] = [f for f in obj["metadata"].get("finalizers") or [] if f != finalizer]
        await self._registry.update(_name(kind), obj, user=_COLLECTOR)


def _name(kind: Kind) -> str:
    return f"{kind[1]}.{kind[0]}".rstrip(".")
