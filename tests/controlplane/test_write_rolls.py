"""A roll that somebody undoes: done again once, and then told to whoever looks at the workload instead of fought over."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore
from controlplane.kube.client import Cluster
from controlplane.write import rolls as module
from controlplane.write.rolls import Rolls
from controlplane.write.writer import Writer
from tests.controlplane.test_write_writer import INJECT, running, template_of, workload
from tests.support.feeding import taken_in
from tests.support.kubeserver import KubeServer, kube_server
from tests.support.waiting import until

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
        self.rolls = Rolls(self.cluster, self.store, self.writer, frozenset())

    async def undo(self, word: str = "enabled") -> None:
        """The other writes its manifest, and the operator sees that."""
        given = workload(word)
        given["metadata"]["managedFields"] = [OTHER, SCALER]
        self.rolls.look(taken_in(self.store, self.kube.put(given)))
        await until(lambda: not self.writer._jobs)

    @property
    def rolled(self) -> bool:
        return INJECT in template_of(self.kube)

    def events(self) -> list[dict[str, Any]]:
        return [obj for (plural, _, _), obj in self.kube.objects.items() if plural == "events"]


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
    (event,) = fight.events()
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

    assert fight.events() == []


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
