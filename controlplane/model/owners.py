"""Whose pod it is, as users name it.

In: a pod's owner references and labels. Out: kind and name of its workload. A ReplicaSet stands for the Deployment (or Argo's Rollout) that made it, a Job
for the CronJob: nobody thinks in names with a hash or a time in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from controlplane.model.meta import Fields

_MAKERS = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
"""The label that carries the hash in a ReplicaSet's name, and who made it then."""
_CRON_SUFFIX = re.compile(r"-\d{8,10}\Z")


def workload_of(owners: Iterable[Fields], labels: Mapping[str, str], own: str) -> tuple[str, str]:
    """Name the workload of a pod: the owner that controls it, or the pod itself under its `own` name."""
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return "Pod", own
    kind, name = str(owner.get("kind") or ""), str(owner.get("name") or "")
    if kind == "ReplicaSet":
        for label, maker in _MAKERS.items():
            suffix = f"-{labels.get(label, '')}"
            if len(suffix) > 1 and name.endswith(suffix):
                return maker, name.removesuffix(suffix)
    if kind == "Job" and _CRON_SUFFIX.search(name):
        return "CronJob", _CRON_SUFFIX.sub("", name)
    return kind, name
