"""How a pod is told: phase, conditions and container statuses, as kubectl reads them.

Pure. In: the pod and what is known of each of its containers. Out: the `status` of the pod. Conditions of others (readiness gates) are
kept, and a condition keeps its time while it says the same.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from devcluster.runtime.network import NODE_ADDRESS

Object = dict[str, Any]
_OWN_CONDITIONS: Final = ("PodScheduled", "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(slots=True)
class ContainerState:
    """What is known of one container."""

    spec: Object
    init: bool
    sidecar: bool
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    identity: str = ""

    @property
    def running(self) -> bool:
        """Whether its program runs."""
        return "running" in self.state

    @property
    def code(self) -> int | None:
        """The exit code, once it has ended for good."""
        ended: Object | None = self.state.get("terminated")
        return None if ended is None else ended["exitCode"]

    @property
    def passed(self) -> bool:
        """For an init container: whether the next one may start."""
        return self.started if self.sidecar else self.code == 0

    def told(self) -> Object:
        """Render as a ContainerStatus."""
        image = self.spec.get("image", "")
        told: Object = {
            "name": self.spec["name"],
            "image": image,
            "imageID": f"devcluster://{image}" if self.identity else "",
            "ready": self.ready if self.sidecar or not self.init else self.code == 0,
            "started": self.started,
            "restartCount": self.restarts,
            "state": copy.deepcopy(self.state),
            "lastState": copy.deepcopy(self.last),
        }
        if self.identity:
            told["containerID"] = self.identity
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """What is known of one pod beyond its containers."""

    containers: Sequence[ContainerState]
    address: str = ""
    started_at: str = ""
    over: bool = False
    """Whether everything of the pod has ended; before that no final phase is told."""
    reason: str = ""
    message: str = ""
    """Why the pod as a whole has failed, if it did so by itself (`DeadlineExceeded`)."""


def now() -> str:
    """The time as objects carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_status(pod: Object, known: PodState) -> Object:
    """Tell a pod's status."""
    former = pod.get("status") or {}
    inits = [c for c in known.containers if c.init]
    apps = [c for c in known.containers if not c.init]
    phase = "Failed" if known.reason else _phase(pod, inits, apps)
    if phase in {"Succeeded", "Failed"} and not known.over:
        phase = "Running" if any(c.identity for c in apps) else "Pending"
    status: Object = {
        **{key: former[key] for key in ("nominatedNodeName", "resourceClaimStatuses") if key in former},
        "phase": phase,
        "conditions": _conditions(pod, known, phase),
        "hostIP": NODE_ADDRESS,
        "hostIPs": [{"ip": NODE_ADDRESS}],
        "qosClass": former.get("qosClass") or _quality(pod),
        "containerStatuses": [c.told() for c in apps],
    }
    if known.started_at:
        status["startTime"] = known.started_at
    if known.address:
        status |= {"podIP": known.address, "podIPs": [{"ip": known.address}]}
    if inits:
        status["initContainerStatuses"] = [c.told() for c in inits]
    if known.reason:
        status |= {"reason": known.reason, "message": known.message}
    return status


def _phase(pod: Object, inits: Sequence[ContainerState], apps: Sequence[ContainerState]) -> str:
    policy = pod["spec"].get("restartPolicy", "Always")
    if any(c.code not in {None, 0} for c in inits if not c.sidecar) and policy == "Never":
        return "Failed"
    codes = [c.code for c in apps]
    if all(code is not None for code in codes) and policy != "Always":
        if all(code == 0 for code in codes):
            return "Succeeded"
        if policy == "Never":
            return "Failed"
    begun = all(c.running or c.code is not None or c.last for c in apps)
    return "Running" if begun else "Pending"


def _conditions(pod: Object, known: PodState, phase: str) -> list[Object]:
    former = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or []}
    inits = [c for c in known.containers if c.init]
    over = phase in {"Succeeded", "Failed"}
    completed = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    waiting = [c.spec["name"] for c in inits if not c.passed]
    initialized = (True, completed if phase == "Succeeded" else "", "")
    if waiting and phase != "Succeeded":
        text = f"containers with incomplete status: [{' '.join(waiting)}]"
        initialized = (False, "ContainersNotInitialized", text)
    unready = [c.spec["name"] for c in known.containers if (c.sidecar or not c.init) and not c.ready]
    if over:
        ready = (False, completed, "")
    elif unready:
        ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = (True, "", "")
    gates = [g["conditionType"] for g in pod["spec"].get("readinessGates") or []]
    closed = [g for g in gates if former.get(g, {}).get("status") != "True"]
    whole = ready
    if ready[0] and closed:
        text = f'corresponding condition of pod readiness gate "{closed[0]}" does not exist or is not true.'
        whole = (False, "ReadinessGatesNotReady", text)
    networked = (bool(known.address) and not over, "", "")
    own = dict(zip(_OWN_CONDITIONS, ((True, "", ""), networked, initialized, whole, ready), strict=True))
    kept = [c for kind, c in former.items() if kind not in own]
    return [_condition(kind, said, former.get(kind)) for kind, said in own.items()] + kept


def _condition(kind: str, said: tuple[bool, str, str], former: Object | None) -> Object:
    holds, reason, message = said
    condition: Object = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": None}
    same = former is not None and former["status"] == condition["status"]
    condition["lastTransitionTime"] = former["lastTransitionTime"] if same and former is not None else now()
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _quality(pod: Object) -> str:
    every = [c.get("resources") or {} for c in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]]
    if not any(r.get("requests") or r.get("limits") for r in every):
        return "BestEffort"
    limits = [r.get("limits") or {} for r in every]
    whole = all(
        {"cpu", "memory"} <= lim.keys() and (r.get("requests") or lim) == lim
        for r, lim in zip(every, limits, strict=True)
    )
    return "Guaranteed" if whole else "Burstable"
