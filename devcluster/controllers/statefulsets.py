"""StatefulSets: pods with names that stay, made in order and updated from the last to the first.

In: StatefulSets and the pods they control. Out: pods made, deleted and replaced; status. Claims of `volumeClaimTemplates` are not made.
"""

from __future__ import annotations

from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.controllers.events import Recorder
from devcluster.controllers.objects import (
    available_in,
    controlled,
    is_active,
    is_ready,
    is_terminating,
    owner_key,
    phase,
    pod_from,
)
from devcluster.controllers.reconcile import Loop, controller, find, tell
from devcluster.controllers.revisions import LABEL, current_revision, template_of

Object = dict[str, Any]
KIND: Final = "statefulsets.apps"
_WHO: Final = controller("statefulset-controller")


class StatefulSets:
    """Keeps StatefulSets."""

    def __init__(self, registry: Registry, events: Recorder) -> None:
        self._registry = registry
        self._events = events
        self.loop = Loop("statefulset", self.reconcile)
        self.loop.follow(registry, KIND)
        self.loop.follow(registry, "pods", owner_key("StatefulSet"))

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one StatefulSet a step further."""
        found = find(self._registry, KIND, namespace, name)
        if found is None or is_terminating(found):
            return None
        pods = {p["metadata"]["name"]: p for p in controlled(self._registry, "pods", found)}
        status = found.get("status") or {}
        update, revisions = await current_revision(self._registry, found, {_revision(p) for p in pods.values()})
        current = revisions.get(status.get("currentRevision", ""), update)
        wanted = _names(found)
        await self._make(found, wanted, pods, (current, update))
        await self._update(found, wanted, update["metadata"]["name"])
        return await self._tell(namespace, name, (current, update))

    async def _make(
        self, found: Object, wanted: list[str], pods: dict[str, Object], revisions: tuple[Object, Object]
    ) -> None:
        in_order = found["spec"].get("podManagementPolicy") != "Parallel"
        for index, name in enumerate(wanted):
            pod = pods.get(name)
            if pod is not None and phase(pod) in {"Succeeded", "Failed"} and not is_terminating(pod):
                await self._delete(found, name)
                return
            if pod is None:
                await self._create(found, name, index, revisions)
            if in_order and (pod is None or is_terminating(pod) or not _available(found, pod)):
                return
        surplus = sorted((n for n in pods if n not in wanted), key=_ordinal, reverse=True)
        for name in surplus:
            if not is_terminating(pods[name]):
                await self._delete(found, name)
            if in_order:
                return

    async def _create(self, found: Object, name: str, index: int, revisions: tuple[Object, Object]) -> None:
        current, update = revisions
        partition = ((found["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0
        revision = current if index < partition else update
        pod = pod_from(template_of(revision), found, name)
        pod["metadata"]["labels"] = {
            **(pod["metadata"].get("labels") or {}),
            LABEL: revision["metadata"]["name"],
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(_ordinal(name)),
        }
        pod["spec"] |= {"hostname": name, "subdomain": found["spec"].get("serviceName", "")}
        text = f"create Pod {name} in StatefulSet {found['metadata']['name']}"
        try:
            await self._registry.create("pods", pod, user=_WHO)
        except StatusError as refused:
            if refused.reason != "AlreadyExists":
                self._events.say(found, "FailedCreate", f"{text} failed error: {refused.message}", warning=True)
            raise
        self._events.say(found, "SuccessfulCreate", f"{text} successful")

    async def _delete(self, found: Object, name: str) -> None:
        await self._registry.delete("pods", found["metadata"]["namespace"], name, user=_WHO)
        self._events.say(
            found, "SuccessfulDelete", f"delete Pod {name} in StatefulSet {found['metadata']['name']} successful"
        )

    async def _update(self, found: Object, wanted: list[str], revision: str) -> None:
        """Replace the last pod that is of another revision, when all after it are well."""
        strategy = found["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        pods = {p["metadata"]["name"]: p for p in controlled(self._registry, "pods", found)}
        if any(name not in pods for name in wanted):
            return
        for index in range(len(wanted) - 1, partition - 1, -1):
            pod = pods[wanted[index]]
            if is_terminating(pod):
                return
            if _revision(pod) != revision:
                await self._delete(found, wanted[index])
                return
            if not _available(found, pod):
                return

    async def _tell(self, namespace: str, name: str, revisions: tuple[Object, Object]) -> float | None:
        found = self._registry.get(KIND, namespace, name)
        pods = [p for p in controlled(self._registry, "pods", found) if is_active(p)]
        current, update = (r["metadata"]["name"] for r in revisions)
        waits = [available_in(p, found["spec"].get("minReadySeconds", 0)) for p in pods]
        updated = sum(_revision(p) == update for p in pods)
        whole = found["spec"].get("replicas", 1)
        if updated == whole == len(pods) and waits.count(0.0) == whole:
            current = update
        numbers = {
            "readyReplicas": sum(map(is_ready, pods)),
            "currentReplicas": sum(_revision(p) == current for p in pods),
            "updatedReplicas": updated,
        }
        status: Object = {
            "observedGeneration": found["metadata"].get("generation", 1),
            "replicas": len(pods),
            "availableReplicas": waits.count(0.0),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        await tell(self._registry, KIND, found, status | {key: value for key, value in numbers.items() if value})
        return min((wait for wait in waits if wait), default=None)


def _names(found: Object) -> list[str]:
    first = (found["spec"].get("ordinals") or {}).get("start", 0)
    return [f"{found['metadata']['name']}-{first + number}" for number in range(found["spec"].get("replicas", 1))]


def _ordinal(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else -1


def _revision(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(LABEL, ""))


def _available(found: Object, pod: Object) -> bool:
    return available_in(pod, found["spec"].get("minReadySeconds", 0)) == 0.0
