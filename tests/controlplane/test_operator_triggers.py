"""kopf's part: its handlers are triggers that carry no state, so one that is late, or lost, costs time and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore, Ref
from controlplane.operator import reconciler
from controlplane.operator.reconciler import Reconciler
from controlplane.operator.thread import Operator
from tests.support import meshobjects as mo
from tests.support.kubeserver import kube_server
from tests.support.parts import running
from tests.support.waiting import until

WEB = Ref("Deployment", "shop", "web")


def deployment(word: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "web"}, "word": word}


class World:
    """A store, a feed that may be behind, and what was looked at."""

    def __init__(self) -> None:
        self.store = ObjectStore()
        self.caught_up = asyncio.Event()
        self.asked: list[tuple[str, str]] = []
        self.seen: list[Any] = []
        looks = {"Deployment": self._look, "Pod": self.seen.append}
        self.reconciler = Reconciler(self.store, self._reached, looks, {"Deployment"})

    def _look(self, ref: Ref) -> None:
        found = self.store.get(ref.kind, ref.namespace, ref.name)
        word = found["word"] if found else None
        if word == "bad":
            raise RuntimeError(word)
        self.seen.append(word)

    async def _reached(self, kind: str, version: str, seconds: float) -> bool:
        self.asked.append((kind, version))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.caught_up.wait()
        return self.caught_up.is_set()


@asynccontextmanager
async def reconciling() -> AsyncIterator[World]:
    world = World()
    async with running(world.reconciler):
        await asyncio.sleep(0)
        yield world


async def test_trigger_that_is_ahead_of_the_feed_waits_for_it_and_reads_the_store_then() -> None:
    """The operator and the feed watch by themselves, and either may be first."""
    async with reconciling() as world:
        world.reconciler.trigger(WEB, "10")
        world.reconciler.trigger(Ref("Deployment", "shop", "gone"), "9")
        await until(lambda: world.asked)
        world.store.apply("Deployment", deployment("new"))
        assert world.seen == []
        world.caught_up.set()
        await until(lambda: world.seen)

    assert world.seen == ["new", None]
    assert world.asked == [("Deployment", "10")]


async def test_trigger_of_a_deletion_finds_nothing_there() -> None:
    """What was wanted for the object goes."""
    async with reconciling() as world:
        world.caught_up.set()
        world.reconciler.trigger(WEB, "3")
        await until(lambda: world.seen == [None])


async def test_kind_that_is_behind_for_ever_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is looked at all the same after a while."""
    monkeypatch.setattr(reconciler, "BEHIND_SECONDS", 0.1)
    async with reconciling() as world:
        world.reconciler.trigger(WEB, "3")
        world.reconciler.trigger(Ref("Pod", "shop", "p"), "")
        await until(lambda: len(world.seen) == 2)


async def test_lost_trigger_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is looked at now and then."""
    monkeypatch.setattr(reconciler, "RESYNC_SECONDS", 0.05)
    async with reconciling() as world:
        world.store.apply("Deployment", deployment("missed"))
        world.store.apply("Pod", {"metadata": {"namespace": "shop", "name": "p"}})
        await until(lambda: world.seen.count("missed") >= 2)

    assert set(world.seen) == {"missed"}


async def test_object_that_cannot_be_looked_at_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect is one object's, and is tried again."""
    monkeypatch.setattr(reconciler, "RESYNC_SECONDS", 0.05)
    async with reconciling() as world:
        world.store.apply("Deployment", deployment("bad"))
        world.store.apply("Deployment", {"metadata": {"namespace": "shop", "name": "other"}, "word": "good"})
        await until(lambda: "good" in world.seen)

    assert "Deployment shop/web could not be looked at" in caplog.text


async def test_injected_pod_wakes_kopf_when_it_begins_and_when_it_ends_and_not_while_it_runs() -> None:
    """The API server selects: what changes while a pod runs costs kopf nothing."""
    triggers: list[str] = []
    async with kube_server() as kube:

        def put(phase: str, said: str = "") -> str:
            pod = mo.pod("web-1", "10.0.0.9")
            pod["status"] = {**pod["status"], "phase": phase, "message": said}
            return str(kube.put(pod)["metadata"]["resourceVersion"])

        put("Running")  # since before anybody looked
        operator = Operator(lambda _, version: triggers.append(version), kube.connection, "tulle")
        task = asyncio.ensure_future(operator.run())
        told: list[str] = []
        try:
            for phase, tells in (("Pending", True), ("Running", True), ("Running", False), ("Succeeded", True)):
                version = put(phase, f"{len(triggers)}")
                if tells:
                    told.append(version)
                    await until(lambda: triggers[-1:] == told[-1:], 10)
            kube.delete("pods", "shop", "web-1")
            await until(lambda: triggers[-1] == str(kube.version))
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    assert triggers == [*told, str(kube.version)]


async def test_kopf_wakes_for_workloads_injected_pods_routes_policies_and_webhooks_and_for_nothing_else() -> None:
    """The API server selects the pods by their label; each trigger is where and in which version, for a deletion too."""
    triggers: list[tuple[Ref, str]] = []
    async with kube_server() as kube:
        bare, injected = mo.pod("bare", "10.0.0.8", mesh=False), mo.pod("web-1", "10.0.0.9")
        for pod in (bare, injected):
            pod["status"]["phase"] = "Pending"
        for obj in (bare, injected, mo.route("all", {}), mo.peer_authentication("p", "STRICT")):
            kube.put(obj)
        kube.put({**mo.route("d", {}), "kind": "Deployment"})
        for name in ("tulle", "other"):
            kube.put({"kind": "MutatingWebhookConfiguration", "metadata": {"name": name}, "webhooks": []})
        operator = Operator(lambda ref, version: triggers.append((ref, version)), kube.connection, "tulle")
        async with running(operator):
            refs = lambda: {ref for ref, _ in triggers}  # noqa: E731
            await until(lambda: len(refs()) == 5, 10)
            kube.delete("deployments", "shop", "d")
            await until(lambda: triggers[-1] == (Ref("Deployment", "shop", "d"), str(kube.version)))

    assert refs() == {
        Ref("Deployment", "shop", "d"),
        Ref("Pod", "shop", "web-1"),
        Ref("HTTPRoute", "shop", "all"),
        Ref("PeerAuthentication", "shop", "p"),
        Ref("MutatingWebhookConfiguration", "", "tulle"),
    }
