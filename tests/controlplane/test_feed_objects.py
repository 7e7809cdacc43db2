"""The raw objects and what counts as a change."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore, Ref
from controlplane.ingest.core import read_pod
from controlplane.xds.debounce import Debounce
from meshapi import names
from tests.support import meshobjects as mo
from tests.support.feeding import taken_in


def obj(name: str = "a", namespace: str = "n", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, **more}


def test_only_what_differs_is_news() -> None:
    """The same again changes nothing, and readers keep seeing the same object."""
    store, heard = ObjectStore(), []
    store.listen(heard.append)
    first = obj(spec={"x": 1})

    assert store.apply("Pod", first)
    assert not store.apply("Pod", obj(spec={"x": 1}))
    assert store.get("Pod", "n", "a") is first
    assert store.apply("Pod", obj(spec={"x": 2}))
    assert heard == [Ref("Pod", "n", "a")] * 2


def test_status_of_a_route_is_news_for_its_writer_only() -> None:
    """What Tulle writes itself must not make it compile again."""
    store, heard = ObjectStore(), []
    store.listen(heard.append)
    store.apply("HTTPRoute", obj(spec={}, status={}))
    store.apply("HTTPRoute", obj(spec={}, status={"parents": [1]}))
    store.apply("Pod", obj(status={"podIP": ""}))
    store.apply("Pod", obj(status={"podIP": "1.2.3.4"}))
    store.apply("Service", obj(status={}))
    store.apply("Service", obj(status={"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}))

    assert [ref.kind for ref in heard] == ["HTTPRoute", "Pod", "Pod", "Service", "Service"]
    assert (store.get("HTTPRoute", "n", "a") or {})["status"] == {"parents": [1]}


def test_removed_object_is_gone_and_told_once() -> None:
    """A second removal is no news."""
    store, heard = ObjectStore(), []
    store.apply("Pod", obj())
    store.listen(heard.append)

    assert store.remove("Pod", "n", "a")
    assert not store.remove("Pod", "n", "a")
    assert heard == [Ref("Pod", "n", "a")]


def test_whole_list_takes_away_what_is_not_on_it() -> None:
    """A relist finds what vanished while nobody watched."""
    store, heard = ObjectStore(), []
    for name in ("a", "b"):
        store.apply("Pod", obj(name))
    store.apply("Node", obj("b", ""))
    store.listen(heard.append)
    store.retain("Pod", {("n", "b"), ("n", "c")})

    assert [one["metadata"]["name"] for one in store.of("Pod")] == ["b"]
    assert heard == [Ref("Pod", "n", "a")]
    assert store.count()["Node"] == 1


def test_listener_that_raises_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    """The object is taken in, so a list would not tell of it again. Where the defect is, is said once; what it kept from being heard, each time."""
    store, heard = ObjectStore(), []

    def defect(ref: Ref) -> None:
        raise KeyError(ref.name)

    store.listen(defect)
    store.listen(heard.append)

    assert store.apply("Pod", obj("a"))
    assert store.apply("Pod", obj("b"))
    store.retain("Pod", {("n", "b")})
    assert [ref.name for ref in heard] == ["a", "b", "a"]
    assert [record.getMessage() for record in caplog.records] == [
        f"a defect keeps somebody from hearing of Pod n/{name}: KeyError('{name}')" for name in ("a", "b", "a")
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False]


def test_object_without_a_name_is_ignored() -> None:
    """Nothing to know it by."""
    assert not ObjectStore().apply("Pod", {"metadata": {}})


def test_debounce_waits_for_quiet_but_not_for_ever() -> None:
    """A steady stream of changes is acted on at the bound."""
    debounce = Debounce(quiet=0.05, least=0.01, longest=0.5)
    assert debounce.due is None
    debounce.note(10.0)
    assert debounce.due == 10.05
    for step in range(1, 60):
        debounce.note(10.0 + step * 0.02)
    assert debounce.due == 10.5
    debounce.taken()
    assert debounce.due is None


def test_urgent_change_is_acted_on_at_once() -> None:
    """An endpoint that came or went pulls the others along."""
    debounce = Debounce(quiet=0.05, least=0.01, longest=0.5)
    debounce.note(1.0)
    debounce.note(1.002, urgent=True)

    assert debounce.due == 1.002


def test_urgent_change_is_not_put_off_by_others() -> None:
    """Changes that are in no hurry come all the time; the endpoint that went has not half a second."""
    debounce = Debounce(quiet=0.05, least=0.01, longest=0.5)
    debounce.note(1.0, urgent=True)
    debounce.note(1.005)
    assert debounce.due == 1.0
    debounce.taken()
    debounce.note(2.0)
    debounce.note(2.04)

    assert debounce.due == 2.09


def test_what_is_stored_is_nothing_to_the_garbage_collector() -> None:
    """Ten thousand pods would be looked through again and again; and replicas hold what they say alike once."""
    store = ObjectStore()
    ends = [mo.endpoint(f"web-{n}", f"10.0.0.{n}", hints={"forZones": [{"name": "a"}]}) for n in range(3)]
    owned = {
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-x", "controller": True}],
        "labels": {"version": "1"},
    }
    pods = [mo.pod(f"web-{n}", f"10.0.0.{n}", **copy.deepcopy(owned)) for n in range(3)]
    web = mo.service("web", "10.96.0.1", mo.HTTP, spec={"externalIPs": ["198.51.100.7"]})
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {names.INJECT: "enabled"}},
    }
    for one in (*pods, mo.endpoint_slice("web", *ends), web, deployment):
        taken_in(store, one)
    gc.unfreeze()  # parts that are known already may be among what was left out before
    gc.collect()  # it finds out then that a tuple of what it does not track needs no look either
    kinds = ("Pod", "EndpointSlice", "Service", "Deployment")
    tracked = [part for kind in kinds for obj in store.of(kind) for part in parts(obj) if gc.is_tracked(part)]
    first, second, _ = store.of("Pod")

    assert tracked == []
    assert first["spec"]["containers"] is second["spec"]["containers"]
    assert first["metadata"]["ownerReferences"] is second["metadata"]["ownerReferences"]
    assert first["metadata"]["labels"] is second["metadata"]["labels"]


def test_what_is_stored_cannot_be_changed() -> None:
    """Readers hold on to it."""
    store = ObjectStore()
    ref = taken_in(store, mo.pod("web-1", "10.0.0.1"))
    stored: Any = store.get(*ref)

    with pytest.raises(TypeError):
        stored["spec"] = {}
    with pytest.raises(AttributeError):
        stored.spec.node_name = "other"


def test_large_object_that_is_gone_leaves_nothing_behind() -> None:
    """What is known again outlives who said it; somebody who makes and removes pods without end must not fill the memory by that."""

    def come_and_go(number: int) -> None:
        ports = [{"containerPort": port, "name": f"p{number}-{port}"} for port in range(1, 500)]
        owners = [{"kind": "Job", "name": f"{number}-{'x' * 20_000}"}]
        annotations = {names.SKIPPED: f"{number}{'y' * 20_000}", names.OPAQUE_PORTS: f"{number},1-65535"}
        pod = mo.pod("web-1", "10.0.0.1", ownerReferences=owners, annotations=annotations)
        pod["spec"]["containers"] = [{"name": "app", "ports": ports}]
        end = mo.endpoint(
            "web-1", "10.0.0.1", hints={"forZones": [{"name": f"{number}-{zone}"} for zone in range(500)]}
        )
        refs = [taken_in(store, one) for one in (pod, mo.endpoint_slice("web", end))]
        stored: Any = store.get(*refs[0])
        read_pod(stored)
        for ref in refs:
            store.remove(*ref)

    store = ObjectStore()
    come_and_go(0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1, 20):
            come_and_go(number)
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert left < 100_000


def parts(obj: Any) -> Iterator[Any]:
    """An object and all that is in it."""
    yield obj
    within = obj.values() if isinstance(obj, Mapping) else obj if isinstance(obj, tuple | list) else ()
    for one in within:
        yield from parts(one)
