"""A roll that somebody undoes: done again once, and then told to whoever looks at the workload instead of fought over."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore, Ref
from controlplane.kube.client import Cluster
from controlplane.write import rolls as module
from controlplane.write.events import News
from controlplane.write.notices import STALE_SECONDS, Notices
from controlplane.write.rolls import Rolls
from controlplane.write.writer import Writer
from tests.controlplane.test_write_writer import INJECT, template_of, workload
from tests.support import meshobjects as mo
from tests.support.feeding import taken_in
from tests.support.kubeserver import KubeServer, kube_server
from tests.support.parts import running
from tests.support.virtual import virtual_time
from tests.support.waiting import until

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
OTHER = {
    "manager": "argocd-controller",
    "operation": "Apply",
    "time": "2026-01-01T00:00:02Z",
    "fieldsV1": {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {}}}}},
}
SCALER = {
    "manager": "hpa",
    "operation": "Update",
    "time": "2026-01-01T00:00:03Z",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}


class Fight:
    """A Deployment whose template somebody else keeps silent."""

    def __init__(self, kube: KubeServer) -> None:
        self.kube = kube
        self.cluster = Cluster(kube.connection)
        self.writer = Writer()
        self.writer.lead(True)
        self.store = ObjectStore()
        notices = Notices(self.cluster, self.store, self.writer, lambda: BEGAN)
        self.rolls = Rolls(self.cluster, self.store, self.writer, notices, frozenset())

    async def undo(self, word: str = "enabled") -> None:
        """The other writes its manifest, and the operator sees that."""
        given = workload(word)
        given["metadata"]["managedFields"] = [OTHER, SCALER]
        self.rolls.look(taken_in(self.store, self.kube.put(given)))
        await until(lambda: not self.writer._jobs)

    @property
    def rolled(self) -> bool:
        return INJECT in template_of(self.kube)

    def events(self, *reasons: str) -> list[dict[str, Any]]:
        found = [obj for (plural, _, _), obj in self.kube.objects.items() if plural == "events"]
        return [event for event in found if event["reason"] in reasons]


async def test_roll_that_is_undone_twice_stops_and_an_event_names_who_did_it() -> None:
    """Two managers that each want the other's field differently would restart a workload for ever."""
    async with kube_server() as kube:
        fight = Fight(kube)
        async with running(fight.writer):
            rolled = []
            for _ in range(5):
                await fight.undo()
                rolled.append(fight.rolled)
        await fight.cluster.close()

    assert rolled == [True, True, False, False, False]
    (event,) = fight.events("RollUndone")
    assert (event["type"], event["reason"], event["involvedObject"]["name"]) == ("Warning", "RollUndone", "web")
    assert "argocd-controller" in event["message"]
    assert "hpa" not in event["message"]


async def test_roll_is_tried_again_when_ten_minutes_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever undid it may have been mended meanwhile."""
    async with kube_server() as kube:
        fight = Fight(kube)
        async with running(fight.writer):
            for _ in range(3):
                await fight.undo()
            assert not fight.rolled
            monkeypatch.setattr(module, "WITHIN_SECONDS", 0.0)
            await fight.undo()
            assert fight.rolled
        await fight.cluster.close()


async def test_owner_who_changes_the_word_is_not_taken_for_one_who_undoes() -> None:
    """In, out, in and out again is what somebody asked for."""
    async with kube_server() as kube:
        fight = Fight(kube)
        async with running(fight.writer):
            for word in ("enabled", "disabled") * 3:
                await fight.undo(word)
                assert template_of(kube)[INJECT] == word
        await fight.cluster.close()

    assert fight.events("RollUndone") == []


async def test_word_taken_away_beside_a_mark_that_names_nobody_takes_the_workload_out() -> None:
    """A former version left that mark; one who never spoke while it was there has it from a copied template, and keeps it."""
    async with kube_server() as kube:
        fight = Fight(kube)
        async with running(fight.writer):
            marks = {INJECT: "enabled", "tulle.dev/injected-by": "operator"}
            spoken, silent = workload("enabled"), workload("enabled")
            silent["metadata"]["annotations"] = {}
            for one in (spoken, silent):
                one["spec"]["template"]["metadata"]["annotations"] = dict(marks)
            fight.rolls.look(taken_in(fight.store, kube.put(silent)))
            assert fight.writer._jobs == {}
            fight.rolls.look(taken_in(fight.store, kube.put(spoken)))
            fight.rolls.look(taken_in(fight.store, kube.put(silent)))
            await until(lambda: not fight.writer._jobs)
            assert template_of(kube) == {}
        await fight.cluster.close()


async def test_rollout_is_rolled_by_its_own_api() -> None:
    """Argo's kind, where it is installed."""
    async with kube_server() as kube:
        fight = Fight(kube)
        async with running(fight.writer):
            given = workload("enabled") | {"kind": "Rollout"}
            fight.rolls.look(taken_in(fight.store, kube.put(given)))
            await until(lambda: not fight.writer._jobs)
            found = kube.get("rollouts", "shop", "web") or {}
        await fight.cluster.close()

    assert found["spec"]["template"]["metadata"]["annotations"]["tulle.dev/injected-by"] == "Rollout/web"


async def test_roll_and_a_refused_annotation_are_told_on_the_workload() -> None:
    """Whoever wonders why pods are made anew, or why nothing happens, looks there; each is said once."""
    async with kube_server() as kube:
        fight = Fight(kube)
        async with running(fight.writer):
            await fight.undo()
            for _ in range(2):
                await fight.undo("yes")
            (rolled,) = fight.events("Rolled")
            (refused,) = fight.events("AnnotationRefused")
        await fight.cluster.close()

    assert (rolled["type"], rolled["involvedObject"]["name"]) == ("Normal", "web")
    assert rolled["message"] == "the workload says tulle.dev/inject=enabled, so its pods are made anew with sidecars"
    assert refused["type"] == "Warning"
    assert refused["message"] == "annotation tulle.dev/inject is 'yes'; allowed is enabled or disabled"


def made(name: str, *, sidecar: bool = False, skipped: str = "", when: str = "2026-01-02T00:00:00Z") -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "web-5", "controller": True}
    pod = mo.pod(name, "10.0.0.1", labels={"pod-template-hash": "5"}, ownerReferences=[owner], creationTimestamp=when)
    pod["metadata"]["annotations"] = {"tulle.dev/skipped": skipped} if skipped else {}
    pod["spec"]["initContainers"] = [{"name": "tulle-proxy"}] if sidecar else []
    return pod


async def test_what_becomes_of_pods_is_told_once_a_change_and_not_of_those_that_were_there() -> None:
    """Injected, and skipped with the reason; a workload of a thousand pods is told of once."""
    async with kube_server() as kube:
        fight = Fight(kube)
        kube.put(workload("enabled"))
        async with running(fight.writer):
            fight.store.apply("Pod", made("old", sidecar=True, when="2025-01-01T00:00:00Z"))
            fight.store.apply("Pod", made("plain"))
            assert fight.writer._jobs == {}
            fight.store.apply("Pod", made("why", skipped="the pod uses hostNetwork"))
            for number in range(3):
                fight.store.apply("Pod", made(f"new-{number}", sidecar=True))
            await until(lambda: not fight.writer._jobs)
            told = sorted(
                (event["reason"], event["type"]) for event in fight.events("SidecarInjected", "SidecarSkipped")
            )
            (skipped,) = fight.events("SidecarSkipped")
        await fight.cluster.close()

    assert told == [("SidecarInjected", "Normal"), ("SidecarSkipped", "Warning")]
    assert skipped["message"] == "pods asked for a sidecar and get none: the pod uses hostNetwork"


def test_news_that_could_not_be_written_in_time_is_none() -> None:
    """A replica that comes to lead an hour later does not tell an hour's news; one that never leads holds no more than a minute's, however many workloads come and go."""

    async def scenario() -> tuple[list[int], int]:
        store, writer, held = ObjectStore(), Writer(), list[int]()
        Notices(Cluster.__new__(Cluster), store, writer, lambda: BEGAN)
        async with running(writer):
            for number in range(200):
                pod = made("new", sidecar=True)
                pod["metadata"]["ownerReferences"][0]["name"] = f"web{number}-5"
                store.apply("Pod", pod)
                await asyncio.sleep(1)
                held.append(len(writer._jobs))
            await asyncio.sleep(STALE_SECONDS)
            writer.lead(True)
            await asyncio.sleep(1)
            return held, writer.written + writer.failed

    with virtual_time() as loop:
        held, tried = loop.run_until_complete(scenario())

    assert STALE_SECONDS - 1 <= max(held) <= STALE_SECONDS + 1
    assert tried == 0


def test_news_told_anew_is_held_for_as_long_as_if_it_were_the_first() -> None:
    """Dropping what is old leaves what took its place."""

    async def scenario() -> list[int]:
        writer, held = Writer(), list[int]()
        notices = Notices(Cluster.__new__(Cluster), ObjectStore(), writer, lambda: BEGAN)
        for _ in range(2):
            notices.tell(Ref("Deployment", "shop", "web"), News(reason="SidecarInjected", message="m"))
            await asyncio.sleep(STALE_SECONDS / 2)
        for _ in range(2):
            await asyncio.sleep(STALE_SECONDS / 2 - 1)
            held.append(len(writer._jobs))
            await asyncio.sleep(2)
        return held

    with virtual_time() as loop:
        held = loop.run_until_complete(scenario())

    assert held == [1, 0]
