"""A replica that doubts itself: with nothing wrong it finds nothing; what is planted it names and mends."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controlplane.compiler import passes
from controlplane.compiler.indexes import Indexes
from controlplane.compiler.passes import compile_mesh
from controlplane.feed.objects import ObjectStore
from controlplane.ingest.assemble import ingest
from controlplane.ingest.assemble import ingesting as ingest_steps
from controlplane.model.meta import Key
from controlplane.xds import publisher as publishing
from controlplane.xds.callers import Peer
from controlplane.xds.publisher import Publisher
from controlplane.xds.selfcheck import SelfCheck
from controlplane.xds.source import Source
from meshapi.xds import Type
from tests.support import meshobjects as mo
from tests.support.feeding import taken_in
from tests.support.subscriber import Subscriber

PEER = Peer(namespace="shop", pod="web-1", identity="x", user_agent="tulle-proxy")
WEB, API = Key("shop", "web"), Key("shop", "api")


class Replica:
    """Store to streams, without gRPC."""

    def __init__(self) -> None:
        self.store, self.source = ObjectStore(), Source()
        self.publisher = Publisher(self.store, self.source, trust_domain="cluster.local", roots=lambda: "roots")
        self.check = SelfCheck(self.store, self.publisher, self.source)

    def apply(self, *objects: mo.Object) -> None:
        for one in objects:
            taken_in(self.store, one)
        self.publisher.publish()


async def replica() -> Replica:
    made = Replica()
    made.apply(
        *mo.shop().held.values(), mo.route("r", {"backendRefs": [mo.to("api")]}), mo.peer_authentication("p", "STRICT")
    )
    return made


async def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """Shared pods, a route that leads elsewhere and a policy included."""
    made = await replica()
    made.apply(
        mo.service("both", "10.96.0.7", {"name": "tcp-x", "port": 1}),
        mo.endpoint_slice("both", mo.endpoint("web-1", "10.0.0.1"), ports={"tcp-x": 8080}),
    )
    made.apply(mo.peer_authentication("q", "DISABLE", ("", "Service", "both")))
    client = Subscriber(PEER, delta=True, wildcard=True)
    client.connect(made.source)
    for service in made.source.snapshot.services:
        await made.check.decisions(service)
    made.check.resources(1000)

    assert made.check.found == []
    assert made.check.looked > len(made.source.snapshot.services) + len(made.source.snapshot.pods)


@contextmanager
def lost(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, what: Any) -> Iterator[None]:
    with monkeypatch.context() as planted:
        planted.setattr(where, name, what)
        yield


def untraveled(key: Key, *given: Any, made: Any = passes._attached) -> Any:
    return dataclasses.replace(made(key, *given), traffic={})


OTHER = mo.pod("api-1", "10.0.0.2", account="other")
LATER = mo.endpoint_slice("api", mo.endpoint("api-2", "10.0.0.3"))
ROUTED = mo.route("r", {"backendRefs": [mo.to("web")]}, parent="api")


@pytest.mark.parametrize(
    ("planted", "change", "told"),
    [
        ((Indexes, "after", lambda self, *_: self), OTHER, ""),
        (
            (passes._Passes, "services", lambda self, _: steps(self._before.services)),
            LATER,
            "Service shop/api was stale",
        ),
        ((passes._Passes, "pods", lambda self, *_: steps(self._before.pods)), OTHER, "pod shop/api-1 was stale"),
        ((passes, "_attached", untraveled), ROUTED, "routes of shop/api:80 was stale"),
    ],
    ids=["nothing", "services", "pods", "routes"],
)
async def test_planted_stale_key_is_found_named_and_mended(
    planted: tuple[Any, str, Any],
    change: mo.Object,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A pass that leaves out what it should have made; afterwards everything is as a build from nothing gives it."""
    made = await replica()
    with lost(monkeypatch, *planted):
        made.apply(change)
    with caplog.at_level(logging.ERROR):
        await made.check.decisions(API)
    made.publisher.publish()

    assert told in caplog.text
    assert bool(made.check.stale) == bool(told)
    assert made.source.snapshot == compile_mesh(ingest(made.store), roots=b"roots")
    found = list(made.check.found)
    await made.check.decisions(API)
    assert made.check.found == found


def steps(value: Any) -> Iterator[Any]:
    """Steps that return a value."""
    return value
    yield


async def test_object_that_was_not_read_anew_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """A change that was lost between the store and the passes."""
    made = await replica()
    taken_in(made.store, mo.service("api", "10.96.0.99", mo.HTTP))
    await made.check.decisions(API)
    assert made.check.stale == 0, "it waits for the next pass"
    made.publisher._changed.clear()
    await made.check.decisions(API)

    assert "Service shop/api, not read as it is now" in caplog.text
    made.publisher.publish()
    assert made.source.snapshot.services[API].service.ips == ("10.96.0.99",)


async def test_stale_resource_is_found_and_sent_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An input whose change was not told."""
    made = await replica()
    client = Subscriber(PEER, delta=True, wildcard=False)
    client.wanted[Type.ENDPOINTS].add("shop/api:80")
    client.connect(made.source)
    before = dict(client.held)
    with lost(monkeypatch, publishing, "changed", lambda *_: ()):
        made.apply(mo.endpoint_slice("api", mo.endpoint("api-2", "10.0.0.3")))
    client.catch_up()
    assert client.held == before
    made.check.resources(1000)
    client.catch_up()

    assert client.held != before
    assert made.check.found == ["endpoints shop/api:80 of all"]


async def test_pass_that_is_cut_shows_nothing_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice at a time, with others in between, and nobody sees half a mesh."""
    made = Replica()
    seen = []
    monkeypatch.setattr("controlplane.xds.pace.SLICE_SECONDS", 0.0)
    for number in range(200):
        taken_in(made.store, mo.service(f"s{number}", f"10.96.0.{number}", mo.HTTP))
    running = asyncio.ensure_future(made.publisher.run())
    while not made.publisher.published.is_set():
        seen.append(len(made.source.snapshot.services))
        await asyncio.sleep(0)
    running.cancel()

    assert len(seen) > 5
    assert set(seen) == {0}
    assert made.source.snapshot == compile_mesh(ingest(made.store), roots=b"roots")


async def test_doubt_that_comes_in_the_middle_of_a_pass_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it makes goes on from what cannot be trusted; the one after it begins from nothing."""
    made = await replica()
    begun_from: list[object] = []

    def ingesting(store: Any, previous: Any, **more: Any) -> Any:
        begun_from.append(previous)
        return ingest_steps(store, previous, **more)

    monkeypatch.setattr("controlplane.xds.pace.SLICE_SECONDS", 0.0)
    monkeypatch.setattr(publishing, "ingesting", ingesting)
    clock = asyncio.get_running_loop().time
    taken_in(made.store, mo.service("new", "10.96.0.9", mo.HTTP))
    under_way = asyncio.ensure_future(made.publisher._attempt(clock))
    await asyncio.sleep(0)
    made.publisher.anew()
    await under_way
    await made.publisher._attempt(clock)

    assert [one is None for one in begun_from] == [False, True]


@pytest.mark.parametrize("odd", [{"rules": [{"filters": [{"requestMirror": "x"}]}]}, {"rules": [{"backendRefs": 1}]}])
async def test_shape_nobody_can_read_ends_no_doubts(odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects stored before their kind had a schema are of any shape. A doubt that cannot be settled ends itself, and not the process."""
    made = await replica()
    parents = {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}]}
    made.apply({"kind": "HTTPRoute", "metadata": {"name": "odd", "namespace": "shop"}, "spec": odd | parents})
    monkeypatch.setattr("controlplane.xds.selfcheck.EVERY_SECONDS", 0.0)
    made.publisher.published.set()
    doubting = asyncio.ensure_future(made.check.run())
    looked, count = asyncio.Event(), 0
    resources = made.check.resources

    def counted(most: int) -> None:
        nonlocal count
        resources(most)
        count += 1
        if count == 20:
            looked.set()

    monkeypatch.setattr(made.check, "resources", counted)
    await asyncio.wait(
        [doubting, asyncio.ensure_future(looked.wait())], return_when=asyncio.FIRST_COMPLETED, timeout=10
    )
    doubting.cancel()

    assert looked.is_set()
