"""Conditions written back: only Tulle's own entries, only when they differ, whoever else writes meanwhile."""

from __future__ import annotations

from typing import Any

from controlplane.compiler.passes import compile_mesh
from controlplane.ingest.assemble import ingest
from controlplane.watch.cluster import Cluster
from controlplane.watch.handlers import FED
from controlplane.watch.objects import ObjectStore
from controlplane.watch.status import Statuses
from controlplane.watch.sweep import Sweep
from controlplane.watch.writer import Writer
from tests.controlplane.test_watch_writing import running
from tests.support import meshobjects as mo
from tests.support.kubeserver import GATEWAY, KubeServer, kube_server
from tests.support.waiting import until

FOREIGN = {"controllerName": "example.com/other", "parentRef": {"name": "gw"}, "conditions": []}


class Writing:
    """The parts between a cluster's routes and their status."""

    def __init__(self, kube: KubeServer) -> None:
        self.kube = kube
        self.cluster = Cluster(kube.connection)
        self.store = ObjectStore()
        self.writer = Writer()
        self.writer.lead(True)
        self.statuses = Statuses(self.cluster, self.store, self.writer)
        self.sweep = Sweep(self.cluster, self.store)
        for obj in mo.shop().held.values():
            self.store.apply(obj["kind"], obj)

    async def look(self) -> None:
        """Read the routes as they are and tell the statuses."""
        for watched in ("HTTPRoute", "PeerAuthentication", "Mesh"):
            await self.sweep.one(next(w for w in FED if w.kind == watched))
        self.statuses.told(compile_mesh(ingest(self.store)))

    def parents(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            (self.kube.get("httproutes", "shop", name) or {}).get("status", {}).get("parents", [])
        )
        return found

    def patches(self) -> int:
        return len([1 for method, _ in self.kube.requests if method == "PATCH"])


async def test_route_is_told_and_told_only_once() -> None:
    """Accepted and resolved; a second look writes nothing."""
    async with kube_server() as kube:
        w = Writing(kube)
        kube.put(mo.route("good", {"backendRefs": [mo.to("api")]}))
        async with running(w.writer):
            await w.look()
            await until(lambda: w.parents("good"))
            await w.look()
            await until(lambda: not w.writer._wishes)
        await w.cluster.close()

    (parent,) = w.parents("good")
    assert {c["type"]: c["status"] for c in parent["conditions"]} == {"Accepted": "True", "ResolvedRefs": "True"}
    assert w.patches() == 1


async def test_entries_of_other_controllers_stay_even_when_written_meanwhile() -> None:
    """The status is read fresh, merged, and written against that version."""
    async with kube_server() as kube:
        w = Writing(kube)
        kube.put(mo.route("shared", {"backendRefs": [mo.to("nobody")]}))
        await w.look()
        changed = kube.get("httproutes", "shop", "shared") or {}
        kube.put({**changed, "status": {"parents": [FOREIGN]}})
        async with running(w.writer):
            await until(lambda: len(w.parents("shared")) == 2)
        await w.cluster.close()

    foreign, own = w.parents("shared")
    assert foreign == FOREIGN
    assert [c["reason"] for c in own["conditions"] if c["type"] == "ResolvedRefs"] == ["BackendNotFound"]


async def test_own_entry_that_somebody_took_away_is_written_again() -> None:
    """A change of status alone wakes the writer."""
    async with kube_server() as kube:
        w = Writing(kube)
        kube.put(mo.route("lost", {"backendRefs": [mo.to("api")]}))
        async with running(w.writer):
            await w.look()
            await until(lambda: w.parents("lost"))
            await w.look()
            kube.put({**(kube.get("httproutes", "shop", "lost") or {}), "status": {"parents": []}})
            await w.sweep.one(FED[0])
            await until(lambda: w.parents("lost"))
        await w.cluster.close()


async def test_policy_that_cannot_be_read_says_so_in_its_status() -> None:
    """The sentence of the problem is the condition's message."""
    async with kube_server() as kube:
        w = Writing(kube)
        kube.put(mo.peer_authentication("bad", "SOMETIMES"))
        kube.put({"kind": "Mesh", "metadata": {"name": "default"}, "spec": {}})
        async with running(w.writer):
            await w.look()
            await until(lambda: (kube.get("peerauthentications", "shop", "bad") or {}).get("status"))
            await until(lambda: (kube.get("meshes", "", "default") or {}).get("status"))
        await w.cluster.close()

    assert (kube.get("meshes", "", "default") or {})["status"]["proxies"] == 2
    (condition,) = (kube.get("peerauthentications", "shop", "bad") or {})["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Accepted", "False")
    assert "SOMETIMES" in condition["message"]


async def test_kinds_that_are_not_installed_have_no_objects() -> None:
    """A cluster without Gateway API is swept all the same."""
    async with kube_server() as kube:
        kube.kinds = {key: kind for key, kind in kube.kinds.items() if kind.group != GATEWAY}
        w = Writing(kube)
        async with running(w.sweep):
            await until(w.sweep.synced.is_set)
        await w.cluster.close()

    assert not list(w.store.of("HTTPRoute"))
