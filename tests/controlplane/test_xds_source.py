"""Resources encoded once and shared, and the lists that warm new pods."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.reads import changed
from controlplane.ingest.assemble import ingest
from controlplane.resources import endpoints, outbound
from controlplane.xds.callers import Peer
from controlplane.xds.messages import MAX_DELTA_BYTES, Encoded, delta_response, encode, portions
from controlplane.xds.source import Source, View
from controlplane.xds.stream import Conversation
from meshapi import protos
from meshapi.xds import Type
from tests.support import meshobjects as mo


def peer(pod: str, namespace: str = "shop", agent: str = "tulle-proxy") -> Peer:
    return Peer(namespace=namespace, pod=pod, identity="x", workload="Deployment/web", user_agent=agent)


class Told:
    """What a stream was told of."""

    def __init__(self, source: Source, who: Peer) -> None:
        self.keys: set[tuple[Type, str]] = set()
        self.view = source.catalogue(who, lambda keys, _: self.keys.update(keys))


def view_of(source: Source, who: Peer) -> View:
    return Told(source, who).view


def publish(source: Source, objects: mo.Objects) -> None:
    before = source.snapshot
    snapshot = compile_mesh(ingest(objects, before.model), before)
    source.replace(snapshot, changed(before, snapshot))


def filled() -> tuple[Source, mo.Objects]:
    source, objects = Source(), mo.shop()
    publish(source, objects)
    return source, objects


def test_resource_is_encoded_once_for_all_who_get_the_same_form() -> None:
    """A thousand sidecars share the bytes."""
    source, _ = filled()
    one = view_of(source, peer("web-1")).fetch(Type.CLUSTER, "shop/web:80")
    two = view_of(source, peer("api-1", "other")).fetch(Type.CLUSTER, "shop/web:80")

    assert one is two
    assert source.encoded == 1


def test_listener_is_one_for_all_namespaces_but_where_one_has_routes_of_its_own() -> None:
    """Those that use it hear when that begins and when it ends; nobody else is sent another one, and nothing is left of what was."""
    source, objects = filled()
    address = (Type.LISTENER, "outbound/10.96.0.1:80")
    shop, other = Told(source, peer("web-1")), Told(source, peer("x-1", "other"))
    first = shop.view.fetch(*address)
    assert (other.view.fetch(*address) is first, source.encoded) == (True, 1)

    mine = mo.route("mine", {"backendRefs": [mo.to("api", namespace="shop")]}, namespace="other")
    objects.apply(mine)
    publish(source, objects)
    theirs = other.view.fetch(*address)
    assert (shop.keys, other.keys) == ({address}, {address})
    ours = shop.view.fetch(*address)
    assert first is not None
    assert ours is not None
    assert theirs is not None
    assert (ours.in_delta, theirs.version != ours.version) == (first.in_delta, True)

    objects.remove("HTTPRoute", "other", "mine")
    other.keys.clear()
    publish(source, objects)
    assert other.keys == {address}
    assert other.view.fetch(*address) is shop.view.fetch(*address)
    assert source.sizes()["resources"] == 1


def test_listener_that_cannot_be_built_for_one_namespace_stays_what_it_was_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is another one for a namespace from now on, and there is a fault in that: what worked is not told to be gone."""
    source, objects = filled()
    address = (Type.LISTENER, "outbound/10.96.0.1:80")
    shop, other = Told(source, peer("web-1")), Told(source, peer("x-1", "other"))
    first = shop.view.fetch(*address)
    assert other.view.fetch(*address) is first
    made = outbound.to_service

    def faulty(at: Any, mesh: Any) -> Any:
        if at.routes_name.endswith("@other"):
            raise RuntimeError("a defect in one namespace's form")
        return made(at, mesh)

    monkeypatch.setattr(outbound, "to_service", faulty)
    objects.apply(mo.route("mine", {"backendRefs": [mo.to("api", namespace="shop")]}, namespace="other"))
    publish(source, objects)

    assert other.view.fetch(*address) is first
    late = Told(source, peer("x-2", "other"))
    assert late.view.fetch(*address) is first
    monkeypatch.setattr(outbound, "to_service", made)
    objects.apply(mo.route("mine", {"backendRefs": [mo.to("api", namespace="shop", weight=3)]}, namespace="other"))
    publish(source, objects)
    theirs = other.view.fetch(*address)
    assert theirs is not None
    assert theirs is not first


def test_changed_resource_is_encoded_anew_and_others_are_kept() -> None:
    """Only what the snapshots differ in."""
    source, objects = filled()
    view = view_of(source, peer("web-1"))
    before = [view.fetch(Type.ENDPOINTS, name) for name in ("shop/web:80", "shop/api:80")]
    objects.apply(mo.endpoint_slice("api", mo.endpoint("api-1", "10.0.0.2")))
    publish(source, objects)
    after = [view.fetch(Type.ENDPOINTS, name) for name in ("shop/web:80", "shop/api:80")]

    assert after[0] is before[0]
    assert after[1] != before[1]


def test_nothing_is_kept_that_no_stream_holds() -> None:
    """What a stream asked for leaves memory with it, what never existed included."""
    source, _ = filled()
    one, two = view_of(source, peer("web-1")), view_of(source, peer("api-1"))
    for number in range(100):
        assert one.fetch(Type.LISTENER, f"outbound/9.9.9.9:{number + 1}") is None
    shared = one.fetch(Type.CLUSTER, "shop/web:80")
    one.fetch(Type.CLUSTER, "inbound:8080")

    assert two.fetch(Type.CLUSTER, "shop/web:80") is shared
    one.keep(Type.LISTENER, {"outbound/9.9.9.9:1"})
    assert source.sizes()["resources"] == 3
    one.close()
    assert source.sizes()["resources"] == 1
    two.close()
    assert source.sizes() == {"resources": 0, "inputs": 0}


def test_what_read_an_absence_is_told_when_there_is_something() -> None:
    """That nothing was there is an input as well."""
    source, objects = filled()
    told = Told(source, peer("web-1"))
    told.view.fetch(Type.LISTENER, "outbound/10.96.0.9:80")
    told.view.fetch(Type.CLUSTER, "shop/web:80")
    objects.apply(mo.service("late", "10.96.0.9", mo.HTTP))
    publish(source, objects)

    assert told.keys == {(Type.LISTENER, "outbound/10.96.0.9:80")}
    assert told.view.fetch(Type.LISTENER, "outbound/10.96.0.9:80") is not None


def test_fault_in_one_resource_keeps_its_last_form_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log once, and built when it can be, though nothing else changes."""
    source, objects = filled()
    told = Told(source, peer("web-1"))
    before = [told.view.fetch(Type.ENDPOINTS, name) for name in ("shop/web:80", "shop/api:80")]
    write = endpoints.assignment

    def faulty(name: str, found: Any) -> Any:
        if name == "shop/api:80":
            raise ZeroDivisionError("planted")
        return write(name, found)

    objects.apply(mo.endpoint_slice("api"), mo.endpoint_slice("web"))
    with monkeypatch.context() as planted:
        planted.setattr(endpoints, "assignment", faulty)
        publish(source, objects)
        after = [told.view.fetch(Type.ENDPOINTS, name) for name in ("shop/web:80", "shop/api:80")]
        told.keys.clear()
        publish(source, objects)
        told.view.fetch(Type.ENDPOINTS, "shop/api:80")

    assert after[0] != before[0]
    assert after[1] is before[1]
    assert [str(cell) for cell in source.broken] == ["endpoints shop/api:80"]
    assert [r.getMessage() for r in caplog.records] == ["endpoints shop/api:80 cannot be built; its last form stays"]
    assert told.keys == {(Type.ENDPOINTS, "shop/api:80")}
    assert told.view.fetch(Type.ENDPOINTS, "shop/api:80") != before[1]
    assert source.broken == {}


def test_grpc_client_gets_its_own_form_and_is_told_by_its_own_names() -> None:
    """It names listeners by Service and has its routes inside them."""
    source, objects = filled()
    told = Told(source, peer("web-1", agent="gRPC Python 1.85"))
    for name in ("web.shop:80", "api.shop:80"):
        assert told.view.fetch(Type.LISTENER, name) is not None
    assert view_of(source, peer("web-1")).fetch(Type.LISTENER, "web.shop:80") is None
    objects.apply(mo.route("r", {"backendRefs": [mo.to("api")]}))
    publish(source, objects)

    assert told.keys == {(Type.LISTENER, "web.shop:80")}


def test_another_pods_inbound_listener_does_not_exist() -> None:
    """Nobody reads what another pod accepts."""
    source, _ = filled()

    assert view_of(source, peer("web-1")).fetch(Type.LISTENER, "inbound/shop/api-1") is None


def test_pod_that_comes_back_costs_what_it_cost_once() -> None:
    """A thousand streams, each before the one before it has ended and each with another hint, leave the last one's form."""
    source, _ = filled()
    one = peer("web-1")
    source.joined(one)
    last = None
    for name in ("outbound/10.96.0.1:80", "outbound/10.96.0.2:80", "outbound/10.0.0.2:8080"):
        source.subscribed(one, [name], ())
        view = view_of(source, one)
        view.fetch(Type.LISTENER, "inbound/shop/web-1")
        if last is not None:
            last.close()
        last = view

    assert source.sizes()["resources"] == 1


def test_pod_of_no_workload_is_hinted_at_nothing() -> None:
    """There is no next one of it."""
    source, _ = filled()
    bare = dataclasses.replace(peer("web-1"), workload="")
    source.joined(bare)
    source.subscribed(bare, ["outbound/10.96.0.2:80"], ())

    assert view_of(source, bare).client.warm == ()
    source.left(bare, ["outbound/10.96.0.2:80"])


def test_response_put_together_from_parts_is_the_message_itself() -> None:
    """Protobuf concatenates; the client sees one message."""
    parts = [encode(Type.CLUSTER, name, "1", b"\x0a\x01" + name.encode()) for name in "ab"]
    raw = delta_response(Type.CLUSTER, "7", parts, ["gone"])
    message = protos.message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(raw)

    assert (message.nonce, message.type_url, list(message.removed_resources)) == ("7", Type.CLUSTER.url, ["gone"])
    assert [(one.name, one.version, one.resource.value) for one in message.resources] == [
        ("a", "1", b"\x0a\x01a"),
        ("b", "1", b"\x0a\x01b"),
    ]


def test_large_response_is_split_below_what_clients_take() -> None:
    """Clients of gRPC refuse messages over 4 MiB by default."""
    big = [Encoded(name=str(n), version="1", in_delta=b"x" * (MAX_DELTA_BYTES // 2)) for n in range(5)]

    assert [len(batch) for batch in portions(big)] == [2, 2, 1]
    assert portions([]) == [[]]


class Uncountable(frozenset[str]):
    """Names that may be asked about and not gone through."""

    def __iter__(self) -> Any:
        raise AssertionError("went through every name")

    __or__ = __and__ = __rand__ = __ror__ = __iter__


def test_change_of_one_resource_costs_a_wildcard_one_look() -> None:
    """An Envoy in a large cluster covers tens of thousands of names, and hears of one endpoint at a time."""

    class Large:
        def fetch(self, type_: Type, name: str) -> Encoded | None:
            return Encoded(name=name, version="1", in_delta=b"")

        def names(self, type_: Type) -> frozenset[str]:
            return names

        def keep(self, type_: Type, names: set[str]) -> None:
            raise AssertionError

        def close(self) -> None:
            raise AssertionError

    names: frozenset[str] = frozenset({"shop/a:80"})
    conversation = Conversation(Large(), delta=True, listener=SimpleNamespace())  # type: ignore[arg-type]
    request = protos.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")(type_url=Type.ENDPOINTS.url)
    conversation.received(request.SerializeToString())
    conversation.subscriptions[Type.ENDPOINTS].progress.clear()
    names = Uncountable({"shop/a:80", "shop/b:80"})

    assert len(conversation.push([(Type.ENDPOINTS, "shop/a:80"), (Type.ENDPOINTS, "shop/elsewhere:80")])) == 1


def test_envoys_share_what_their_wildcards_cover() -> None:
    """But for their own pods' part: a list of all clusters' endpoints a client would grow with both."""
    source = Source()
    source.replace(compile_mesh(ingest(mo.shop()), roots=b"r"), ())
    views = [
        source.catalogue(Peer(namespace="shop", pod=pod, identity="x", user_agent="envoy"), lambda *_: None)
        for pod in ("web-1", "api-1")
    ]
    for type_ in (Type.ENDPOINTS, Type.ROUTES, Type.SECRET):
        assert views[0].names(type_) is views[1].names(type_)
    assert views[0].names(Type.LISTENER) != views[1].names(Type.LISTENER)
