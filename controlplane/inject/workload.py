"""Workloads at admission: a new one's annotation copied into its template, and who owns a pod.

In: a Deployment, StatefulSet, DaemonSet, Job or CronJob as it is being created (decision 0003). Out: the same with
`tulle.dev/inject` and `tulle.dev/injected-by: <kind>/<name>` on its template, unless the template speaks for itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from controlplane.inject.annotations import read_word
from meshapi import names

Object = dict[str, Any]


def signature(kind: str, metadata: Mapping[str, Any]) -> str:
    """Name a workload as the mark in its template does: `Kind/name`, or what the name is generated from, known at admission and later.

    Others copy templates (Flagger to its primary, say); the mark holds for the workload it names alone.
    """
    return f"{kind}/{metadata.get('generateName') or metadata.get('name') or ''}"


def template_of(obj: Object) -> Object | None:
    """Find the pod template of a workload; None where there is none."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return None
    if obj.get("kind") == "CronJob":
        job = spec.get("jobTemplate")
        spec = job.get("spec") if isinstance(job, dict) else None
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) else None


def opt_in(obj: Object) -> Object:
    """Copy the workload's own word into its template; raises BadAnnotationError for a word that is none."""
    own = (obj.get("metadata") or {}).get("annotations") or {}
    word = read_word(own)
    after = copy.deepcopy(obj)
    template = template_of(after)
    if word is None or template is None:
        return obj
    metadata = template.get("metadata") or {}
    if names.INJECT in (metadata.get("annotations") or {}) or names.INJECT in (metadata.get("labels") or {}):
        return obj
    metadata["annotations"] = (metadata.get("annotations") or {}) | {
        names.INJECT: own[names.INJECT],
        names.INJECTED_BY: signature(str(obj.get("kind")), obj["metadata"]),
    }
    template["metadata"] = metadata
    return after


def owner_of(pod: Object) -> str:
    """Name the workload a pod belongs to as `Kind/name`; a ReplicaSet stands for the Deployment that made it."""
    metadata = pod.get("metadata") or {}
    for owner in metadata.get("ownerReferences") or ():
        if not owner.get("controller"):
            continue
        kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
        suffix = "-" + str((metadata.get("labels") or {}).get("pod-template-hash", ""))
        if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
            return f"Deployment/{name.removesuffix(suffix)}"
        return f"{kind}/{name}"
    name = metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")
    return f"Pod/{name}" if name else ""
