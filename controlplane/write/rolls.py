"""Opting workloads in and out: an annotation on a Deployment, StatefulSet, DaemonSet or Rollout, carried into its pod template (decision 0003).

In: where a workload is, and the store. Out: the patch that makes its template say what the workload says, handed to the Writer, which rolls it by that. Pure but
for that hand-over. It leaves alone a template that speaks for itself, and takes out only what the operator put in. A word that is neither
`enabled` nor `disabled` is logged once and changes nothing. A roll that somebody undoes twice in ten minutes stops, and an Event on the workload names who did it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from controlplane.feed.kinds import kind_of
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.inject.refusal import RefusedPodError
from controlplane.inject.workload import speaks, template_change, unnamed
from controlplane.kube.client import ApiError, Cluster, path_of
from controlplane.write import events
from controlplane.write.events import News
from controlplane.write.notices import Notices
from controlplane.write.writer import Job, Writer
from meshapi import names

WITHIN_SECONDS = 600.0
UNDONE = 2
"""How often within that a roll may be undone; then whoever does it is not fought."""
_OWN_MANAGERS = frozenset({"tulle", "tulle-controlplane"})

Change = dict[str, str | None]

log = logging.getLogger(__name__)


class Rolls:
    """What is wanted of the Writer for workloads whose template does not say what they say."""

    def __init__(
        self, cluster: Cluster, store: ObjectStore, writer: Writer, notices: Notices, excluded: frozenset[str]
    ) -> None:
        self._cluster = cluster
        self._notices = notices
        self._store = store
        self._writer = writer
        self._excluded = excluded
        self._complained: dict[Ref, str] = {}
        self._rolled: dict[Ref, tuple[Change, list[float]]] = {}
        """The last change written to a workload, and when."""
        self._unnamed: set[Ref] = set()
        """Workloads that had the word beside a mark that names nobody: where the word goes, the mark was theirs."""

    def look(self, ref: Ref) -> None:
        """Look at a workload as the store knows it."""
        workload = self._store.get(*ref)
        if workload is None:
            self._gone(ref)
            return
        if ref.namespace in self._excluded or workload["metadata"].get("deletionTimestamp"):
            return
        try:
            change = self._change(ref, workload)
        except RefusedPodError as error:
            if self._complained.get(ref) != str(error):
                self._complained[ref] = str(error)
                log.warning("%s %s/%s: %s", *ref, error)
                self._notices.tell(ref, News(reason="AnnotationRefused", message=str(error), warning=True))
            change = None
        if change is None:
            self._writer.want(("roll", *ref), None)
            return
        self._writer.want(("roll", *ref), self._job(ref))

    def _change(self, ref: Ref, workload: Mapping[str, Any]) -> Change | None:
        """Say how the template must change, by what the workload says and said; raises RefusedPodError."""
        named = {**workload, "kind": ref.kind}
        if not unnamed(named):
            self._unnamed.discard(ref)
        elif speaks(named):
            self._unnamed.add(ref)
        return template_change(named, spoke=ref in self._unnamed)

    def _gone(self, ref: Ref) -> None:
        self._complained.pop(ref, None)
        self._rolled.pop(ref, None)
        self._unnamed.discard(ref)
        self._writer.want(("roll", *ref), None)

    def _job(self, ref: Ref) -> Job:
        """Roll a workload by what it says when it is written: an event may be late, and a newer one lost."""
        kind = kind_of(ref.kind)
        path = path_of(kind.first, kind.plural, ref.namespace, ref.name)

        async def roll() -> None:
            try:
                workload = await self._cluster.get(path)
                change = self._change(ref, workload)
            except ApiError as error:
                if error.code != 404:
                    raise
                return
            except RefusedPodError:  # said when it was seen
                return
            if change is None or await self._fought(ref, change, workload):
                return
            version = workload["metadata"]["resourceVersion"]
            annotations = {"spec": {"template": {"metadata": {"annotations": change}}}}
            await self._cluster.patch(path, {"metadata": {"resourceVersion": version}, **annotations})
            self._note(ref, change)
            log.info("%s %s/%s rolled: template annotations %s", *ref, change)
            news = News(reason="Rolled", message=_why(change))
            await events.record(self._cluster, kind, workload, news)

        return roll

    def _note(self, ref: Ref, change: Change) -> None:
        """Remember a roll; another than the last one begins anew, for then the workload's owner has changed the word."""
        self._complained.pop(ref, None)
        last, times = self._rolled.get(ref, (change, []))
        self._rolled[ref] = (change, [*(times if last == change else []), asyncio.get_running_loop().time()])

    async def _fought(self, ref: Ref, change: Change, workload: Mapping[str, Any]) -> bool:
        """Whether this roll has been undone too often just now; said once, where the workload's owner looks."""
        last, times = self._rolled.get(ref, (change, []))
        recent = [at for at in times if asyncio.get_running_loop().time() - at < WITHIN_SECONDS]
        if last != change or len(recent) < UNDONE:
            return False
        who = _last_to_write_the_template(workload)
        said = f"{who} has taken the mesh's annotations out of the pod template {UNDONE} times; the workload is left as it is for ten minutes"
        if self._complained.get(ref) != said:
            self._complained[ref] = said
            log.warning("%s %s/%s: %s", *ref, said)
            news = News(reason="RollUndone", message=said, warning=True)
            await events.record(self._cluster, kind_of(ref.kind), workload, news)
        return True


def _why(change: Change) -> str:
    """Say why a workload is rolled."""
    word = change[names.INJECT]
    if word is None:
        return f"{names.INJECT} was taken off the workload, so its pods are made anew without what the mesh had put into their template"
    what = "with sidecars" if word == names.ENABLED else "without sidecars"
    return f"the workload says {names.INJECT}={word}, so its pods are made anew {what}"


def _last_to_write_the_template(workload: Mapping[str, Any]) -> str:
    """Name the field manager that wrote the pod template last, other than the mesh."""
    found = [
        (str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in workload["metadata"].get("managedFields") or ()
        if "f:template" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        and entry.get("manager") not in _OWN_MANAGERS
    ]
    return max(found, default=("", "somebody"))[1]
