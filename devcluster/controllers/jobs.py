"""Jobs: pods until enough of them succeeded.

In: Jobs and the pods they control. Out: pods made and deleted, status with the conditions `kubectl wait` waits for, and the Job itself
deleted when its time to live is over. Indexed completion and success policies are left out.
"""

from __future__ import annotations

from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.controllers.events import Recorder
from devcluster.controllers.objects import (
    age,
    condition,
    controlled,
    is_ready,
    is_terminating,
    now,
    owner_key,
    phase,
    pod_from,
)
from devcluster.controllers.reconcile import Loop, controller, find, tell

Object = dict[str, Any]
KIND: Final = "jobs.batch"
_WHO: Final = controller("job-controller")
_BACK_OFF: Final = 10.0
_LONGEST_BACK_OFF: Final = 600.0


class Jobs:
    """Keeps Jobs."""

    def __init__(self, registry: Registry, events: Recorder) -> None:
        self._registry = registry
        self._events = events
        self.loop = Loop("job", self.reconcile)
        self.loop.follow(registry, KIND)
        self.loop.follow(registry, "pods", owner_key("Job"))

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one Job a step further."""
        found = find(self._registry, KIND, namespace, name)
        if found is None or is_terminating(found):
            return None
        if _finished(found):
            return await self._expire(found)
        pods = controlled(self._registry, "pods", found)
        status = found.get("status") or {}
        if not found["spec"].get("suspend") and "startTime" not in status:
            status = status | {"startTime": now()}
        failure = _failure(found, status, pods)
        active = [p for p in pods if phase(p) not in {"Succeeded", "Failed"} and not is_terminating(p)]
        delay: float | None = None
        if failure or _done(found, pods, active) or found["spec"].get("suspend"):
            for pod in active:
                await self._registry.delete("pods", namespace, pod["metadata"]["name"], user=_WHO)
        else:
            delay = await self._make(found, pods, active)
        return _soonest(delay, await self._tell(namespace, name, status, failure))

    async def _make(self, found: Object, pods: list[Object], active: list[Object]) -> float | None:
        """Make the pods that are missing, after a failure with patience."""
        spec = found["spec"]
        wanted = spec.get("parallelism", 1)
        succeeded = sum(phase(p) == "Succeeded" for p in pods)
        if spec.get("completions") is not None:
            wanted = min(wanted, spec["completions"] - succeeded)
        elif succeeded:
            wanted = 0
        failed = [p for p in pods if phase(p) == "Failed"]
        if failed and len(active) < wanted:
            wait = float(min(_BACK_OFF * 2 ** (len(failed) - 1), _LONGEST_BACK_OFF))
            left = wait - min(age(_ended(p)) for p in failed)
            if left > 0:
                return left
        for _ in range(wanted - len(active)):
            pod = pod_from(spec["template"], found)
            metadata, uid = found["metadata"], found["metadata"]["uid"]
            own = {"job-name": metadata["name"], "controller-uid": uid}
            labels = own | {f"batch.kubernetes.io/{key}": value for key, value in own.items()}
            pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
            try:
                made = await self._registry.create("pods", pod, user=_WHO)
            except StatusError as refused:
                self._events.say(found, "FailedCreate", f"Error creating: {refused.message}", warning=True)
                raise
            self._events.say(found, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return None

    async def _tell(self, namespace: str, name: str, status: Object, failure: tuple[str, str] | None) -> float | None:
        found = self._registry.get(KIND, namespace, name)
        pods = controlled(self._registry, "pods", found)
        active = [p for p in pods if phase(p) not in {"Succeeded", "Failed"}]
        running = [p for p in active if not is_terminating(p)]
        succeeded, failed = (sum(phase(p) == word for p in pods) for word in ("Succeeded", "Failed"))
        ready, terminating = sum(map(is_ready, running)), len(active) - len(running)
        told: Object = {"uncountedTerminatedPods": {}, "terminating": terminating, "ready": ready}
        told |= {key: value for key, value in (("succeeded", succeeded), ("failed", failed)) if value}
        if running:
            told["active"] = len(running)
        if "startTime" in status:
            told["startTime"] = status["startTime"]
        conditions = [c for c in status.get("conditions") or [] if c["type"] != "Suspended"]
        if found["spec"].get("suspend"):
            conditions.append(_condition("Suspended", "JobSuspended", "Job suspended"))
        if failure is not None:
            conditions = _once(conditions, _condition("FailureTarget", *failure))
            if not active:
                conditions.append(_condition("Failed", *failure))
                self._events.say(found, failure[0], failure[1], warning=True)
        elif _done(found, pods, running):
            said = ("CompletionsReached", "Reached expected number of succeeded pods")
            conditions = _once(conditions, _condition("SuccessCriteriaMet", *said))
            if not active:
                conditions.append(_condition("Complete", *said))
                told["completionTime"] = now()
                self._events.say(found, "Completed", "Job completed")
        if conditions:
            told["conditions"] = conditions
        await tell(self._registry, KIND, found, told)
        return _deadline(found, told)

    async def _expire(self, found: Object) -> float | None:
        seconds = found["spec"].get("ttlSecondsAfterFinished")
        ended = _finished(found)
        if seconds is None or ended is None:
            return None
        left = float(seconds) - age(ended["lastTransitionTime"])
        if left > 0:
            return left
        options = {"propagationPolicy": "Background"}
        metadata = found["metadata"]
        await self._registry.delete(KIND, metadata["namespace"], metadata["name"], options=options, user=_WHO)
        return None


def _finished(found: Object) -> Object | None:
    return condition(found, "Complete") or condition(found, "Failed")


def _done(found: Object, pods: list[Object], active: list[Object]) -> bool:
    succeeded = sum(phase(p) == "Succeeded" for p in pods)
    wanted = found["spec"].get("completions")
    return succeeded >= wanted if wanted is not None else succeeded > 0 and not active


def _failure(found: Object, status: Object, pods: list[Object]) -> tuple[str, str] | None:
    """Tell why a Job has failed; None while it has not."""
    former = next((c for c in status.get("conditions") or [] if c["type"] == "FailureTarget"), None)
    if former is not None:
        return former["reason"], former["message"]
    spec = found["spec"]
    limit = spec.get("activeDeadlineSeconds")
    if limit is not None and "startTime" in status and age(status["startTime"]) >= limit:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    failures = sum(phase(p) == "Failed" for p in pods)
    if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
        failures += sum(_restarts(p) for p in pods)
    if failures > spec.get("backoffLimit", 6):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    return None


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return sum(int(status.get("restartCount", 0)) for status in statuses)


def _ended(pod: Object) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    ends = [s["state"]["terminated"]["finishedAt"] for s in statuses if "terminated" in s.get("state", {})]
    return max(ends, default=str(pod["metadata"]["creationTimestamp"]))


def _condition(kind: str, reason: str, message: str) -> Object:
    times = {"lastProbeTime": now(), "lastTransitionTime": now()}
    return {"type": kind, "status": "True", "reason": reason, "message": message} | times


def _once(conditions: list[Object], new: Object) -> list[Object]:
    return conditions if any(c["type"] == new["type"] for c in conditions) else [*conditions, new]


def _deadline(found: Object, status: Object) -> float | None:
    if _ended_in(status):
        ttl = found["spec"].get("ttlSecondsAfterFinished")
        return None if ttl is None else float(ttl)
    limit = found["spec"].get("activeDeadlineSeconds")
    if limit is None or "startTime" not in status:
        return None
    return max(0.1, float(limit) - age(status["startTime"]))


def _ended_in(status: Object) -> bool:
    return any(c["type"] in {"Complete", "Failed"} for c in status.get("conditions") or [])


def _soonest(*delays: float | None) -> float | None:
    return min((delay for delay in delays if delay is not None), default=None)
