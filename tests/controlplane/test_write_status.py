"""Conditions written back: only Tulle's own entries, only when they differ, whoever else writes meanwhile."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.feed.kinds import kind_of
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.ingest.assemble import ingest
from controlplane.kube.client import Cluster
from controlplane.model.meta import Problem
from controlplane.write.status import Statuses
from controlplane.write.writer import Writer
from tests.support import meshobjects as mo
from tests.support.feeding import listed, taken_in
from tests.support.kubeserver import GATEWAY, KubeServer, kube_server
from tests.support.parts import running
from tests.support.waiting import until

FOREIGN = {"controllerName": "example.com/other", "parentRef": {"name": "gw"}, "conditions": []}


class Served:
    """A feed that reads every kind in its newest version, and some not at all."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}

    def api(self, kind: str, /) -> str:
        return kind_of(kind).api(kind_of(kind).versions[0])

    def troubles(self) -> list[tuple[str, str]]:
        return list(self.unread.items())


class Writing:
    """The parts between a cluster's routes and their status."""

    def __init__(self, kube: KubeServer) -> None:
        self.kube = kube
        self.cluster = Cluster(kube.connection)
        self.store = ObjectStore()
        self.writer = Writer()
        self.writer.lead(True)
        self.feed = Served()
        self.statuses = Statuses(self.cluster, self.store, self.writer, self.feed)
        for obj in mo.shop().held.values():
            taken_in(self.store, obj)

    def look(self) -> None:
        """Read the routes as they are and tell the statuses."""
        listed(self.store, self.kube, "HTTPRoute", "PeerAuthentication", "Mesh")
        self.statuses.told(compile_mesh(ingest(self.store)))

    def parents(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            (self.kube.get("httproutes", "shop", name) or {}).get("status", {}).get("parents", [])
        )
        return found

    def patches(self) -> int:
        return len([1 for method, _ in self.kube.requests if method == "PATCH"])


@pytest.fixture
async def w() -> AsyncIterator[Writing]:
    """A cluster that has the shop, and what writes into it."""
    async with kube_server() as kube:
        made = Writing(kube)
        yield made
        await made.cluster.close()


async def test_route_is_told_and_told_only_once(w: Writing) -> None:
    """Accepted and resolved; a second look writes nothing."""
    w.kube.put(mo.route("good", {"backendRefs": [mo.to("api")]}))
    async with running(w.writer):
        w.look()
        await until(lambda: w.parents("good"))
        w.look()
        await until(lambda: not w.writer._jobs)

    (parent,) = w.parents("good")
    assert {c["type"]: c["status"] for c in parent["conditions"]} == {"Accepted": "True", "ResolvedRefs": "True"}
    assert w.patches() == 1


async def test_nothing_is_written_before_there_is_a_snapshot(w: Writing) -> None:
    """A replica that leads before it has read the mesh takes no condition away that another wrote."""
    w.kube.put(mo.route("good", {"backendRefs": [mo.to("api")]}))
    async with running(w.writer):
        w.look()
        await until(lambda: w.parents("good"))
    fresh = Writing(w.kube)
    listed(fresh.store, w.kube, "HTTPRoute")
    stored = copy.deepcopy(w.kube.get("httproutes", "shop", "good"))
    stored["status"]["parents"].append(FOREIGN)
    w.kube.put(stored)
    listed(fresh.store, w.kube, "HTTPRoute")
    fresh.statuses.look(Ref("HTTPRoute", "shop", "good"))
    assert not fresh.writer._jobs
    await fresh.cluster.close()

    assert len(w.parents("good")) == 2


async def test_entries_of_other_controllers_stay_even_when_written_meanwhile(w: Writing) -> None:
    """The status is read fresh, merged, and written against that version."""
    w.kube.put(mo.route("shared", {"backendRefs": [mo.to("nobody")]}))
    w.look()
    changed = w.kube.get("httproutes", "shop", "shared") or {}
    w.kube.put({**changed, "status": {"parents": [FOREIGN]}})
    async with running(w.writer):
        await until(lambda: len(w.parents("shared")) == 2)

    foreign, own = w.parents("shared")
    assert foreign == FOREIGN
    assert [c["reason"] for c in own["conditions"] if c["type"] == "ResolvedRefs"] == ["BackendNotFound"]


async def test_own_entry_that_somebody_took_away_is_written_again(w: Writing) -> None:
    """A trigger has the status compared, whatever changed."""
    w.kube.put(mo.route("lost", {"backendRefs": [mo.to("api")]}))
    async with running(w.writer):
        w.look()
        await until(lambda: w.parents("lost"))
        w.look()
        w.kube.put({**(w.kube.get("httproutes", "shop", "lost") or {}), "status": {"parents": []}})
        listed(w.store, w.kube, "HTTPRoute")
        w.statuses.look(Ref("HTTPRoute", "shop", "lost"))
        await until(lambda: w.parents("lost"))


async def test_policy_that_cannot_be_read_says_so_in_its_status(w: Writing) -> None:
    """The sentence of the problem is the condition's message."""
    w.kube.put(mo.peer_authentication("bad", "SOMETIMES"))
    w.kube.put({"kind": "Mesh", "metadata": {"name": "default"}, "spec": {}})
    async with running(w.writer):
        w.look()
        await until(lambda: (w.kube.get("peerauthentications", "shop", "bad") or {}).get("status"))
        await until(lambda: (w.kube.get("meshes", "", "default") or {}).get("status"))

    assert (w.kube.get("meshes", "", "default") or {})["status"]["proxies"] == 2
    (condition,) = (w.kube.get("peerauthentications", "shop", "bad") or {})["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Accepted", "False")
    assert "SOMETIMES" in condition["message"]


async def test_entry_of_a_parent_that_is_no_longer_named_goes(w: Writing) -> None:
    """A route that turned to a Gateway is nobody's in the mesh, and its status must not say otherwise."""
    w.kube.put(mo.route("turned", {"backendRefs": [mo.to("api")]}))
    async with running(w.writer):
        w.look()
        await until(lambda: w.parents("turned"))
        turned = w.kube.get("httproutes", "shop", "turned") or {}
        gateway = {"group": GATEWAY, "kind": "Gateway", "name": "g"}
        status = {"parents": [*turned["status"]["parents"], FOREIGN]}
        w.kube.put({**turned, "spec": {**turned["spec"], "parentRefs": [gateway]}, "status": status})
        w.look()
        await until(lambda: w.parents("turned") == [FOREIGN])


async def test_observed_generation_is_the_one_that_was_judged(w: Writing) -> None:
    """A status written while a newer form waits to be read must not say that it was looked at."""
    w.kube.put(mo.peer_authentication("p", "STRICT"))
    w.kube.put(mo.peer_authentication("bad", "SOMETIMES"))
    w.kube.put({"kind": "Mesh", "metadata": {"name": "default"}, "spec": {}})
    w.look()
    judged = compile_mesh(ingest(w.store))
    for kind, name in (("PeerAuthentication", "p"), ("PeerAuthentication", "bad"), ("Mesh", "default")):
        plural = {"Mesh": "meshes"}.get(kind, "peerauthentications")
        namespace = "" if kind == "Mesh" else "shop"
        newer = copy.deepcopy(w.kube.get(plural, namespace, name) or {})
        newer["metadata"]["generation"] = 7
        w.store.apply(kind, newer)
    w.statuses.told(judged)
    async with running(w.writer):
        await until(lambda: not w.writer._jobs)
    written = [
        w.kube.get("peerauthentications", "shop", "p"),
        w.kube.get("peerauthentications", "shop", "bad"),
        w.kube.get("meshes", "", "default"),
    ]

    assert [{c["observedGeneration"] for c in (one or {})["status"]["conditions"]} for one in written] == [
        {1},
        {1},
        {1},
    ]


async def test_mesh_says_which_kinds_cannot_be_read_and_when_they_can_again(w: Writing) -> None:
    """A conversion webhook that fails is somebody else's, and its effect on the mesh must be found."""
    w.kube.put({"kind": "Mesh", "metadata": {"name": "default"}, "spec": {}})

    def read() -> dict[str, str]:
        listed(w.store, w.kube, "Mesh")
        told = ((w.kube.get("meshes", "", "default") or {}).get("status") or {}).get("conditions") or ()
        return {c["status"]: c["message"] for c in told if c["type"] == "KindsRead"}

    async with running(w.writer):
        w.look()
        await until(lambda: "True" in read())
        w.feed.unread = {"HTTPRoute": "conversion webhook failed", "TLSRoute": "forbidden"}
        w.statuses.look(Ref("Mesh", "", "default"))
        said = await until(lambda: read().get("False"))
        w.feed.unread = {}
        w.statuses.counted()
        await until(lambda: "True" in read())

    assert said == (
        "HTTPRoute cannot be read: conversion webhook failed; TLSRoute cannot be read: forbidden. What was read before stays in force."
    )


class Counting(tuple[Problem, ...]):
    """Problems that know how often one of them was looked at."""

    __slots__ = ()
    looked = 0

    def __iter__(self) -> Iterator[Problem]:
        for problem in super().__iter__():
            Counting.looked += 1
            yield problem

    def __reversed__(self) -> Iterator[Problem]:
        return iter(Counting(self[::-1]))


async def test_problems_are_looked_through_once_a_snapshot_however_many_objects_have_one() -> None:
    """Four thousand routes nobody can read held the loop for a second, and each pod that came or went held it again."""
    store = ObjectStore()
    statuses = Statuses(Cluster.__new__(Cluster), store, Writer(), Served())
    for number in range(100):
        route = mo.route(f"r{number}", {"backendRefs": [mo.to("api")]})
        store.apply("HTTPRoute", {**route, "spec": {"parentRefs": "wrong"}})
    snapshot = compile_mesh(ingest(store))
    problems = Counting(snapshot.user_problems)
    assert len(problems) == 100
    statuses.told(dataclasses.replace(snapshot, user_problems=problems))
    for _ in range(100):
        statuses.counted()

    assert Counting.looked <= 2 * len(problems)
