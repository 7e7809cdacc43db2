"""Workloads that opt in or out: their annotation carried into their template, and who owns a pod.

In: a Deployment, StatefulSet, DaemonSet, Job, CronJob or Argo Rollout (decision 0003). Out: how its template must change, or the workload with its template changed:
`tulle.dev/inject` and `tulle.dev/injected-by: <kind>/<name>` as the workload says, unless the template speaks for itself; what the mesh put in is taken
out when the workload falls silent. The webhook and the operator ask here, so whichever acts first, the other finds nothing left to do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from controlplane.inject.optin import own_word, read_word
from controlplane.inject.refusal import RefusedPodError
from controlplane.model.owners import workload_of
from meshapi import names

Object = dict[str, Any]
M = TypeVar("M", bound=Mapping[str, Any])


UNNAMED = "operator"
"""The mark before it named its workload: it may have been copied, so it is believed only where the workload speaks itself, or did until now."""


def signature(workload: Mapping[str, Any]) -> str:
    """Name a workload as the mark in its template does: `Kind/name`, or what the name is generated from, known at admission and later.

    Others copy templates (Flagger to its primary, say); the mark holds for the workload it names alone.
    """
    metadata = workload.get("metadata") or {}
    return f"{workload.get('kind')}/{metadata.get('generateName') or metadata.get('name') or ''}"


def template_of(obj: M) -> M | None:
    """Find the pod template of a workload; None where there is none."""
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return None
    if obj.get("kind") == "CronJob":
        job = spec.get("jobTemplate")
        spec = job.get("spec") if isinstance(job, Mapping) else None
    template = spec.get("template") if isinstance(spec, Mapping) else None
    return cast("M", template) if isinstance(template, Mapping) else None


def speaks(workload: Mapping[str, Any]) -> bool:
    """Tell whether a workload has the word, whatever it is."""
    return names.INJECT in ((workload.get("metadata") or {}).get("annotations") or {})


def unnamed(workload: Mapping[str, Any]) -> bool:
    """Tell whether its template has the mark that names nobody."""
    metadata = (template_of(workload) or {}).get("metadata") or {}
    return (metadata.get("annotations") or {}).get(names.INJECTED_BY) == UNNAMED


def template_change(workload: Mapping[str, Any], *, spoke: bool = False) -> dict[str, str | None] | None:
    """Say how the template's annotations must change (None removes one); None when they are right. Raises RefusedPodError.

    `spoke` says that the workload had the word until now: then the mark that names nobody was put in for it.
    """
    template = template_of(workload)
    word = read_word((workload.get("metadata") or {}).get("annotations") or {})
    if template is None:
        reference = (workload.get("spec") or {}).get("workloadRef") or {}
        if word is not None and reference:
            raise RefusedPodError(
                f"{signature(workload)} takes its pods from {reference.get('kind')}/{reference.get('name')}, so {names.INJECT} cannot be "
                f"carried into a template of its own: annotate {reference.get('kind')}/{reference.get('name')} instead"
            )
        return None
    metadata = template.get("metadata") or {}
    inside = metadata.get("annotations") or {}
    own = signature(workload)
    mark = inside.get(names.INJECTED_BY)
    if word is None:
        ended = mark == own or (spoke and mark == UNNAMED)
        return {names.INJECT: None, names.INJECTED_BY: None} if ended else None
    said = names.ENABLED if word else names.DISABLED
    ours = mark in {own, UNNAMED}
    if (own_word(metadata) is not None and not ours) or (ours and inside.get(names.INJECT) == said):
        return None
    return {names.INJECT: said, names.INJECTED_BY: own}


def follow(workload: Object, before: Object | None = None) -> Object:
    """Make a workload's template say what the workload says; the very one given when it does. `before` is the workload as it was. Raises RefusedPodError."""
    change = template_change(workload, spoke=before is not None and speaks(before))
    if change is None:
        return workload
    after = copy.deepcopy(workload)
    template = template_of(after)
    assert isinstance(template, dict)  # noqa: S101 - else there was nothing to change
    metadata = template.get("metadata") or {}
    merged = (metadata.get("annotations") or {}) | change
    template["metadata"] = metadata | {"annotations": {k: v for k, v in merged.items() if v is not None}}
    return after


def owner_of(pod: Mapping[str, Any]) -> str:
    """Name the workload a pod belongs to as `Kind/name`; one that is being made may have no name but what that is generated from."""
    metadata = pod.get("metadata") or {}
    own = metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")
    kind, name = workload_of(metadata.get("ownerReferences") or (), metadata.get("labels") or {}, own)
    return f"{kind}/{name}" if name else ""
