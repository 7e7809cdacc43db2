"""Deployments: a ReplicaSet for each version of the template, and the move from one to the next.

In: Deployments, their ReplicaSets and pods. Out: ReplicaSets made, scaled and forgotten; revisions; status with the conditions `kubectl
rollout` waits for.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from devcluster.api.registry import Registry
from devcluster.controllers.events import Recorder
from devcluster.controllers.objects import (
    age,
    condition,
    controlled,
    hash_of,
    is_terminating,
    owner,
    owner_key,
    phase,
    with_condition,
)
from devcluster.controllers.reconcile import Loop, controller, find, tell
from devcluster.controllers.rollouts import Count, bounds, recreate, rolling

Object = dict[str, Any]
KIND: Final = "deployments.apps"
_SETS: Final = "replicasets.apps"
_REVISION: Final = "deployment.kubernetes.io/revision"
_HASH: Final = "pod-template-hash"
_NOT_COPIED: Final = ("kubectl.kubernetes.io/last-applied-configuration", _REVISION)
_WHO: Final = controller("deployment-controller")


class Deployments:
    """Keeps Deployments."""

    def __init__(self, registry: Registry, events: Recorder) -> None:
        self._registry = registry
        self._events = events
        self.loop = Loop("deployment", self.reconcile)
        self.loop.follow(registry, KIND)
        self.loop.follow(registry, _SETS, owner_key("Deployment"))
        self.loop.follow(registry, "pods", self._of_pod)

    def _of_pod(self, pod: Object) -> list[tuple[str, str]]:
        """Only a pod that has gone matters here, to a recreation that waits for it; all else shows in the ReplicaSets."""
        if not is_terminating(pod):
            return []
        namespace = pod["metadata"]["namespace"]
        sets = [find(self._registry, _SETS, *key) for key in owner_key("ReplicaSet")(pod)]
        return [key for found in sets if found for key in owner_key("Deployment")(found) if namespace]

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one Deployment a step further."""
        found = find(self._registry, KIND, namespace, name)
        if found is None or is_terminating(found):
            return None
        sets = sorted(controlled(self._registry, _SETS, found), key=_revision)
        new = next((s for s in reversed(sets) if _template(s) == found["spec"]["template"]), None)
        paused = bool(found["spec"].get("paused"))
        if not paused:
            new = await self._current(found, sets, new)
            await self._note_revision(found, _revision(new))
        old = [s for s in sets if new is None or s["metadata"]["uid"] != new["metadata"]["uid"]]
        await self._scale(found, new, old, paused=paused)
        if not paused and new is not None:
            await self._forget(found, old)
        return await self._tell(namespace, name, new["metadata"]["name"] if new else "")

    async def _current(self, found: Object, sets: list[Object], new: Object | None) -> Object:
        """Give the ReplicaSet of the current template, made or brought to the front."""
        highest = max((_revision(s) for s in sets if s is not new), default=0)
        if new is not None:
            annotations = _annotations(found) | {_REVISION: str(max(highest + 1, _revision(new)))}
            if annotations.items() <= (new["metadata"].get("annotations") or {}).items():
                return new
            changed = copy.deepcopy(new)
            changed["metadata"].setdefault("annotations", {}).update(annotations)
            return await self._registry.update(_SETS, changed, user=_WHO)
        template = copy.deepcopy(found["spec"]["template"])
        digest = hash_of([found["metadata"]["uid"], template])
        labels = {**(template["metadata"].get("labels") or {}), _HASH: digest}
        template["metadata"]["labels"] = labels
        selector = copy.deepcopy(found["spec"]["selector"])
        selector.setdefault("matchLabels", {})[_HASH] = digest
        made = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{found['metadata']['name']}-{digest}",
                "namespace": found["metadata"]["namespace"],
                "labels": labels,
                "annotations": _annotations(found) | {_REVISION: str(highest + 1)},
                "ownerReferences": [owner(found)],
            },
            "spec": {
                "replicas": 0,
                "selector": selector,
                "template": template,
                "minReadySeconds": found["spec"].get("minReadySeconds", 0),
            },
        }
        return await self._registry.create(_SETS, made, user=_WHO)

    async def _note_revision(self, found: Object, revision: int) -> None:
        annotations = found["metadata"].get("annotations") or {}
        if annotations.get(_REVISION) == str(revision):
            return
        changed = copy.deepcopy(self._registry.get(KIND, found["metadata"]["namespace"], found["metadata"]["name"]))
        changed["metadata"].setdefault("annotations", {})[_REVISION] = str(revision)
        await self._registry.update(KIND, changed, user=_WHO)

    async def _scale(self, found: Object, new: Object | None, old: list[Object], *, paused: bool) -> None:
        spec = found["spec"]
        if new is None or paused:
            front = new or (old[-1] if old else None)
            if front is not None:
                others = sum(s["spec"]["replicas"] for s in old if s is not front)
                await self._set(found, front, max(0, spec.get("replicas", 1) - others))
            return
        counts, current = [_count(s) for s in old], _count(new)
        if spec["strategy"]["type"] == "Recreate":
            pods = [p for s in old for p in controlled(self._registry, "pods", s)]
            left = sum(phase(p) not in {"Succeeded", "Failed"} for p in pods)
            numbers = recreate(spec, current, counts, old_pods=left)
        else:
            numbers = rolling(spec, current, counts)
        for one in [new, *old]:
            if one["metadata"]["name"] in numbers:
                await self._set(found, one, numbers[one["metadata"]["name"]])

    async def _set(self, found: Object, one: Object, count: int) -> None:
        before = one["spec"]["replicas"]
        if before == count:
            return
        changed = copy.deepcopy(self._registry.get(_SETS, one["metadata"]["namespace"], one["metadata"]["name"]))
        changed["spec"]["replicas"] = count
        surge = bounds(found["spec"])[0] if found["spec"]["strategy"]["type"] == "RollingUpdate" else 0
        whole = found["spec"].get("replicas", 1)
        changed["metadata"].setdefault("annotations", {}).update(
            {
                "deployment.kubernetes.io/desired-replicas": str(whole),
                "deployment.kubernetes.io/max-replicas": str(whole + surge),
            }
        )
        await self._registry.update(_SETS, changed, user=_WHO)
        way = "up" if count > before else "down"
        text = f"Scaled {way} replica set {one['metadata']['name']} from {before} to {count}"
        self._events.say(found, "ScalingReplicaSet", text)

    async def _forget(self, found: Object, old: list[Object]) -> None:
        """Delete ReplicaSets nobody can want to go back to."""
        idle = [s for s in old if not s["spec"]["replicas"] and not (s.get("status") or {}).get("replicas")]
        for one in idle[: max(0, len(idle) - found["spec"].get("revisionHistoryLimit", 10))]:
            await self._registry.delete(_SETS, one["metadata"]["namespace"], one["metadata"]["name"], user=_WHO)

    async def _tell(self, namespace: str, name: str, new: str) -> float | None:
        found = self._registry.get(KIND, namespace, name)
        sets = controlled(self._registry, _SETS, found)
        counts = [_count(s) for s in sets]
        updated = sum(c.present for c in counts if c.name == new)
        available = sum(c.available for c in counts)
        whole = found["spec"].get("replicas", 1)
        numbers = {
            "replicas": sum(c.present for c in counts),
            "updatedReplicas": updated,
            "readyReplicas": sum((s.get("status") or {}).get("readyReplicas", 0) for s in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(0, whole - available),
        }
        status: Object = {"observedGeneration": found["metadata"].get("generation", 1)}
        status |= {key: value for key, value in numbers.items() if value}
        status["conditions"] = self._conditions(found, sets, status, new)
        await tell(self._registry, KIND, found, status)
        return _deadline(found, status)

    def _conditions(self, found: Object, sets: list[Object], status: Object, new: str) -> list[Object]:
        spec, former = found["spec"], found.get("status") or {}
        whole = spec.get("replicas", 1)
        enough = status.get("availableReplicas", 0) >= whole - bounds(spec)[1]
        said = (
            {"status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."}
            if enough
            else {
                "status": "False",
                "reason": "MinimumReplicasUnavailable",
                "message": "Deployment does not have minimum availability.",
            }
        )
        conditions = with_condition(former.get("conditions") or [], {"type": "Available"} | said)
        conditions = [c for c in conditions if c["type"] != "ReplicaFailure"]
        failures = [c for s in sets if s["spec"]["replicas"] and (c := condition(s, "ReplicaFailure"))]
        conditions += failures[:1]
        progressing = _progressing(found, status, new)
        if progressing is None:
            return conditions
        return with_condition(conditions, progressing, again=progressing["reason"] == "ReplicaSetUpdated")


def _progressing(found: Object, status: Object, new: str) -> Object | None:
    """Tell whether a rollout moves; None leaves what was said before."""
    former, spec = found.get("status") or {}, found["spec"]
    whole = spec.get("replicas", 1)
    if spec.get("paused"):
        said = {"status": "Unknown", "reason": "DeploymentPaused", "message": "Deployment is paused"}
        return {"type": "Progressing"} | said
    numbers = ("replicas", "updatedReplicas", "availableReplicas")
    complete = all(status.get(key, 0) == whole for key in numbers)
    before = condition(found, "Progressing")
    moved = any(status.get(key, 0) != former.get(key, 0) for key in numbers) or before is None
    moved = moved or former.get("observedGeneration") != status["observedGeneration"]
    if complete:
        text = f'ReplicaSet "{new}" has successfully progressed.'
        said = {"status": "True", "reason": "NewReplicaSetAvailable", "message": text}
    elif moved:
        text = f'ReplicaSet "{new}" is progressing.'
        said = {"status": "True", "reason": "ReplicaSetUpdated", "message": text}
    elif before and before["reason"] == "ReplicaSetUpdated" and age(before["lastUpdateTime"]) >= _limit(spec):
        text = f'ReplicaSet "{new}" has timed out progressing.'
        said = {"status": "False", "reason": "ProgressDeadlineExceeded", "message": text}
    else:
        return None
    return {"type": "Progressing"} | said


def _limit(spec: Object) -> float:
    return float(spec.get("progressDeadlineSeconds", 600))


def _deadline(found: Object, status: Object) -> float | None:
    told = next((c for c in status["conditions"] if c["type"] == "Progressing"), None)
    if told is None or told["reason"] != "ReplicaSetUpdated":
        return None
    return max(0.5, _limit(found["spec"]) - age(told["lastUpdateTime"]) + 0.5)


def _count(one: Object) -> Count:
    status = one.get("status") or {}
    return Count(
        name=one["metadata"]["name"],
        wanted=one["spec"]["replicas"],
        present=status.get("replicas", 0),
        available=status.get("availableReplicas", 0),
    )


def _revision(one: Object) -> int:
    try:
        return int((one["metadata"].get("annotations") or {}).get(_REVISION, 0))
    except ValueError:
        return 0


def _annotations(found: Object) -> dict[str, str]:
    return {k: v for k, v in (found["metadata"].get("annotations") or {}).items() if k not in _NOT_COPIED}


def _template(one: Object) -> Object:
    """The template as its Deployment had it."""
    template = copy.deepcopy(one["spec"]["template"])
    labels = template["metadata"].get("labels") or {}
    labels.pop(_HASH, None)
    return dict(template)
