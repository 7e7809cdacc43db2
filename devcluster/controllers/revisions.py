"""ControllerRevisions: the versions of a StatefulSet's or DaemonSet's template, for rollouts and `kubectl rollout undo`.

In: the owner. Out: its revisions, the current one made when it is not there, old ones forgotten.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from devcluster.api.registry import Registry
from devcluster.controllers.objects import controlled, hash_of, owner
from devcluster.controllers.reconcile import controller

Object = dict[str, Any]
LABEL: Final = "controller-revision-hash"
_KIND: Final = "controllerrevisions.apps"
_WHO: Final = controller("statefulset-controller")


async def current_revision(registry: Registry, by: Object, in_use: set[str]) -> tuple[Object, dict[str, Object]]:
    """Give the revision of the owner's template as it is, and all revisions by name; those beyond the limit go."""
    data = {"spec": {"template": copy.deepcopy(by["spec"]["template"]) | {"$patch": "replace"}}}
    found = sorted(controlled(registry, _KIND, by), key=lambda r: r["revision"])
    highest = found[-1]["revision"] if found else 0
    same = next((r for r in found if r["data"] == data), None)
    if same is None:
        digest = hash_of([by["metadata"]["uid"], data])
        name = f"{by['metadata']['name']}-{digest}"
        metadata = {"name": name, "namespace": by["metadata"]["namespace"], "ownerReferences": [owner(by)]}
        metadata["labels"] = {**(by["spec"]["template"]["metadata"].get("labels") or {}), LABEL: name}
        made = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": data}
        same = await registry.create(_KIND, made | {"revision": highest + 1}, user=_WHO)
        found.append(same)
    elif same["revision"] != highest:
        same = await registry.update(_KIND, copy.deepcopy(same) | {"revision": highest + 1}, user=_WHO)
    name = same["metadata"]["name"]
    idle = [r for r in found if r["metadata"]["name"] not in in_use | {name}]
    for one in idle[: max(0, len(idle) - by["spec"].get("revisionHistoryLimit", 10))]:
        await registry.delete(_KIND, one["metadata"]["namespace"], one["metadata"]["name"], user=_WHO)
    return same, {r["metadata"]["name"]: r for r in found}


def template_of(revision: Object) -> Object:
    """Give the template a revision keeps."""
    template = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return dict(template)
