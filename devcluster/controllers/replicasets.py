"""ReplicaSets: as many pods as asked for.

In: ReplicaSets and the pods they control. Out: pods made and deleted, first those that serve least; status. When pods cannot be made the
reason stands in an event and in the condition ReplicaFailure, and it is tried again.
"""

from __future__ import annotations

import asyncio
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
    with_condition,
)
from devcluster.controllers.reconcile import Loop, controller, find, tell

Object = dict[str, Any]
KIND: Final = "replicasets.apps"
_WHO: Final = controller("replicaset-controller")


class ReplicaSets:
    """Keeps ReplicaSets."""

    def __init__(self, registry: Registry, events: Recorder) -> None:
        self._registry = registry
        self._events = events
        self.loop = Loop("replicaset", self.reconcile)
        self.loop.follow(registry, KIND)
        self.loop.follow(registry, "pods", owner_key("ReplicaSet"))

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Make the pods of one ReplicaSet as many as asked for; raises StatusError when pods cannot be made."""
        found = find(self._registry, KIND, namespace, name)
        if found is None:
            return None
        failure: StatusError | None = None
        if not is_terminating(found):
            pods = [pod for pod in controlled(self._registry, "pods", found) if is_active(pod)]
            missing = found["spec"].get("replicas", 1) - len(pods)
            if missing > 0:
                failure = await self._make(found, missing)
            elif missing < 0:
                await self._remove(found, sorted(pods, key=_worth)[:-missing])
        delay = await self._tell(found, failure)
        if failure is not None:
            raise failure
        return delay

    async def _make(self, by: Object, count: int) -> StatusError | None:
        makes = [self._registry.create("pods", pod_from(by["spec"]["template"], by), user=_WHO) for _ in range(count)]
        failures = []
        for made in await asyncio.gather(*makes, return_exceptions=True):
            if isinstance(made, StatusError):
                failures.append(made)
            elif isinstance(made, BaseException):
                raise made
            else:
                self._events.say(by, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        for failed in failures:
            self._events.say(by, "FailedCreate", f"Error creating: {failed.message}", warning=True)
        return failures[0] if failures else None

    async def _remove(self, by: Object, pods: list[Object]) -> None:
        for pod in pods:
            metadata = pod["metadata"]
            await self._registry.delete("pods", metadata["namespace"], metadata["name"], user=_WHO)
            self._events.say(by, "SuccessfulDelete", f"Deleted pod: {metadata['name']}")

    async def _tell(self, found: Object, failure: StatusError | None) -> float | None:
        latest = find(self._registry, KIND, *_key(found))
        if latest is None:
            return None
        pods = [pod for pod in controlled(self._registry, "pods", latest) if is_active(pod)]
        waits = [available_in(pod, latest["spec"].get("minReadySeconds", 0)) for pod in pods]
        status: Object = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "observedGeneration": latest["metadata"].get("generation", 1),
        }
        if ready := sum(map(is_ready, pods)):
            status["readyReplicas"] = ready
        if available := waits.count(0.0):
            status["availableReplicas"] = available
        conditions = (latest.get("status") or {}).get("conditions") or []
        if failure is not None:
            said = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure.message}
            conditions = with_condition(conditions, said)
        else:
            conditions = [c for c in conditions if c["type"] != "ReplicaFailure"]
        if conditions:
            status["conditions"] = conditions
        await tell(self._registry, KIND, latest, status)
        return min((wait for wait in waits if wait), default=None)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _worth(pod: Object) -> tuple[Any, ...]:
    """What would be missed least comes first: not bound, not running, not ready, restarted often, young."""
    annotations = pod["metadata"].get("annotations") or {}
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return (
        bool(pod["spec"].get("nodeName")),
        ["Pending", "Unknown", "Running"].index(phase(pod)) if phase(pod) in {"Pending", "Running"} else 1,
        is_ready(pod),
        int(annotations.get("controller.kubernetes.io/pod-deletion-cost", "0")),
        -max((status.get("restartCount", 0) for status in statuses), default=0),
        tuple(-ord(letter) for letter in pod["metadata"]["creationTimestamp"]),
    )
