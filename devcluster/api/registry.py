"""What every read and write goes through, from outside by HTTP and from inside by controllers and the runtime.

In: objects as callers give them, with who asks. Out: stored objects and events. A write walks: identity, defaults, mutating admission,
validation, validating admission, ownership of fields, store. Refuses with StatusError.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from dataclasses import replace

from devcluster.api import defaults, lifecycle, ownership
from devcluster.api.addresses import Addresses
from devcluster.api.calls import Call, Gate, OpenGate, Patch, PatchKind, Step
from devcluster.api.errors import Object, already_exists, bad_request, conflict, invalid, not_found
from devcluster.api.kinds import Resource, Resources
from devcluster.api.patches import json_patch, merge_patch
from devcluster.api.scale import from_scale, to_scale
from devcluster.api.selectors import field_predicate, label_predicate
from devcluster.api.shapes import shape_of
from devcluster.api.store import Store
from devcluster.api.strategic import strategic_merge
from devcluster.api.users import SYSTEM, User
from devcluster.api.watch import Listener

__all__ = ["Patch", "PatchKind", "Registry"]

TRIES = 8
"""How often a patch is made anew when somebody else wrote meanwhile."""


class _MovedError(Exception):
    """Somebody else wrote while admission was asked."""


class Registry:
    """All objects of the cluster and the rules for changing them."""

    def __init__(self) -> None:
        self.resources = Resources()
        self.store = Store()
        self.gate: Gate = OpenGate()
        self._addresses = Addresses()

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
        self, resource: Resource | str, obj: Object, *, user: User | Call = SYSTEM, dry_run: bool = False
    ) -> Object:
        """Make an object."""
        row = self.row(resource)
        return await self._create(row, copy.deepcopy(obj), _call(user, dry_run), "Update")

    async def _create(self, row: Resource, obj: Object, call: Call, operation: str) -> Object:
        step = Step(row=row, operation="CREATE", call=call)
        obj = lifecycle.check_kind(row, obj)
        self.gate.decode(step, obj)
        lifecycle.begin(row, obj, str(uuid.uuid4()))
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if row.namespaced:
            lifecycle.check_namespace(row, obj, self.store.get(("", "namespaces"), "", namespace))
        if self.store.get(row.key, namespace, name) is not None:
            raise already_exists(row.group, row.plural, name)
        obj = await self._judge(step, obj, None)
        if row.key == ("", "services"):
            self._addresses.assign(obj, None, self.store.list(row.key))
        if operation == "Update":
            ownership.record(None, obj, shape_of(row, call.version), _manager(step, operation))
        if call.dry_run:
            return obj
        if self.store.get(row.key, namespace, name) is not None:
            raise already_exists(row.group, row.plural, name)
        return self.store.put(row.key, obj)

    async def update(
        self,
        resource: Resource | str,
        obj: Object,
        *,
        subresource: str = "",
        user: User | Call = SYSTEM,
        dry_run: bool = False,
    ) -> Object:
        """Replace an object, or its status or scale."""
        row = self.row(resource)
        call = _call(user, dry_run)
        metadata = obj["metadata"]
        step = Step(row=row, operation="UPDATE", call=call, subresource=subresource)

        def change(current: Object) -> Object:
            new = copy.deepcopy(obj)
            return from_scale(current, new) if subresource == "scale" else new

        stored = await self._change(step, metadata.get("namespace", ""), metadata["name"], change)
        return to_scale(row, stored) if subresource == "scale" else stored

    async def patch(  # noqa: PLR0913 - the request's own parts
        self,
        resource: Resource | str,
        namespace: str,
        name: str,
        patch: Patch,
        *,
        subresource: str = "",
        user: User | Call = SYSTEM,
    ) -> Object:
        """Change an object as a patch says; an apply patch makes it when it is not there."""
        row = self.row(resource)
        call = _call(user, False)
        step = Step(row=row, operation="UPDATE", call=call, subresource=subresource)
        if patch.kind is PatchKind.APPLY:
            return await self._apply(step, namespace, name, patch)
        if patch.kind is PatchKind.STRATEGIC and row.custom:
            said = "the body of the request was in an unknown format - accepted media types include: "
            raise bad_request(said + "application/json-patch+json, application/merge-patch+json")

        def change(current: Object) -> Object:
            shown = to_scale(row, current) if subresource == "scale" else current
            new = _patched(row, shown, patch)
            if new["metadata"].get("name") != name:
                cause = {"reason": "FieldValueInvalid", "field": "metadata.name", "message": "field is immutable"}
                raise invalid(row.group, row.kind, name, [cause])
            return from_scale(current, new) if subresource == "scale" else new

        stored = await self._change(step, namespace, name, change)
        return to_scale(row, stored) if subresource == "scale" else stored

    async def _apply(self, step: Step, namespace: str, name: str, patch: Patch) -> Object:
        row = step.row
        config = lifecycle.check_kind(row, copy.deepcopy(patch.body))
        metadata = config["metadata"]
        if metadata.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if row.namespaced:
            metadata["namespace"] = namespace
        self.gate.decode(step, config)
        shape, manager = shape_of(row, step.call.version), _manager(step, "Apply")
        if self.store.get(row.key, metadata.get("namespace", ""), name) is None:
            if metadata.get("resourceVersion"):
                raise conflict(row.group, row.plural, name, lifecycle.STALE)
            first = ownership.apply(None, config, shape, manager, force=patch.force)
            return await self._create(row, first, step.call, "Apply")

        def change(current: Object) -> Object:
            merged = ownership.apply(current, config, shape, manager, force=patch.force)
            if "resourceVersion" in metadata:
                merged["metadata"]["resourceVersion"] = metadata["resourceVersion"]
            return merged

        return await self._change(step, metadata.get("namespace", ""), name, change, "Apply")

    async def _change(
        self, step: Step, namespace: str, name: str, change: Callable[[Object], Object], operation: str = "Update"
    ) -> Object:
        """Make the new object from the stored one, until nobody wrote in between."""
        for _ in range(TRIES):
            try:
                return await self._replace(step, self.get(step.row, namespace, name), change, operation)
            except _MovedError:
                continue
        raise conflict(step.row.group, step.row.plural, name, lifecycle.STALE)

    async def _replace(self, step: Step, old: Object, change: Callable[[Object], Object], operation: str) -> Object:
        row, namespace, name = step.row, old["metadata"].get("namespace", ""), old["metadata"]["name"]
        new = lifecycle.check_kind(row, change(old))
        self.gate.decode(step, new)
        inner = "" if step.subresource == "scale" else step.subresource
        new = lifecycle.carry(row, old, new, inner)
        new = await self._judge(step, new, old)
        if row.key == ("", "services"):
            self._addresses.assign(new, old, self.store.list(row.key))
        if operation == "Update":
            ownership.record(old, new, shape_of(row, step.call.version), _manager(step, operation))
        if lifecycle.same(old, new):
            return old
        if not inner:
            lifecycle.count_generation(row, old, new)
        if self.store.get(row.key, namespace, name) is not old:
            raise _MovedError
        if step.call.dry_run:
            return new
        if lifecycle.may_go(new):
            return self.store.remove(row.key, namespace, name) or new
        return self.store.put(row.key, new)

    async def _judge(self, step: Step, obj: Object, old: Object | None) -> Object:
        """Default, mutate and validate what was read."""
        self._fill(step, obj)
        mutated = await self.gate.mutate(step, obj, old)
        self.gate.decode(replace(step, call=replace(step.call, validation="Ignore")), mutated)
        self._fill(step, mutated)
        await self.gate.validate(step, mutated, old)
        return mutated

    def _fill(self, step: Step, obj: Object) -> None:
        self.gate.default(step, obj)
        if not step.row.custom:
            defaults.fill(obj)

    async def delete(
        self,
        resource: Resource | str,
        namespace: str,
        name: str,
        *,
        options: Object | None = None,
        user: User | Call = SYSTEM,
    ) -> Object:
        """Delete an object, or begin to; gives its last state."""
        row = self.row(resource)
        call = _call(user, False)
        for _ in range(TRIES):
            old = self.get(row, namespace, name)
            step = Step(row=row, operation="DELETE", call=call, options=options or {})
            await self.gate.validate(step, None, old)
            ending = lifecycle.end(row, old, options or {})
            if call.dry_run:
                return ending.pending or old
            namespace = old["metadata"].get("namespace", "")
            if self.store.get(row.key, namespace, name) is not old:
                continue
            if ending.pending is None or lifecycle.may_go(ending.pending):
                return self.store.remove(row.key, namespace, name) or old
            if ending.pending == old:
                return old
            return self.store.put(row.key, copy.deepcopy(ending.pending))
        raise conflict(row.group, row.plural, name, lifecycle.STALE)

    def subscribe(self, resource: Resource | str, listener: Listener) -> Callable[[], None]:
        """Call `listener` at every change of a kind; the returned function ends that."""
        return self.store.subscribe(self.row(resource).key, listener)

    def row(self, resource: Resource | str) -> Resource:
        """Look a kind up by name."""
        return self.resources.find(resource) if isinstance(resource, str) else resource


def _call(user: User | Call, dry_run: bool) -> Call:
    call = user if isinstance(user, Call) else Call(user=user)
    return replace(call, dry_run=True) if dry_run else call


def _manager(step: Step, operation: str) -> ownership.Manager:
    version = step.call.version or step.row.version
    return ownership.Manager(
        name=step.call.manager,
        operation=operation,
        api_version=f"{step.row.group}/{version}".lstrip("/"),
        subresource=step.subresource,
        time=lifecycle.timestamp(),
    )


def _patched(row: Resource, current: Object, patch: Patch) -> Object:
    match patch.kind:
        case PatchKind.JSON:
            new = json_patch(current, patch.body)
        case PatchKind.STRATEGIC:
            new = copy.deepcopy(strategic_merge(current, patch.body, shape_of(row)))
        case _:
            if not isinstance(patch.body, dict):
                raise bad_request("a merge patch of an object is an object")
            new = copy.deepcopy(merge_patch(current, patch.body))
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise bad_request("the patch leaves no object with metadata")
    return new
