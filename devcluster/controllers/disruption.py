"""PodDisruptionBudgets: how many of the chosen pods may go right now.

In: budgets and pods. Out: status, which evictions and `kubectl get pdb` read. The number expected is the number of pods there are.
"""

from __future__ import annotations

from typing import Any, Final

from devcluster.api.registry import Registry
from devcluster.api.selectors import selector_matches
from devcluster.controllers.objects import is_active, is_ready, share, with_condition
from devcluster.controllers.reconcile import Key, Loop, find, tell

Object = dict[str, Any]
KIND: Final = "poddisruptionbudgets.policy"


class Disruption:
    """Keeps the status of budgets."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.loop = Loop("disruption", self.reconcile)
        self.loop.follow(registry, KIND)
        self.loop.follow(registry, "pods", self._of_pod)

    def _of_pod(self, pod: Object) -> list[Key]:
        namespace = pod["metadata"]["namespace"]
        found = self._registry.list(KIND, namespace)
        return [(namespace, b["metadata"]["name"]) for b in found if _chooses(b, pod)]

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Count for one budget."""
        found = find(self._registry, KIND, namespace, name)
        if found is None:
            return None
        pods = [p for p in self._registry.list("pods", namespace) if is_active(p) and _chooses(found, p)]
        healthy, spec = sum(map(is_ready, pods)), found["spec"]
        if spec.get("maxUnavailable") is not None:
            wanted = max(0, len(pods) - share(spec["maxUnavailable"], len(pods), up=True))
        else:
            wanted = share(spec.get("minAvailable", 1), len(pods), up=True)
        allowed = max(0, healthy - wanted)
        said = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        former = (found.get("status") or {}).get("conditions") or []
        condition = {"type": "DisruptionAllowed", "status": said[0], "reason": said[1], "message": ""}
        conditions = [{k: v for k, v in c.items() if k != "lastUpdateTime"} for c in with_condition(former, condition)]
        status = {
            "observedGeneration": found["metadata"].get("generation", 1),
            "expectedPods": len(pods),
            "currentHealthy": healthy,
            "desiredHealthy": wanted,
            "disruptionsAllowed": allowed,
            "conditions": conditions,
        }
        await tell(self._registry, KIND, found, status)
        return None


def _chooses(budget: Object, pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return selector_matches(budget["spec"].get("selector"), labels)
