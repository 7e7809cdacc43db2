"""What the workload loops have in common: owners, pods from templates, readiness, percentages, conditions.

Pure. In: objects. Out: objects and answers.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from devcluster.api.registry import Registry

Object = dict[str, Any]
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""As Kubernetes spells hashes: no vowels, so no words."""


def now() -> str:
    """The time as objects carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(stamp: str) -> float:
    """Seconds since a time an object carries."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()


def owner(obj: Object) -> Object:
    """Make the reference by which an object controls another."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """Find the reference to what controls an object."""
    return next((o for o in obj["metadata"].get("ownerReferences") or [] if o.get("controller")), None)


def controlled(registry: Registry, kind: str, by: Object) -> list[Object]:
    """List the objects another one controls."""
    metadata = by["metadata"]
    found = registry.list(kind, metadata["namespace"])
    return [o for o in found if (owned := controller_of(o)) is not None and owned["uid"] == metadata["uid"]]


def owner_key(kind: str) -> Any:
    """Give the function from an object to the key of the owner of that kind that controls it."""

    def key(obj: Object) -> list[tuple[str, str]]:
        found = controller_of(obj)
        return [(obj["metadata"]["namespace"], found["name"])] if found and found["kind"] == kind else []

    return key


def pod_from(template: Object, by: Object, name: str = "") -> Object:
    """Make a pod from a template; without a name the server gives it one after its owner's."""
    metadata = copy.deepcopy(template.get("metadata") or {})
    metadata["namespace"] = by["metadata"]["namespace"]
    metadata["ownerReferences"] = [owner(by)]
    metadata |= {"name": name} if name else {"generateName": by["metadata"]["name"] + "-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def hash_of(value: Any, length: int = 10) -> str:
    """Give a short hash of what an object says."""
    number = int.from_bytes(hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest())
    letters = ""
    while len(letters) < length:
        number, index = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[index]
    return letters


def condition(obj: Object, kind: str) -> Object | None:
    """Find a condition of an object."""
    return next((c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == kind), None)


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready."""
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def is_terminating(obj: Object) -> bool:
    """Whether an object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def phase(pod: Object) -> str:
    """The phase of a pod."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_active(pod: Object) -> bool:
    """Whether a pod counts: it has not ended and is not being deleted."""
    return not is_terminating(pod) and phase(pod) not in {"Succeeded", "Failed"}


def available_in(pod: Object, seconds: float) -> float | None:
    """How long until a pod has been ready for so many seconds; None while it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found["status"] != "True":
        return None
    return max(0.0, seconds - age(found["lastTransitionTime"])) if seconds else 0.0


def share(value: float | str | None, whole: int, *, up: bool) -> int:
    """Read a number or a percentage of a whole."""
    if isinstance(value, str) and value.endswith("%"):
        part = int(value[:-1]) * whole / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value or 0)


def with_condition(conditions: Iterable[Object], new: Object, *, again: bool = False) -> list[Object]:
    """Replace a condition by its type; its times stay while it says the same and is not said again."""
    kept = list(conditions)
    former = next((c for c in kept if c["type"] == new["type"]), None)
    stamp = now()
    if former is not None:
        same = {key: former.get(key) for key in ("status", "reason", "message")}
        if same == {key: new.get(key) for key in same} and not again:
            return kept
        moved = former["status"] != new["status"]
        made = new | {"lastUpdateTime": stamp, "lastTransitionTime": stamp if moved else former["lastTransitionTime"]}
        return [made if c is former else c for c in kept]
    return [*kept, new | {"lastUpdateTime": stamp, "lastTransitionTime": stamp}]
