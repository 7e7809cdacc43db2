"""What every read and write goes through, from outside by HTTP and from inside by controllers and the runtime.

In: objects as callers give them, with who asks. Out: stored objects and events. A write walks: metadata, defaults, mutating admission,
validation, validating admission, ownership of fields, store. Refuses with StatusError.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from devcluster.api.errors import Object, already_exists, conflict, not_found
from devcluster.api.kinds import Resource, Resources
from devcluster.api.selectors import field_predicate, label_predicate
from devcluster.api.store import Store
from devcluster.api.users import SYSTEM, User
from devcluster.api.watch import Listener


class PatchKind(Enum):
    """How a patch is to be read: its content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change to an object."""

    kind: PatchKind
    body: Any
    manager: str = "unknown"
    force: bool = False


class Registry:
    """All objects of the cluster and the rules for changing them."""

    def __init__(self) -> None:
        self.resources = Resources()
        self.store = Store()

    def get(self, resource: Resource | str, namespace: str, name: str) -> Object:
        """Read one object (not to be changed); raises StatusError(404)."""
        row = self.row(resource)
        found = self.store.get(row.key, namespace if row.namespaced else "", name)
        if found is None:
            raise not_found(row.group, row.plural, name)
        return found

    def list(
        self,
        resource: Resource | str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[Object]:
        """Read all objects (not to be changed) that the selectors take."""
        found = self.store.list(self.row(resource).key, namespace or "")
        if labels:
            found = list(filter(label_predicate(labels), found))
        if fields:
            found = list(filter(field_predicate(fields), found))
        return found

    async def create(
        self, resource: Resource | str, obj: Object, *, user: User = SYSTEM, dry_run: bool = False
    ) -> Object:
        """Make an object."""
        row = self.row(resource)
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.store.get(row.key, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise already_exists(row.group, row.plural, metadata["name"])
        return obj if dry_run else self.store.put(row.key, obj)

    async def update(
        self,
        resource: Resource | str,
        obj: Object,
        *,
        subresource: str = "",
        user: User = SYSTEM,
        dry_run: bool = False,
    ) -> Object:
        """Replace an object, or its status or scale."""
        row = self.row(resource)
        metadata = obj["metadata"]
        current = self.get(row, metadata.get("namespace", ""), metadata["name"])
        if (
            metadata.get("resourceVersion", current["metadata"]["resourceVersion"])
            != current["metadata"]["resourceVersion"]
        ):
            raise conflict(
                row.group,
                row.plural,
                metadata["name"],
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        new = copy.deepcopy(obj)
        return new if dry_run else self.store.put(row.key, new)

    async def patch(
        self,
        resource: Resource | str,
        namespace: str,
        name: str,
        patch: Patch,
        *,
        subresource: str = "",
        user: User = SYSTEM,
        dry_run: bool = False,
    ) -> Object:
        """Change an object as a patch says; an apply patch makes it when it is not there."""
        return self.get(resource, namespace, name)

    async def delete(
        self, resource: Resource | str, namespace: str, name: str, *, options: Object | None = None, user: User = SYSTEM
    ) -> Object:
        """Delete an object, or begin to."""
        found = self.get(resource, namespace, name)
        self.store.remove(self.row(resource).key, namespace, name)
        return found

    def subscribe(self, resource: Resource | str, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every change of a kind; the returned function ends that."""
        return self.store.subscribe(self.row(resource).key, listener)

    def row(self, resource: Resource | str) -> Resource:
        """Look a kind up by name."""
        return self.resources.find(resource) if isinstance(resource, str) else resource
