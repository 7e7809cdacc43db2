"""What a resource was made of is noted, and a change stirs what read it and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.compiler import passes, policies
from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.reads import Input, What, changed
from controlplane.compiler.snapshot import MeshSnapshot, PortKey
from controlplane.ingest import assemble
from controlplane.ingest.assemble import ingest
from controlplane.model.meta import Key
from controlplane.resources.build import Client, build, names
from meshapi.xds import Type
from tests.support.meshobjects import (
    HTTP,
    Object,
    Objects,
    endpoint,
    endpoint_slice,
    peer_authentication,
    pod,
    route,
    service,
    shop,
    to,
)

CLIENTS = [
    Client(namespace="shop", pod="web-1"),
    Client(namespace="shop", pod="api-1"),
    Client(namespace="other"),
    Client(namespace="other", grpc=True),
]
EXTRA = [
    (Type.LISTENER, "outbound/10.0.0.1:4444"),
    (Type.CLUSTER, "pod/shop/web-1:4444"),
    (Type.ENDPOINTS, "pod/shop/web-1:4444"),
    (Type.LISTENER, "web.shop:80"),
    (Type.LISTENER, "web.shop.svc.cluster.local:80"),
    (Type.ROUTES, "shop/web:80@other"),
]


def step(objects: Objects, previous: MeshSnapshot | None = None) -> MeshSnapshot:
    return compile_mesh(ingest(objects, previous.model if previous else None), previous, roots=b"roots")


def built(snapshot: MeshSnapshot, keys: set[tuple[Type, str]]) -> dict[tuple[Type, str, int], tuple[str, set[Input]]]:
    """The version of each resource for each client, empty where there is none, and what was read for it."""
    found = {}
    for type_, name in keys:
        for index, client in enumerate(CLIENTS):
            inputs: set[Input] = set()
            resource = build(snapshot, type_, name, client, inputs)
            found[type_, name, index] = (resource.version if resource else "", inputs)
    return found


def all_names(*snapshots: MeshSnapshot) -> set[tuple[Type, str]]:
    return {(t, n) for s in snapshots for c in CLIENTS for t in Type for n in names(s, t, c)} | set(EXTRA)


def changes() -> list[tuple[str, Callable[[Objects], None]]]:
    """Everything that may happen to a shop."""
    strict = {"kind": "Mesh", "metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}}
    return [
        ("new pod", lambda o: o.apply(pod("new-1", "10.0.0.9"))),
        ("pod gone", lambda o: o.remove("Pod", "shop", "web-1")),
        ("pod moves", lambda o: o.apply(pod("web-1", "10.0.0.44"))),
        ("pod account", lambda o: o.apply(pod("api-1", "10.0.0.2", account="other"))),
        ("pod joins", lambda o: o.apply(pod("api-2", "10.0.0.3"))),
        ("pod leaves", lambda o: o.apply(pod("api-1", "10.0.0.2", mesh=False))),
        ("endpoint", lambda o: o.apply(endpoint_slice("api", endpoint("api-2", "10.0.0.3")))),
        ("no endpoints", lambda o: o.remove("EndpointSlice", "shop", "api-abc")),
        ("new service", lambda o: o.apply(service("late", "10.96.0.77", HTTP))),
        ("service gone", lambda o: o.remove("Service", "shop", "api")),
        ("service protocol", lambda o: o.apply(service("api", "10.96.0.2", {"name": "http", "port": 80, "appProtocol": "grpc"}))),
        ("service address", lambda o: o.apply(service("api", "10.96.0.88", HTTP))),
        ("route", lambda o: o.apply(route("r", {"backendRefs": [to("web"), to("late")]}))),
        ("consumer route", lambda o: o.apply(route("c", {"backendRefs": [to("web", namespace="shop")]}, namespace="other"))),
        ("tcp route", lambda o: o.apply(route("t", {"backendRefs": [to("api")]}, kind="TCPRoute", parent="web"))),
        ("policy", lambda o: o.apply(peer_authentication("p", "STRICT", ("", "Service", "api")))),
        ("port policy", lambda o: o.apply(peer_authentication("q", "UNSET", ports=[{"port": 8080, "mode": "DISABLE"}]))),
        ("mesh", lambda o: o.apply(strict)),
        ("zone", lambda o: o.apply({"kind": "Node", "metadata": {"name": "node-1", "labels": {}}})),
    ]  # fmt: skip


@pytest.mark.parametrize("change", [pytest.param(c, id=name) for name, c in changes()])
def test_resource_that_read_nothing_that_changed_is_the_same(change: Callable[[Objects], None]) -> None:
    """Judged by building everything anew: whatever differs, comes to be or ceases to, had read an input that changed."""
    objects = shop()
    before = step(objects)
    change(objects)
    after = step(objects, before)
    keys = all_names(before, after)
    old, new = built(before, keys), built(after, keys)
    differing = set(changed(before, after))

    assert [key for key, (version, inputs) in old.items() if version != new[key][0] and not inputs & differing] == []


@pytest.mark.parametrize("change", [pytest.param(c, id=name) for name, c in changes()])
def test_list_of_names_that_read_nothing_that_changed_is_the_same(change: Callable[[Objects], None]) -> None:
    """What a wildcard covers is made of inputs like everything else."""
    objects = shop()
    before = step(objects)
    change(objects)
    after = step(objects, before)
    differing = set(changed(before, after))
    for client in CLIENTS:
        for type_ in Type:
            inputs: set[Input] = set()
            listed = set(names(before, type_, client, inputs))

            assert listed == set(names(after, type_, client)) or inputs & differing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(changes()) - 1), min_size=1, max_size=6, unique=True))
def test_incremental_is_the_same_as_from_scratch(order: list[int]) -> None:
    """Whatever happens in whatever order, compiling on from before equals compiling anew."""
    objects = shop()
    snapshot = step(objects)
    for index in order:
        try:
            changes()[index][1](objects)
        except KeyError:
            continue
        snapshot = step(objects, snapshot)

        assert snapshot == step(objects)
        assert snapshot.problems() == []
        assert snapshot.faults == {}


def test_nothing_changed_changes_no_input() -> None:
    """The same objects make the same snapshot, and nothing to push."""
    objects = shop()
    first = step(objects)
    second = step(objects, first)

    assert second == first
    assert list(changed(first, second)) == []


def test_endpoint_change_is_a_change_of_the_endpoints_alone() -> None:
    """No cluster, listener or route depends on who is ready."""
    objects = shop()
    before = step(objects)
    objects.apply(endpoint_slice("api", endpoint("api-1", "10.0.0.2")))

    assert list(changed(before, step(objects, before))) == [(What.ENDPOINTS, PortKey("shop", "api", 80))]


def test_new_roots_are_a_change_of_the_roots_alone() -> None:
    """Rotation touches no cluster."""
    objects = shop()
    before = step(objects)
    after = compile_mesh(ingest(objects, before.model), before, roots=b"new")

    assert list(changed(before, after)) == [(What.ROOTS, None)]


@pytest.mark.parametrize(
    ("module", "function", "what"),
    [
        (passes, "compile_service", "services shop/api"),
        (policies, "_decide", "policies shop/api-1"),
        (passes, "merge", "routes"),
        (passes, "attach", "routes"),
        (passes, "standing", "policy statuses shop"),
        (passes, "route_status", "route statuses HTTPRoute/shop/r"),
        (assemble, "_read_one", "EndpointSlice shop/api-abc"),
    ],
)
def test_fault_in_one_key_keeps_its_last_form_while_all_others_go_on(
    module: ModuleType, function: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and made again as soon as it can be, though nothing else changes."""
    objects = shop()
    objects.apply(route("r", {"backendRefs": [to("api")]}))
    before = step(objects)
    works = getattr(module, function)

    def faulty(*given: Any) -> Any:
        if function in {"_decide", "merge", "attach", "standing", "route_status"} or "api" in repr(given[:2]):
            raise ZeroDivisionError("planted")
        return works(*given)

    objects.apply(service("web", "10.96.0.99", HTTP), endpoint_slice("api", endpoint("api-2", "10.0.0.3")))
    objects.apply(peer_authentication("p", "STRICT"), route("r", {"backendRefs": [to("web")]}))
    with monkeypatch.context() as planted:
        planted.setattr(module, function, faulty)
        broken = step(objects, before)

    assert [name for name in broken.faults if name.startswith(what)]
    assert broken.services[Key("shop", "web")].service.ips == ("10.96.0.99",)
    assert Key("shop", "api") in broken.services
    assert broken.pods.keys() == before.pods.keys()
    mended = step(objects, broken)
    assert mended.faults == {}
    assert mended == step(objects)


def big(count: int) -> Objects:
    """Services with two pods each."""
    made: list[Object] = []
    for n in range(count):
        ips = [f"10.{i}.{n // 250}.{n % 250}" for i in (1, 2)]
        made += [
            service(f"s{n}", f"10.96.{n // 250}.{n % 250}", HTTP),
            *(pod(f"s{n}-{i}", ip) for i, ip in enumerate(ips)),
            endpoint_slice(f"s{n}", *(endpoint(f"s{n}-{i}", ip) for i, ip in enumerate(ips))),
            route(f"s{n}", {"backendRefs": [to(f"s{n}")]}, parent=f"s{n}"),
        ]
    return Objects(*made)


@contextmanager
def counted(calls: list[int]) -> Iterator[None]:
    """Add the number of calls made inside: work that is the same on every machine, however busy."""
    made = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        calls.append(made)


def test_one_change_in_a_thousand_services_costs_little() -> None:
    """Reading, compiling and diffing one new endpoint among 1,000 services and 2,000 pods is far from starting over."""
    objects = big(1000)
    calls: list[int] = []
    with counted(calls):
        first = step(objects)
    objects.apply(endpoint_slice("s7", endpoint("s7-0", "10.1.0.7"), endpoint("s7-1", "10.2.0.7", ready=False)))
    with counted(calls):
        second = step(objects, first)
        found = list(changed(first, second))

    assert found == [(What.ENDPOINTS, PortKey("shop", "s7", 80))]
    assert calls[1] < calls[0] / 6, calls


def test_endpoint_that_comes_and_goes_leaves_all_other_services_and_pods_alone() -> None:
    """Who says what changed has nothing else read or compiled, nor looked at: not one call more in a cluster of thirty times the size."""
    calls: list[int] = []
    for size in (10, 300):
        objects = big(size)
        before = step(objects)
        moved = endpoint_slice("s7", endpoint("s7-0", "10.1.0.7"), endpoint("s7-1", "10.2.0.7", ready=False))
        objects.apply(moved)
        changes = {"EndpointSlice": {Key("shop", "s7-abc"): objects.get("EndpointSlice", "shop", "s7-abc")}}
        with counted(calls):
            after = compile_mesh(ingest(objects, before.model, changes=changes), before, roots=b"roots")
            found = list(changed(before, after))

        assert found == [(What.ENDPOINTS, PortKey("shop", "s7", 80))]
        assert after == step(objects)
    assert calls[1] == calls[0], calls
