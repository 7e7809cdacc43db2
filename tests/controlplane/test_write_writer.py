"""What is written: rolls, statuses and bundles wanted of the writer, done while leading and only then."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import itertools
from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore, Ref
from controlplane.inject.refusal import BadAnnotationError
from controlplane.inject.workload import template_change as decide
from controlplane.kube.client import ApiError, Cluster
from controlplane.write import writer as module
from controlplane.write.notices import Notices
from controlplane.write.rolls import Rolls
from controlplane.write.webhooks import Webhooks
from controlplane.write.writer import Writer
from tests.support.feeding import listed, taken_in
from tests.support.kubeserver import KubeServer, kube_server
from tests.support.parts import running
from tests.support.virtual import VirtualLoop, virtual_time
from tests.support.waiting import until

INJECT, BY, WEB = "tulle.dev/inject", "tulle.dev/injected-by", "Deployment/web"


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
    assert decide(workload(word, template)) == change


@pytest.mark.parametrize("mark", ["Deployment/web-canary", "StatefulSet/web", "operator"])
@pytest.mark.parametrize("word", ["enabled", "disabled"])
def test_mark_holds_for_the_workload_it_names_and_for_no_copy_of_its_template(mark: str, word: str) -> None:
    """Flagger copies a template to its primary and clears the annotations: the primary stays in the mesh, for nobody asked it out."""
    copied = {INJECT: word, BY: mark}

    assert decide(workload(None, copied)) is None


def test_mark_that_names_nobody_is_followed_while_the_workload_speaks() -> None:
    """Templates signed before marks had names still follow their workload's word, and are signed by name when they change."""
    unnamed = {INJECT: "enabled", BY: "operator"}

    assert decide(workload("enabled", unnamed)) is None
    assert decide(workload("disabled", unnamed)) == {INJECT: "disabled", BY: WEB}


def test_label_on_the_template_speaks_for_itself_too() -> None:
    """Nearest the pod wins."""
    assert decide(workload("enabled", {}, **{INJECT: "disabled"})) is None


def rolls_of(cluster: Cluster, store: ObjectStore, writer: Writer, *excluded: frozenset[str]) -> Rolls:
    notices = Notices(cluster, store, writer, lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    return Rolls(cluster, store, writer, notices, *excluded)


def test_unknown_word_is_refused_by_name() -> None:
    """The sentence says which annotation, what it held and what is allowed."""
    with pytest.raises(BadAnnotationError, match=r"tulle\.dev/inject is 'yes'; allowed is enabled or disabled"):
        decide(workload("yes"))


async def test_annotated_deployment_is_rolled_in_and_out_again() -> None:
    """The whole way: seen, written, seen again, nothing left to do."""
    async with kube_server() as kube:
        cluster, store, writer = Cluster(kube.connection), ObjectStore(), Writer()
        rolls = rolls_of(cluster, store, writer, frozenset({"tulle-system", "own"}))
        writer.lead(True)
        async with running(writer):
            rolls.look(taken_in(store, kube.put(workload("enabled"))))
            await until(lambda: writer.written == 1)
            assert template_of(kube).get(INJECT) == "enabled"
            rolls.look(taken_in(store, kube.get("deployments", "shop", "web") or {}))
            writes = writer.written
            without = kube.get("deployments", "shop", "web") or {}
            without["metadata"]["annotations"] = {}
            rolls.look(taken_in(store, without))
            await until(lambda: INJECT not in template_of(kube))
        await cluster.close()

    assert writes == 1
    assert BY not in template_of(kube)


async def test_roll_is_made_from_the_workload_as_it_is_then() -> None:
    """What was seen may be old by the time it is written, and the event of what is new may be late."""
    async with kube_server() as kube:
        cluster, store, writer = Cluster(kube.connection), ObjectStore(), Writer()
        rolls = rolls_of(cluster, store, writer, frozenset())
        old = copy.deepcopy(kube.put(workload("enabled")))
        kube.put(workload("disabled"))
        rolls.look(taken_in(store, old))
        writer.lead(True)
        async with running(writer):
            await until(lambda: writer.written == 1)
        assert template_of(kube) == {INJECT: "disabled", BY: WEB}
        kube.delete("deployments", "shop", "web")
        rolls.look(taken_in(store, old))
        async with running(writer):
            await until(lambda: writer.written == 2)
        await cluster.close()

    assert not writer._jobs


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
        cluster, store, writer = Cluster(kube.connection), ObjectStore(), Writer()
        rolls = rolls_of(cluster, store, writer, frozenset({"tulle-system", "own"}))
        for _ in range(3):
            rolls.look(taken_in(store, workload("yes")))
        for excluded in ("tulle-system", "own"):
            own = workload("enabled")
            own["metadata"]["namespace"] = excluded
            rolls.look(taken_in(store, own))
        await cluster.close()

    assert len([r for r in caplog.records if "'yes'" in r.getMessage()]) == 1
    assert [key[:2] for key in writer._jobs] == [("event", "AnnotationRefused")]


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


async def test_newest_job_replaces_the_former_and_none_takes_it_back() -> None:
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


REFUSALS = [
    ApiError(403, "Forbidden", "not allowed to"),
    ApiError(404, "NotFound", "no such object"),
    ApiError(409, "Conflict", "modified"),
    ApiError(422, "Invalid", "spec.x: unknown"),
    ApiError(500, "InternalError", "etcd"),
    TimeoutError("too late"),
    OSError("unreachable"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_job_is_tried_again_for_as_long_as_it_is_wanted(refusal: Exception) -> None:
    """A role mended after an hour, a webhook back after a day: what is wanted is written, and nobody restarts anything."""

    async def scenario(loop: VirtualLoop) -> tuple[list[float], Writer]:
        writer, tries = Writer(), list[float]()

        async def write() -> None:
            tries.append(loop.time() - 1000)
            if loop.time() < 1000 + 7200:
                raise refusal

        writer.lead(True)
        async with running(writer):
            writer.want(("a",), write)
            await asyncio.sleep(7300)
        return tries, writer

    with virtual_time() as loop:
        tries, writer = loop.run_until_complete(scenario(loop))
    pauses = [later - sooner for sooner, later in itertools.pairwise(tries)]

    assert tries[-1] >= 7200
    assert max(pauses) <= module.LONGEST_WAIT * 1.2
    assert writer.written == 1
    assert not writer._jobs


def test_server_that_asks_for_time_is_given_it() -> None:
    """429 comes with how long to wait."""

    async def scenario(loop: VirtualLoop) -> list[float]:
        writer, tries = Writer(), list[float]()

        async def write() -> None:
            tries.append(loop.time() - 1000)
            if len(tries) == 1:
                raise ApiError(429, "TooManyRequests", "later", retry_after=17.0)

        writer.lead(True)
        async with running(writer):
            writer.want(("a",), write)
            await asyncio.sleep(60)
        return tries

    with virtual_time() as loop:
        tries = loop.run_until_complete(scenario(loop))

    assert len(tries) == 2
    assert tries[1] >= 17


async def test_refusal_is_told_once_and_its_age_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    """One line says what is refused and why; a metric says for how long."""
    writer = Writer()
    refused = asyncio.Event()

    async def write() -> None:
        refused.set()
        raise ApiError(403, "Forbidden", "not allowed to")

    writer.lead(True)
    async with running(writer):
        assert writer.oldest() == 0
        writer.want(("status", "b"), write)
        await refused.wait()
        await until(lambda: writer.failed == 1)
        assert writer.oldest() > 0
        (stuck,) = writer.stuck()
        assert (stuck.what, stuck.why) == ("status b", "not allowed to")
        assert stuck.seconds > 0
        writer.want(("status", "b"), None)
        assert (writer.oldest(), writer.stuck()) == (0, [])

    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "status b is refused, and tried again for as long as it is wanted: not allowed to"
    ]


async def test_defect_in_one_job_keeps_no_other_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    """It would end the leader, and then the next one."""
    writer, done = Writer(), asyncio.Event()

    async def broken() -> None:
        raise KeyError("spec")

    async def write() -> None:
        done.set()

    writer.lead(True)
    async with running(writer):
        writer.want("a", broken)
        await until(lambda: writer.failed == 1)
        writer.want("b", write)
        await asyncio.wait_for(done.wait(), 10)
        assert list(writer._jobs) == ["a"]

    assert "KeyError: 'spec'" in caplog.text


async def test_write_under_way_ends_with_the_term() -> None:
    """Whoever leads no longer writes no longer, not even what has begun; the job stays for the next term."""
    writer = Writer()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    writer.lead(True)
    async with running(writer):
        writer.want("a", write)
        await begun.wait()
        writer.lead(False)
        await ended.wait()
        assert list(writer._jobs) == ["a"]
        begun.clear()
        writer.lead(True)
        await begun.wait()


async def test_ca_bundle_is_put_where_this_installation_is_called_and_nowhere_else() -> None:
    """Another Service's webhook in the same configuration keeps its own."""

    def hook(name: str, namespace: str) -> dict[str, Any]:
        return {"name": name, "clientConfig": {"service": {"namespace": namespace, "name": "tulle"}}}

    async with kube_server() as kube:
        cluster, store, writer, roots = Cluster(kube.connection), ObjectStore(), Writer(), ["one"]
        webhooks = Webhooks(cluster, store, writer, ("tulle-system", "tulle"), lambda: roots[0])
        kube.put(
            {
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "tulle"},
                "webhooks": [hook("a", "other"), hook("b", "tulle-system")],
            }
        )

        def settled() -> bool:
            listed(store, kube, "MutatingWebhookConfiguration")
            return webhooks.carry(roots)

        writer.lead(True)
        async with running(writer):
            assert not settled()
            webhooks.look(Ref("MutatingWebhookConfiguration", "", "tulle"))
            await until(settled)
            roots[0] = "two"
            webhooks.roots_changed()
            await until(settled)
        await cluster.close()
        found = (kube.get("mutatingwebhookconfigurations", "", "tulle") or {})["webhooks"]

    assert ["caBundle" in one["clientConfig"] for one in found] == [False, True]
    assert found[1]["clientConfig"]["caBundle"] == "dHdv"
