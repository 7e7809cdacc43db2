"""What the server itself writes into objects: identity, versions of the spec, what an update may not touch, and how an end begins.

Pure: the clock and the dice are arguments. In: an object as a caller gave it, and the stored one. Out: the object with its metadata right.
Refuses objects of another kind, name or namespace than the request's, and changes of what is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devcluster.api.errors import Object, StatusError, bad_request, conflict, forbidden, invalid
from devcluster.api.kinds import Resource

STALE = "the object has been modified; please apply your changes to the latest version and try again"
_FIXED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def timestamp(moment: datetime | None = None) -> str:
    """Write a moment (now, when none is given) as metadata holds it."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_kind(row: Resource, obj: Any) -> Object:
    """Make sure a body is an object of the kind asked for; fills in apiVersion and kind when they are left out."""
    if not isinstance(obj, dict):
        raise bad_request(f"the body must be an object of kind {row.kind}, not {type(obj).__name__}")
    group, _, version = str(obj.get("apiVersion") or row.api_version).rpartition("/")
    if obj.get("kind", row.kind) != row.kind or group != row.group or version not in row.versions:
        said = f"{obj.get('apiVersion')}, Kind={obj.get('kind')}"
        raise bad_request(
            f"the object provided is unrecognized: expected {row.api_version}, Kind={row.kind}, got {said}"
        )
    if not isinstance(obj.setdefault("metadata", {}), dict):
        raise bad_request(f"metadata of {row.kind} must be an object")
    obj["apiVersion"], obj["kind"] = row.api_version, row.kind
    return obj


def begin(row: Resource, obj: Object, uid: str) -> None:
    """Give a new object its identity, in place; what only the server may set is taken away."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for name in (*_FIXED, "resourceVersion"):
        metadata.pop(name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:58] + uid.replace("-", "")[-5:]
    if not metadata.get("name"):
        cause = {"reason": "FieldValueRequired", "message": "Required value: name or generateName is required"}
        raise invalid(row.group, row.kind, "", [cause | {"field": "metadata.name"}])
    if not row.namespaced:
        metadata.pop("namespace", None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = timestamp()
    if row.generation or row.custom:
        metadata["generation"] = 1
    if "status" in row.subresources and row.kind not in {"CustomResourceDefinition", "Node"}:
        obj.pop("status", None)


def carry(row: Resource, old: Object, new: Object, subresource: str) -> Object:
    """Bring what an update may not touch over from the stored object; raises StatusError(409 or 422)."""
    metadata, before = new["metadata"], old["metadata"]
    name = before["name"]
    if metadata.get("resourceVersion") and metadata["resourceVersion"] != before["resourceVersion"]:
        raise conflict(row.group, row.plural, name, STALE)
    if metadata.get("uid") and metadata["uid"] != before["uid"]:
        said = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
        raise conflict(row.group, row.plural, name, said)
    if subresource == "finalize":
        return old | {"spec": new.get("spec") or {}}
    if subresource:
        kept = {key: value for key, value in old.items() if key != "status"}
        if "status" in new:
            kept["status"] = new["status"]
        managed = metadata.get("managedFields", before.get("managedFields"))
        return kept | {"metadata": before | ({"managedFields": managed} if managed else {})}
    for key in (*_FIXED, "name", "namespace", "resourceVersion"):
        metadata.pop(key, None)
        if key in before:
            metadata[key] = before[key]
    if "status" in row.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if before.get("deletionTimestamp"):
        added = set(metadata.get("finalizers") or []) - set(before.get("finalizers") or [])
        if added:
            said = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {sorted(added)}"
            cause = {"reason": "FieldValueForbidden", "message": said, "field": "metadata.finalizers"}
            raise invalid(row.group, row.kind, name, [cause])
    return new


def same(old: Object, new: Object) -> bool:
    """Tell whether an update changes nothing that is worth a new version."""

    def owned(obj: Object) -> list[Object]:
        return [entry | {"time": ""} for entry in obj["metadata"].get("managedFields") or []]

    def plain(obj: Object) -> Object:
        return obj | {"metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}

    return plain(old) == plain(new) and owned(old) == owned(new)


def count_generation(row: Resource, old: Object, new: Object) -> None:
    """Raise the generation when what is wanted has changed, in place."""
    if not (row.generation or row.custom):
        return
    aside = {"metadata", "status"}
    if {k: v for k, v in old.items() if k not in aside} != {k: v for k, v in new.items() if k not in aside}:
        new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a delete does to an object: its new state, or None when it goes at once."""

    pending: Object | None


def end(row: Resource, old: Object, options: Object) -> Ending:
    """Decide how an object ends; raises StatusError(409) on failed preconditions."""
    metadata = old["metadata"]
    for name, wanted in (options.get("preconditions") or {}).items():
        key = {"uid": "uid", "resourceVersion": "resourceVersion"}.get(name, "")
        if wanted and metadata.get(key) != wanted:
            said = f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {metadata.get(key)}"
            raise conflict(row.group, row.plural, metadata["name"], said)
    finalizers = list(metadata.get("finalizers") or [])
    policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "")
    for kind, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        if policy == kind and finalizer not in finalizers:
            finalizers.append(finalizer)
    grace = _grace(row, old, options)
    if not finalizers and not grace and row.key != ("", "namespaces"):
        return Ending(pending=None)
    if metadata.get("deletionTimestamp"):
        grace = min(grace, metadata.get("deletionGracePeriodSeconds", 0))
    changed = dict(metadata)
    if finalizers:
        changed["finalizers"] = finalizers
    if not metadata.get("deletionTimestamp") or grace < metadata.get("deletionGracePeriodSeconds", 0):
        changed["deletionTimestamp"] = timestamp(datetime.now(UTC) + timedelta(seconds=grace))
        changed["deletionGracePeriodSeconds"] = grace
        if "generation" in changed:
            changed["generation"] += 1
    pending = old | {"metadata": changed}
    if row.key == ("", "namespaces"):
        pending["status"] = (old.get("status") or {}) | {"phase": "Terminating"}
    return Ending(pending=pending)


def _grace(row: Resource, old: Object, options: Object) -> int:
    """Give the seconds a pod gets; everything else, and a pod that does not run, gets none."""
    if row.key != ("", "pods"):
        return 0
    if not old["spec"].get("nodeName") or old.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    given = options.get("gracePeriodSeconds")
    return int(old["spec"].get("terminationGracePeriodSeconds", 30) if given is None else given)


def may_go(obj: Object) -> bool:
    """Tell whether an object that is being deleted has nothing left that holds it."""
    metadata = obj["metadata"]
    waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    held = obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers")
    return bool(metadata.get("deletionTimestamp")) and not waits and not held


def check_namespace(row: Resource, obj: Object, namespace: Object | None) -> None:
    """Refuse to make objects in a namespace that is not there, or on its way out."""
    name = obj["metadata"].get("namespace", "")
    if namespace is None:
        raise StatusError(404, "NotFound", f'namespaces "{name}" not found', {"name": name, "kind": "namespaces"})
    if namespace["metadata"].get("deletionTimestamp"):
        said = f"unable to create new content in namespace {name} because it is being terminated"
        error = forbidden(row.group, row.plural, obj["metadata"].get("name", ""), said)
        cause = {"reason": "NamespaceTerminating", "message": f"namespace {name} is being terminated"}
        error.details = (error.details or {}) | {"causes": [cause | {"field": "metadata.namespace"}]}
        raise error
