"""DaemonSets: one pod on the one node, replaced when the template changes.

In: DaemonSets and the pods they control. Out: a pod made or deleted; status. With `maxSurge` the new pod comes before the old one goes.
"""

from __future__ import annotations

from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.controllers.events import Recorder
from devcluster.controllers.objects import (
    available_in,
    controlled,
    is_ready,
    is_terminating,
    owner_key,
    phase,
    pod_from,
    share,
)
from devcluster.controllers.reconcile import Loop, controller, find, tell
from devcluster.controllers.revisions import LABEL, current_revision
from devcluster.controllers.scheduler import fits

Object = dict[str, Any]
KIND: Final = "daemonsets.apps"
_WHO: Final = controller("daemon-set-controller")


class DaemonSets:
    """Keeps DaemonSets."""

    def __init__(self, registry: Registry, events: Recorder) -> None:
        self._registry = registry
        self._events = events
        self.loop = Loop("daemonset", self.reconcile)
        self.loop.follow(registry, KIND)
        self.loop.follow(registry, "pods", owner_key("DaemonSet"))

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one DaemonSet a step further."""
        found = find(self._registry, KIND, namespace, name)
        if found is None or is_terminating(found):
            return None
        pods = controlled(self._registry, "pods", found)
        update, _ = await current_revision(self._registry, found, {_revision(p) for p in pods})
        revision = update["metadata"]["name"]
        nodes = [n for n in self._registry.list("nodes") if fits(found["spec"]["template"]["spec"], n)]
        for pod in pods:
            ended = phase(pod) in {"Succeeded", "Failed"}
            if (ended or not nodes) and not is_terminating(pod):
                await self._delete(found, pod)
        living = [p for p in controlled(self._registry, "pods", found) if phase(p) not in {"Succeeded", "Failed"}]
        if nodes:
            await self._step(found, living, revision)
        return await self._tell(namespace, name, revision, len(nodes))

    async def _step(self, found: Object, pods: list[Object], revision: str) -> None:
        """Make the pod, or replace one of another revision."""
        strategy = found["spec"].get("updateStrategy") or {}
        surge = share((strategy.get("rollingUpdate") or {}).get("maxSurge", 0), 1, up=True) > 0
        new = [p for p in pods if _revision(p) == revision]
        old = [p for p in pods if _revision(p) != revision]
        if not pods:
            await self._create(found, revision)
        elif old and strategy.get("type") != "OnDelete":
            if surge and not new:
                await self._create(found, revision)
            elif not surge or _available(found, new[0]):
                for pod in old:
                    if not is_terminating(pod):
                        await self._delete(found, pod)

    async def _create(self, found: Object, revision: str) -> None:
        pod = pod_from(found["spec"]["template"], found)
        generation = str(found["metadata"].get("generation", 1))
        labels = pod["metadata"].get("labels") or {}
        pod["metadata"]["labels"] = labels | {LABEL: revision, "pod-template-generation": generation}
        try:
            made = await self._registry.create("pods", pod, user=_WHO)
        except StatusError as refused:
            self._events.say(found, "FailedCreate", f"Error creating: {refused.message}", warning=True)
            raise
        self._events.say(found, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    async def _delete(self, found: Object, pod: Object) -> None:
        await self._registry.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], user=_WHO)
        self._events.say(found, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    async def _tell(self, namespace: str, name: str, revision: str, nodes: int) -> float | None:
        found = self._registry.get(KIND, namespace, name)
        pods = [p for p in controlled(self._registry, "pods", found) if not is_terminating(p)]
        waits = [available_in(p, found["spec"].get("minReadySeconds", 0)) for p in pods]
        available = min(waits.count(0.0), nodes)
        numbers = {
            "updatedNumberScheduled": min(sum(_revision(p) == revision for p in pods), nodes),
            "numberAvailable": available,
            "numberUnavailable": nodes - available,
        }
        status: Object = {
            "currentNumberScheduled": min(len(pods), nodes),
            "numberMisscheduled": 0,
            "desiredNumberScheduled": nodes,
            "numberReady": min(sum(map(is_ready, pods)), nodes),
            "observedGeneration": found["metadata"].get("generation", 1),
        }
        await tell(self._registry, KIND, found, status | {key: value for key, value in numbers.items() if value})
        return min((wait for wait in waits if wait), default=None)


def _revision(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(LABEL, ""))


def _available(found: Object, pod: Object) -> bool:
    return available_in(pod, found["spec"].get("minReadySeconds", 0)) == 0.0
