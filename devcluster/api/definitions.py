"""Custom kinds, live: a CustomResourceDefinition adds a row to what is served, and takes it away with all its objects.

In: changes of CustomResourceDefinitions. Out: rows in `Resources`, the conditions clients wait for. A definition whose names are taken by
another kind is not served, and says so.
"""

from __future__ import annotations

import asyncio
import copy
import logging

from devcluster.api.calls import Call
from devcluster.api.errors import Object, StatusError
from devcluster.api.kinds import Resource
from devcluster.api.lifecycle import timestamp
from devcluster.api.registry import Registry
from devcluster.api.store import Kind
from devcluster.api.users import User
from devcluster.api.watch import WatchEvent

LOG = logging.getLogger(__name__)
NAME = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_CONTROLLER = Call(user=User(name="system:apiserver", groups=("system:masters",)), manager="kube-apiserver")


def row_of(definition: Object) -> Resource:
    """Give the row a definition asks for."""
    spec = definition["spec"]
    names = spec["names"]
    served = [v for v in spec["versions"] if v.get("served")]
    stored = next((v["name"] for v in spec["versions"] if v.get("storage")), spec["versions"][0]["name"])
    subresources = next((v.get("subresources") for v in served if v["name"] == stored), None) or {}
    return Resource(
        group=spec["group"],
        version=stored,
        plural=names["plural"],
        kind=names["kind"],
        singular=names.get("singular") or names["kind"].lower(),
        short_names=tuple(names.get("shortNames") or ()),
        namespaced=spec.get("scope") == "Namespaced",
        subresources=tuple(name for name in ("status", "scale") if name in subresources),
        categories=tuple(names.get("categories") or ()),
        versions=tuple(v["name"] for v in sorted(served, key=lambda v: v["name"] != stored)),
        definition=definition,
    )


class Definitions:
    """Follows the definitions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._todo: asyncio.Queue[str] = asyncio.Queue()
        registry.subscribe(NAME, self._seen)
        registry.store.subscribe_all(self._emptied)

    def _emptied(self, kind: Kind, event: WatchEvent) -> None:
        row = self._registry.resources.by_plural(*kind)
        if event.type == "DELETED" and row is not None and row.definition is not None:
            self._todo.put_nowait(row.definition["metadata"]["name"])

    def _seen(self, event: WatchEvent) -> None:
        definition = event.object
        if event.type == "DELETED":
            row = row_of(definition)
            current = self._registry.resources.by_plural(row.group, row.plural)
            if current is not None and current.custom:
                self._registry.resources.remove(row.group, row.plural)
            return
        if not self._taken(definition) and not definition["metadata"].get("deletionTimestamp"):
            self._registry.resources.add(row_of(definition))
        self._todo.put_nowait(definition["metadata"]["name"])

    def _taken(self, definition: Object) -> str:
        row = row_of(definition)
        found = self._registry.resources.by_kind(row.group, row.kind)
        if found is not None and found.plural != row.plural:
            return f'"{row.kind}" is already in use'
        other = self._registry.resources.by_plural(row.group, row.plural)
        return f'"{row.plural}" is already in use' if other is not None and not other.custom else ""

    async def run(self) -> None:
        """Write conditions and clean up for ever; one bad definition does not stop the others."""
        while True:
            name = await self._todo.get()
            try:
                await self._settle(self._registry.get(NAME, "", name))
            except StatusError as error:
                if error.code != 404:
                    LOG.warning("custom resource definition %s is not settled: %s", name, error)

    async def _settle(self, definition: Object) -> None:
        if definition["metadata"].get("deletionTimestamp"):
            await self._clean_up(definition)
            return
        taken = self._taken(definition)
        new = copy.deepcopy(definition)
        row = row_of(definition)
        accepted = ("False", "NamesConflict", taken) if taken else ("True", "NoConflicts", "no conflicts found")
        served = (
            ("False", "NotAccepted", "not all names are accepted")
            if taken
            else ("True", "InitialNamesAccepted", "the initial names have been accepted")
        )
        conditions = [_condition("NamesAccepted", *accepted), _condition("Established", *served)]
        status = new.setdefault("status", {})
        known = {c["type"]: c for c in status.get("conditions") or []}
        for condition in conditions:
            before = known.get(condition["type"])
            if before is None or before["status"] != condition["status"]:
                known[condition["type"]] = condition
        status["conditions"] = list(known.values())
        status["acceptedNames"] = new["spec"]["names"]
        status["storedVersions"] = sorted({*(status.get("storedVersions") or []), row.version})
        await self._registry.update(NAME, new, subresource="status", user=_CONTROLLER)
        if CLEANUP not in (definition["metadata"].get("finalizers") or []):
            fresh = copy.deepcopy(self._registry.get(NAME, "", new["metadata"]["name"]))
            fresh["metadata"].setdefault("finalizers", []).append(CLEANUP)
            await self._registry.update(NAME, fresh, user=_CONTROLLER)

    async def _clean_up(self, definition: Object) -> None:
        """Delete every object of the kind, then let the definition go; the last of them to go brings us here again."""
        if CLEANUP not in (definition["metadata"].get("finalizers") or []):
            return
        row = row_of(definition)
        for obj in self._registry.store.list(row.key):
            metadata = obj["metadata"]
            if not metadata.get("deletionTimestamp"):
                await self._registry.delete(row, metadata.get("namespace", ""), metadata["name"], user=_CONTROLLER)
        if self._registry.store.list(row.key):
            return
        fresh = copy.deepcopy(self._registry.get(NAME, "", definition["metadata"]["name"]))
        fresh["metadata"]["finalizers"] = [f for f in fresh["metadata"]["finalizers"] if f != CLEANUP]
        await self._registry.update(NAME, fresh, user=_CONTROLLER)


def _condition(type_: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": timestamp(),
    }
