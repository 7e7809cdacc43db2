"""Whose sidecars would not trust a control plane: pods made with other roots than it has.

In: pods and the roots of a control plane, PEM. Out: the workloads, and the commands that make them anew. A pod carries the roots it was made with in its spec (decision 0002); it may
have learned of others since, so this is who *may* be stranded where its control plane went on from one root to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from controlplane.inject.workload import owner_of
from meshapi import names
from tulle.lookup import is_injected

Object = dict[str, Any]

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_ROLLED = {"Deployment": "deployment", "StatefulSet": "statefulset", "DaemonSet": "daemonset"}


def stranded(pods: Iterable[Object], roots: str) -> list[tuple[str, str]]:
    """Name namespace and workload (`Kind/name`) of the sidecars that were made with none of these roots."""
    known = _certificates(roots)
    found = {
        (pod["metadata"]["namespace"], owner_of(pod))
        for pod in pods
        if is_injected(pod) and not known & _certificates(_given(pod))
    }
    return sorted(found)


def remedies(workloads: Iterable[tuple[str, str]]) -> list[str]:
    """Say how each is made anew."""
    said = []
    for namespace, workload in workloads:
        kind, _, name = workload.partition("/")
        if kind == "Rollout":
            said.append(f"kubectl argo rollouts restart {name} -n {namespace}")
        elif kind in _ROLLED:
            said.append(f"kubectl -n {namespace} rollout restart {_ROLLED[kind]}/{name}")
        else:
            said.append(f"make {workload} in namespace {namespace} anew")
    return said


def _given(pod: Object) -> str:
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if container.get("name") == names.PROXY_CONTAINER:
            return next(
                (str(e.get("value")) for e in container.get("env") or () if e.get("name") == names.ENV_CA_ROOTS), ""
            )
    return ""


def _certificates(text: str) -> frozenset[str]:
    return frozenset("".join(body.split()) for body in _PEM.findall(text))
