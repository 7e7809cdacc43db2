"""Opting workloads in and out: an annotation on a Deployment, StatefulSet or DaemonSet, carried into its pod template (decision 0003).

In: each workload as kopf sees it. Out: the patch that makes its template say what the workload says, handed to the Writer, which rolls it by that. Pure but
for that hand-over. It leaves alone a template that speaks for itself, and takes out only what the operator put in. A word that is neither
`enabled` nor `disabled` is logged once and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from controlplane.inject.workload import signature
from controlplane.watch.cluster import ApiError, Cluster, path_of
from controlplane.watch.writer import Job, Writer
from meshapi import names

UNNAMED = "operator"
"""The mark before it named its workload: it may have been copied, so it is believed only where the workload speaks itself."""
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
EXCLUDED = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_API = "apps/v1"

log = logging.getLogger(__name__)


class BadWordError(ValueError):
    """An annotation with a word nobody knows; the message names it."""


def decide(kind: str, workload: Mapping[str, Any]) -> dict[str, str | None] | None:
    """Say how the template's annotations must change (None removes one); None when they are right. Raises BadWordError."""
    metadata = workload.get("metadata") or {}
    word = (metadata.get("annotations") or {}).get(names.INJECT)
    template = ((workload.get("spec") or {}).get("template") or {}).get("metadata") or {}
    inside = template.get("annotations") or {}
    own = signature(kind, metadata)
    mark = inside.get(names.INJECTED_BY)
    if word is None:
        return {names.INJECT: None, names.INJECTED_BY: None} if mark == own else None
    if word not in {names.ENABLED, names.DISABLED}:
        raise BadWordError(f"annotation {names.INJECT} is {word!r}, it must be {names.ENABLED!r} or {names.DISABLED!r}")
    ours = mark in {own, UNNAMED}
    speaks_itself = names.INJECT in inside or names.INJECT in (template.get("labels") or {})
    if (speaks_itself and not ours) or (ours and inside.get(names.INJECT) == word):
        return None
    return {names.INJECT: word, names.INJECTED_BY: own}


class Rolls:
    """Wishes for workloads whose template does not say what they say."""

    def __init__(self, cluster: Cluster, writer: Writer, excluded: frozenset[str]) -> None:
        self._cluster = cluster
        self._writer = writer
        self._excluded = EXCLUDED | excluded
        self._complained: dict[tuple[str, str, str], str] = {}

    def seen(self, kind: str, workload: Mapping[str, Any]) -> None:
        """Look at a workload as it is now."""
        metadata = workload.get("metadata") or {}
        namespace, name = str(metadata.get("namespace", "")), str(metadata.get("name", ""))
        key = (kind, namespace, name)
        if namespace in self._excluded or metadata.get("deletionTimestamp"):
            return
        try:
            change = decide(kind, workload)
        except BadWordError as error:
            if self._complained.get(key) != str(error):
                self._complained[key] = str(error)
                log.warning("%s %s/%s: %s", kind, namespace, name, error)
            change = None
        else:
            self._complained.pop(key, None)
        if change is None:
            self._writer.want(("roll", *key), None)
            return
        self._writer.want(("roll", *key), self._job(key))

    def gone(self, kind: str, namespace: str, name: str) -> None:
        """A workload was deleted."""
        self._complained.pop((kind, namespace, name), None)
        self._writer.want(("roll", kind, namespace, name), None)

    def _job(self, key: tuple[str, str, str]) -> Job:
        """Roll a workload by what it says when it is written: an event may be late, and a newer one lost."""
        path = path_of(_API, PLURALS[key[0]], key[1], key[2])

        async def roll() -> None:
            try:
                workload = await self._cluster.get(path)
                change = decide(key[0], workload)
            except ApiError as error:
                if error.code != 404:
                    raise
                return
            except BadWordError:  # said when it was seen
                return
            if change is None:
                return
            version = workload["metadata"]["resourceVersion"]
            annotations = {"spec": {"template": {"metadata": {"annotations": change}}}}
            await self._cluster.patch(path, {"metadata": {"resourceVersion": version}, **annotations})
            log.info("%s %s/%s rolled: template annotations %s", *key, change)

        return roll
