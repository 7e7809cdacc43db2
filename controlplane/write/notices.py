"""What happens to a workload at admission, told on the workload: its pods get sidecars, or do not, and why.

In: the store, which tells of pods. Out: Events on Deployments, StatefulSets, DaemonSets and Rollouts, written by the leader: one when what becomes of a workload's pods changes, not
one a pod. Nothing is told of pods that were there before this replica, nor what is old news when it comes to lead. Refuses nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from controlplane.feed.kinds import ROLLED, kind_of
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.kube.client import ApiError, Cluster, path_of
from controlplane.model.meta import created
from controlplane.model.owners import workload_of
from controlplane.model.workloads import has_sidecar
from controlplane.write import events
from controlplane.write.events import News
from controlplane.write.writer import Job, Writer
from meshapi import names

STALE_SECONDS = 60.0
"""News that could not be written for so long is none any more, and is dropped."""
MAX_KNOWN = 20_000
"""Workloads of which it is remembered what was told; beyond that the oldest are told of again."""
_KINDS = frozenset(kind.name for kind in ROLLED)


class Notices:
    """What was told of each workload last."""

    def __init__(self, cluster: Cluster, store: ObjectStore, writer: Writer, now: Callable[[], dt.datetime]) -> None:
        self._cluster = cluster
        self._store = store
        self._writer = writer
        self._began = now().timestamp()
        self._told: dict[Ref, News] = {}
        store.listen(self._changed)

    def tell(self, ref: Ref, news: News) -> None:
        """Have something told on a workload, if this replica leads."""
        key, job = ("event", news.reason, *ref), self._job(ref, news)
        self._writer.want(key, job)
        # Most replicas never lead: what they would tell must not gather.
        asyncio.get_running_loop().call_later(STALE_SECONDS, self._writer.drop, key, job)

    def _changed(self, ref: Ref) -> None:
        pod = self._store.get(*ref) if ref.kind == "Pod" else None
        news = news_of(pod) if pod is not None else None
        if pod is None or news is None:
            return
        metadata = pod["metadata"]
        kind, name = workload_of(metadata.get("ownerReferences") or (), metadata.get("labels") or {}, metadata["name"])
        workload = Ref(kind, ref.namespace, name)
        if kind not in _KINDS or self._told.get(workload) == news:
            return
        self._told.pop(workload, None)
        self._told[workload] = news
        if len(self._told) > MAX_KNOWN:
            del self._told[next(iter(self._told))]
        if created(metadata) >= self._began:
            self.tell(workload, news)

    def _job(self, ref: Ref, news: News) -> Job:
        async def write() -> None:
            kind = kind_of(ref.kind)
            try:
                workload = await self._cluster.get(path_of(kind.first, kind.plural, ref.namespace, ref.name))
            except ApiError as error:
                if error.code != 404:
                    raise
                return
            await events.record(self._cluster, kind, workload, news)

        return write


def news_of(pod: Mapping[str, Any]) -> News | None:
    """Say what admission has made of a pod; None where nothing was asked."""
    skipped = (pod["metadata"].get("annotations") or {}).get(names.SKIPPED)
    if skipped:
        return News(reason="SidecarSkipped", message=f"pods asked for a sidecar and get none: {skipped}", warning=True)
    if has_sidecar(pod):
        return News(reason="SidecarInjected", message="pods get their sidecars and are in the mesh")
    return None
