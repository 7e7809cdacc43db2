"""What is written to the cluster: by the leader only, once, again after a failure, and only where it differs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controlplane.watch import writer as module
from controlplane.watch.cluster import ApiError, Cluster
from controlplane.watch.leader import Elector
from controlplane.watch.rolls import BadWordError, Rolls, decide
from controlplane.watch.webhooks import Webhooks
from controlplane.watch.writer import Writer
from tests.support.kubeserver import KubeServer, kube_server
from tests.support.waiting import until

INJECT, BY, WEB = "tulle.dev/inject", "tulle.dev/injected-by", "Deployment/web"


@asynccontextmanager
async def running(part: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(part.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def workload(word: str | None, template: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {INJECT: word} if word else {}},
        "spec": {"template": {"metadata": {"annotations": template or {}, "labels": labels}}},
    }


@pytest.mark.parametrize(
    ("word", "template", "change"),
    [
        ("enabled", {}, {INJECT: "enabled", BY: WEB}),
        ("disabled", {}, {INJECT: "disabled", BY: WEB}),
        ("enabled", {INJECT: "enabled", BY: WEB}, None),
        ("disabled", {INJECT: "enabled", BY: WEB}, {INJECT: "disabled", BY: WEB}),
        ("enabled", {INJECT: "disabled"}, None),
        (None, {INJECT: "enabled", BY: WEB}, {INJECT: None, BY: None}),
        (None, {INJECT: "enabled"}, None),
        (None, {}, None),
    ],
)
def test_template_follows_the_workloads_word_where_the_operator_put_it(
    word: str | None, template: dict[str, str], change: dict[str, str | None] | None
) -> None:
    """A template that speaks for itself is left alone; only what the operator put in is taken out."""
    assert decide("Deployment", workload(word, template)) == change


@pytest.mark.parametrize("mark", ["Deployment/web-canary", "StatefulSet/web", "operator"])
@pytest.mark.parametrize("word", ["enabled", "disabled"])
def test_mark_holds_for_the_workload_it_names_and_for_no_copy_of_its_template(mark: str, word: str) -> None:
    """Flagger copies a template to its primary and clears the annotations: the primary stays in the mesh, for nobody asked it out."""
    copied = {INJECT: word, BY: mark}

    assert decide("Deployment", workload(None, copied)) is None


def test_mark_that_names_nobody_is_followed_while_the_workload_speaks() -> None:
    """Templates signed before marks had names still follow their workload's word, and are signed by name when they change."""
    unnamed = {INJECT: "enabled", BY: "operator"}

    assert decide("Deployment", workload("enabled", unnamed)) is None
    assert decide("Deployment", workload("disabled", unnamed)) == {INJECT: "disabled", BY: WEB}


def test_label_on_the_template_speaks_for_itself_too() -> None:
    """Nearest the pod wins."""
    assert decide("Deployment", workload("enabled", {}, **{INJECT: "disabled"})) is None


def test_unknown_word_is_refused_by_name() -> None:
    """The sentence says which annotation, what it held and what is allowed."""
    with pytest.raises(BadWordError, match=r"tulle\.dev/inject is 'yes', it must be 'enabled' or 'disabled'"):
        decide("Deployment", workload("yes"))


async def test_annotated_deployment_is_rolled_in_and_out_again() -> None:
    """The whole way: seen, written, seen again, nothing left to do."""
    async with kube_server() as kube:
        cluster, writer = Cluster(kube.connection), Writer()
        rolls = Rolls(cluster, writer, frozenset({"tulle-system", "own"}))
        writer.lead(True)
        async with running(writer):
            rolls.seen("Deployment", kube.put(workload("enabled")))
            await until(lambda: writer.written == 1)
            assert template_of(kube).get(INJECT) == "enabled"
            rolls.seen("Deployment", kube.get("deployments", "shop", "web") or {})
            writes = writer.written
            without = kube.get("deployments", "shop", "web") or {}
            without["metadata"]["annotations"] = {}
            rolls.seen("Deployment", without)
            await until(lambda: INJECT not in template_of(kube))
        await cluster.close()

    assert writes == 1
    assert BY not in template_of(kube)


def template_of(kube: KubeServer) -> dict[str, str]:
    found: dict[str, str] = (kube.get("deployments", "shop", "web") or {})["spec"]["template"]["metadata"][
        "annotations"
    ]
    return found


async def test_bad_word_is_logged_once_and_excluded_namespaces_are_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A workload that is seen a hundred times complains once."""
    async with kube_server() as kube:
        cluster, writer = Cluster(kube.connection), Writer()
        rolls = Rolls(cluster, writer, frozenset({"tulle-system", "own"}))
        for _ in range(3):
            rolls.seen("Deployment", workload("yes"))
        for excluded in ("tulle-system", "own"):
            own = workload("enabled")
            own["metadata"]["namespace"] = excluded
            rolls.seen("Deployment", own)
        await cluster.close()

    assert len([r for r in caplog.records if "'yes'" in r.getMessage()]) == 1
    assert not writer._wishes


async def test_nothing_is_written_before_leading_and_everything_open_after() -> None:
    """A replica that becomes leader does what its predecessor left."""
    done: list[str] = []
    writer = Writer()

    async def job() -> None:
        done.append("x")

    async with running(writer):
        writer.want("a", job)
        await asyncio.sleep(0.02)
        assert done == []
        writer.lead(True)
        await until(lambda: done)


async def test_newest_wish_replaces_the_former_and_none_takes_it_back() -> None:
    """Only what is wanted now is written."""
    done: list[str] = []
    writer = Writer()

    def job(name: str) -> module.Job:
        async def write() -> None:
            done.append(name)

        return write

    writer.want("a", job("old"))
    writer.want("a", job("new"))
    writer.want("b", job("never"))
    writer.want("b", None)
    writer.lead(True)
    async with running(writer):
        await until(lambda: done)

    assert done == ["new"]


async def test_conflict_is_tried_again_and_a_refusal_for_good_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """409 may be good a moment later, 403 will not."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    tries = {"conflict": 0, "forbidden": 0}
    writer = Writer()

    async def conflict() -> None:
        tries["conflict"] += 1
        if tries["conflict"] < 3:
            raise ApiError(409, "Conflict", "modified")

    async def forbidden() -> None:
        tries["forbidden"] += 1
        raise ApiError(403, "Forbidden", "not allowed to")

    writer.lead(True)
    async with running(writer):
        writer.want(("a",), conflict)
        writer.want(("b",), forbidden)
        await until(lambda: tries["conflict"] == 3 and not writer._wishes)

    assert tries["forbidden"] == 1
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == ["b was not written: not allowed to"]


async def test_one_replica_leads_and_the_next_takes_over_when_it_ends() -> None:
    """The Lease is given back on the way out, so nobody waits for it to run out."""
    async with kube_server() as kube:
        cluster = Cluster(kube.connection)
        one, two = (Elector(cluster, "tulle-system", "tulle", name) for name in ("one", "two"))
        async with running(one) as first:
            await until(lambda: one.leading)
            async with running(two):
                await until(lambda: two.holder == "one")
                assert not two.leading
                first.cancel()
                await until(lambda: two.leading, 8)
        await cluster.close()

    assert not one.leading


async def test_leader_that_cannot_renew_steps_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not write when another may hold the Lease already."""
    monkeypatch.setattr("controlplane.watch.leader.RENEW_WITHIN", 0.2)
    monkeypatch.setattr("controlplane.watch.leader.RETRY_SECONDS", 0.02)
    async with kube_server() as kube:
        cluster = Cluster(kube.connection)
        elector = Elector(cluster, "tulle-system", "tulle", "one")
        seen: list[bool] = []
        elector.listen(seen.append)
        async with running(elector):
            await until(lambda: elector.leading)
            kube.failing["GET", "/apis/coordination.k8s.io/v1/namespaces/tulle-system/leases/tulle"] = 500
            await until(lambda: not elector.leading)
        await cluster.close()

    assert seen == [True, False]


async def test_ca_bundle_is_put_where_this_installation_is_called_and_nowhere_else() -> None:
    """Another Service's webhook in the same configuration keeps its own."""

    def hook(name: str, namespace: str) -> dict[str, Any]:
        return {"name": name, "clientConfig": {"service": {"namespace": namespace, "name": "tulle"}}}

    async with kube_server() as kube:
        cluster, writer, roots = Cluster(kube.connection), Writer(), ["one"]
        webhooks = Webhooks(cluster, writer, ("tulle-system", "tulle"), lambda: roots[0])
        kube.put(
            {
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "tulle"},
                "webhooks": [hook("a", "other"), hook("b", "tulle-system")],
            }
        )
        writer.lead(True)
        async with running(writer):
            await webhooks.look()
            assert not webhooks.settled
            await until(lambda: webhooks.settled)
            roots[0] = "two"
            webhooks.roots_changed()
            await until(lambda: webhooks.settled)
        await cluster.close()
        found = (kube.get("mutatingwebhookconfigurations", "", "tulle") or {})["webhooks"]

    assert ["caBundle" in one["clientConfig"] for one in found] == [False, True]
    assert found[1]["clientConfig"]["caBundle"] == "dHdv"
