"""The `scale` subresource: how many replicas, for built-in workloads and for custom kinds that say where theirs are.

In: an object, or a Scale. Out: a Scale, or the object with its replicas changed.
"""

from __future__ import annotations

import copy
from typing import Any

from devcluster.api.errors import Object, bad_request
from devcluster.api.kinds import Resource


def paths(row: Resource) -> tuple[str, str, str]:
    """Give where wanted replicas, current replicas and the selector are."""
    for version in (row.definition or {"spec": {"versions": []}})["spec"]["versions"]:
        scale = (version.get("subresources") or {}).get("scale")
        if scale:
            return scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")
    return ".spec.replicas", ".status.replicas", ""


def to_scale(row: Resource, obj: Object) -> Object:
    """Show an object as a Scale."""
    wanted, current, selector = paths(row)
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Object = {"replicas": _find(obj, current) or 0}
    labels = _find(obj, selector) if selector else _selector(obj)
    if labels:
        status["selector"] = labels
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": _find(obj, wanted) or 0},
        "status": status,
    }


def from_scale(obj: Object, scale: Object) -> Object:
    """Give the object with a Scale's replicas; the Scale's resourceVersion is the one expected."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request(f"spec.replicas of a Scale must be a number that is not negative, not {replicas!r}")
    new = copy.deepcopy(obj)
    new.setdefault("spec", {})["replicas"] = replicas
    version = scale["metadata"].get("resourceVersion")
    if version:
        new["metadata"]["resourceVersion"] = version
    return new


def _selector(obj: Object) -> str:
    selector = (obj.get("spec") or {}).get("selector") or {}
    return ",".join(f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())


def _find(obj: Any, path: str) -> Any:
    for part in path.strip(".").split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj
