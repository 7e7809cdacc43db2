"""The scheduler: there is one node, so every pod that may run there is bound to it.

In: pods without a node. Out: pods with one. A pod whose node selector the node does not meet stays pending, with the reason in its
condition and an event; taints, affinity and resources are not looked at.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from devcluster.api.registry import Registry
from devcluster.controllers.events import Recorder
from devcluster.controllers.objects import is_terminating, now
from devcluster.controllers.reconcile import Loop, controller, find

Object = dict[str, Any]
_WHO: Final = controller("scheduler")


def fits(spec: Object, node: Object) -> bool:
    """Whether the node meets a pod's node selector."""
    wanted = spec.get("nodeSelector") or {}
    return bool(wanted.items() <= (node["metadata"].get("labels") or {}).items())


class Scheduler:
    """Binds pods."""

    def __init__(self, registry: Registry, events: Recorder) -> None:
        self._registry = registry
        self._events = events
        self.loop = Loop("scheduler", self.reconcile)
        self.loop.follow(registry, "pods")
        self.loop.follow(registry, "nodes", lambda _: [_key(p) for p in registry.list("pods") if not _bound(p)])

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bind one pod."""
        pod = find(self._registry, "pods", namespace, name)
        if pod is None or _bound(pod) or is_terminating(pod) or pod["spec"].get("schedulingGates"):
            return None
        nodes = [node for node in self._registry.list("nodes") if fits(pod["spec"], node)]
        if nodes and not nodes[0]["spec"].get("unschedulable"):
            node = nodes[0]["metadata"]["name"]
            bound = copy.deepcopy(pod)
            bound["spec"]["nodeName"] = node
            await self._registry.update("pods", bound, user=_WHO)
            self._events.say(pod, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}")
            return None
        count = len(self._registry.list("nodes"))
        why = "node(s) were unschedulable" if nodes else "node(s) didn't match Pod's node affinity/selector"
        message = f"0/{count} nodes are available: {count} {why}."
        told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        conditions = (pod.get("status") or {}).get("conditions") or []
        if any(c.get("message") == message for c in conditions):
            return None
        waiting = copy.deepcopy(pod)
        others = [c for c in conditions if c["type"] != "PodScheduled"]
        waiting["status"]["conditions"] = [*others, told | {"lastTransitionTime": now()}]
        await self._registry.update("pods", waiting, subresource="status", user=_WHO)
        self._events.say(pod, "FailedScheduling", message, warning=True)
        return None


def _bound(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _key(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]
