"""The cells `kubectl get pods` prints: the one status word made of everything a pod's containers do.

In: a Pod. Out: its cells.
"""

from __future__ import annotations

from typing import Any

from devcluster.api.cells import NONE, age, created
from devcluster.api.errors import Object


def pod(obj: Object) -> list[Any]:
    """READY, STATUS, RESTARTS and where it runs."""
    spec, status = obj["spec"], obj.get("status") or {}
    started = status.get("containerStatuses") or []
    sidecars = {c["name"] for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    inits = status.get("initContainerStatuses") or []
    counted = started + [c for c in inits if c["name"] in sidecars]
    ready = sum(1 for c in counted if c.get("ready"))
    total = len(spec.get("containers") or []) + len(sidecars)
    gates = spec.get("readinessGates") or []
    return [
        f"{ready}/{total}",
        _pod_status(obj, started, inits, sidecars),
        _restarts(counted),
        created(obj),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"0/{len(gates)}" if gates else NONE,
    ]


def _pod_status(obj: Object, started: list[Object], inits: list[Object], sidecars: set[str]) -> str:
    status = obj.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Unknown"
    waiting_init = False
    for number, container in enumerate(inits):
        state = container.get("state") or {}
        ended = state.get("terminated")
        if ended and ended.get("exitCode") == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            continue
        waiting_init = True
        if ended:
            reason = "Init:" + (ended.get("reason") or f"ExitCode:{ended.get('exitCode')}")
        elif (state.get("waiting") or {}).get("reason") not in {None, "", "PodInitializing"}:
            reason = "Init:" + state["waiting"]["reason"]
        else:
            reason = f"Init:{number}/{len(obj['spec'].get('initContainers') or [])}"
        break
    if not waiting_init:
        running = False
        for container in reversed(started):
            state = container.get("state") or {}
            if (state.get("waiting") or {}).get("reason"):
                reason = state["waiting"]["reason"]
            elif state.get("terminated"):
                reason = state["terminated"].get("reason") or f"ExitCode:{state['terminated'].get('exitCode')}"
            elif container.get("ready") and state.get("running"):
                running = True
        if reason == "Completed" and running:
            is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
            reason = "Running" if is_ready else "NotReady"
    if obj["metadata"].get("deletionTimestamp") and status.get("phase") not in {"Succeeded", "Failed"}:
        return "Terminating"
    return str(reason)


def _restarts(counted: list[Object]) -> str:
    restarts = sum(c.get("restartCount", 0) for c in counted)
    ends = [((c.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for c in counted]
    last = max((end for end in ends if end), default=None)
    return f"{restarts} ({age(last)} ago)" if restarts and last else str(restarts)
