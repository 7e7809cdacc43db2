"""What `tulle check` proves of injection: nobody who asked is bare, and a pod made now gets its sidecar.

In: two looks, the namespaces' words, and what became of a trial: a pod that asks for a sidecar, made by the API server as a dry run, which calls the real webhook with the real
certificate and keeps nothing. Out: claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controlplane.inject.optin import namespace_words, own_word, untouched
from controlplane.inject.workload import owner_of
from controlplane.model.workloads import ENDED
from meshapi import names
from tulle.claims import Claim, claim, some
from tulle.kube import Kube, KubeError
from tulle.looks import Look, Place, place
from tulle.lookup import is_injected
from tulle.output import WARNING
from tulle.proofs import who

Object = dict[str, Any]

PATIENCE = 5.0
"""Seconds the pod may take; API servers wait longer for a webhook, but whoever checks wants to know now."""
_ANNOTATED = "annotated-namespaces.inject.tulle.dev"
"""The webhook that is there when annotations of namespaces count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of the pod that was tried."""

    namespace: str
    pod: Object | None = None
    """As the API server would have made it."""
    refusal: str = ""
    code: int = 0


def attempt(kube: Kube, namespace: str) -> Trial:
    """Make a pod that asks for a sidecar, as a dry run."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "tulle-check-", "annotations": {names.INJECT: names.ENABLED}},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "app",
                    "image": "tulle-check",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    try:
        made = replace(kube, timeout=PATIENCE).create(f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
    except KubeError as error:
        words = (
            str(error) if error.code else f"not made within {PATIENCE:g} s: the webhook hangs, and so do pods ({error})"
        )
        return Trial(namespace=namespace, refusal=words, code=error.code)
    return Trial(namespace=namespace, pod=made)


def where_to_try(look: Look, mutating: Object | None, system: str) -> str:
    """Choose a namespace: one where sidecars are, else `default`."""
    outside = outsiders(mutating, system)
    inside = sorted({one[0] for one, pod in look.pods.items() if is_injected(pod) and one[0] not in outside})
    return inside[0] if inside else "default"


def outsiders(mutating: Object | None, system: str) -> frozenset[str]:
    """Namespaces the webhooks are never asked about."""
    named = {
        value
        for hook in (mutating or {}).get("webhooks") or ()
        for rule in (hook.get("namespaceSelector") or {}).get("matchExpressions") or ()
        if (rule.get("key"), rule.get("operator")) == ("kubernetes.io/metadata.name", "NotIn")
        for value in rule.get("values") or ()
    }
    return untouched(system, named)


def of_trial(trial: Trial) -> Claim:
    """Claim that a pod made now gets its sidecar."""
    text = "a pod made now is given its sidecar"
    advice = "kubectl -n tulle-system logs deploy/tulle; can the API server reach port 15017 of the control plane?"
    tried = f"tried in namespace {trial.namespace}"
    if trial.pod is not None:
        spec = trial.pod.get("spec") or {}
        made = [one["name"] for field in ("initContainers", "containers") for one in spec.get(field) or ()]
        skipped = (trial.pod["metadata"].get("annotations") or {}).get(names.SKIPPED, "")
        why = skipped or "it came out bare: the webhook was not called, or failed open"
        has = names.PROXY_CONTAINER in made
        return claim(has, text, detail=tried if has else f"{tried}: {why}", advice=advice)
    if "webhook" not in trial.refusal and trial.code in {403, 404}:
        # Nobody's fault but this person's rights, a quota or the namespace's pod security: nothing was proved.
        return claim(
            False, text, detail=f"{tried}: {trial.refusal}", advice="who checks needs to create pods", otherwise=WARNING
        )
    return claim(False, text, detail=f"{tried}: {trial.refusal}", advice=advice)


def of_pods(first: Look, second: Look, namespaces: Sequence[Object], mutating: Object | None, system: str) -> Claim:
    """Claim that no pod that should have a sidecar is without."""
    words = _Words(namespaces, mutating, system)
    before = words.bare(first)
    found = {one: why for one, why in words.bare(second).items() if one in before}
    return claim(
        not found,
        "no pod that should have a sidecar is bare",
        detail=some([f"{who(one, second)}: {why}" for one, why in sorted(found.items())], "; "),
        advice="made while the webhook failed open, or before it was asked for: kubectl rollout restart, or delete the pod",
    )


class _Words:
    """Who asked for sidecars."""

    def __init__(self, namespaces: Sequence[Object], mutating: Object | None, system: str) -> None:
        self._outside = outsiders(mutating, system)
        annotated = any(hook.get("name") == _ANNOTATED for hook in (mutating or {}).get("webhooks") or ())
        self._namespaces: Mapping[str, str] = {
            one["metadata"]["name"]: namespace_words(one["metadata"], annotated=annotated).get(names.INJECT, "")
            for one in namespaces
        }

    def bare(self, look: Look) -> dict[Place, str]:
        """Pods without the sidecar somebody asked for, and who asked."""
        found = {}
        for one, pod in look.pods.items():
            metadata, spec = pod["metadata"], pod.get("spec") or {}
            annotations = metadata.get("annotations") or {}
            ended = metadata.get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in ENDED
            if (
                is_injected(pod)
                or names.SKIPPED in annotations
                or ended
                or one[0] in self._outside
                or spec.get("hostNetwork")
            ):
                continue
            asked = self._asked(pod, look)
            if asked:
                found[one] = f"no sidecar, though {asked} says enabled"
        return found

    def _asked(self, pod: Object, look: Look) -> str:
        own = own_word(pod["metadata"])
        if own is not None:
            return "its annotation" if own == names.ENABLED else ""
        kind, _, name = owner_of(pod).partition("/")
        workload = look.workloads.get((kind, place(pod)[0], name))
        if workload is not None and (workload["metadata"].get("annotations") or {}).get(names.INJECT) == names.ENABLED:
            return owner_of(pod) if _settled(workload) else ""
        return "its namespace" if self._namespaces.get(place(pod)[0]) == names.ENABLED else ""


def _settled(workload: Object) -> bool:
    """Tell whether a workload's rollout is over: until then old pods are on their way out."""
    status, metadata = workload.get("status") or {}, workload["metadata"]
    if status.get("observedGeneration") != metadata.get("generation"):
        return False
    wanted = status.get("replicas", status.get("desiredNumberScheduled", 0))
    return bool(status.get("updatedReplicas", status.get("updatedNumberScheduled", 0)) >= wanted)
