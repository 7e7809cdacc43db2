"""Opting workloads in and out: an annotation on a Deployment, StatefulSet or DaemonSet, carried into its pod template (decision 0003).

In: each workload as kopf sees it. Out: the patch that makes its template say what the workload says, handed to the Writer, which rolls it by that. Pure but
for that hand-over. It leaves alone a template that speaks for itself, and takes out only what the operator put in. A word that is neither
`enabled` nor `disabled` is logged once and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from controlplane.inject.annotations import BadAnnotationError
from controlplane.inject.workload import template_change
from controlplane.watch.cluster import ApiError, Cluster, path_of
from controlplane.watch.writer import Job, Writer

PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
EXCLUDED = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_API = "apps/v1"

log = logging.getLogger(__name__)


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
            change = template_change({**workload, "kind": kind})
        except BadAnnotationError as error:
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
                change = template_change({**workload, "kind": key[0]})
            except ApiError as error:
                if error.code != 404:
                    raise
                return
            except BadAnnotationError:  # said when it was seen
                return
            if change is None:
                return
            version = workload["metadata"]["resourceVersion"]
            annotations = {"spec": {"template": {"metadata": {"annotations": change}}}}
            await self._cluster.patch(path, {"metadata": {"resourceVersion": version}, **annotations})
            log.info("%s %s/%s rolled: template annotations %s", *key, change)

        return roll
