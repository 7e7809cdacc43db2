"""Resources encoded once and shared, and the lists that warm new pods."""

from __future__ import annotations

import dataclasses

from controlplane.compiler.changes import affected
from controlplane.compiler.passes import compile_mesh
from controlplane.ingest.assemble import ingest
from controlplane.xds.callers import Peer
from controlplane.xds.source import Source
from controlplane.xds.wire import MAX_DELTA_BYTES, Encoded, delta_response, encode, portions
from meshapi import protos
from meshapi.xds import Type
from tests.support import meshobjects as mo


def peer(pod: str, namespace: str = "shop", agent: str = "tulle-proxy") -> Peer:
    return Peer(namespace=namespace, pod=pod, identity="x", workload="Deployment/web", user_agent=agent)


def filled() -> tuple[Source, mo.Objects]:
    source, objects = Source(), mo.shop()
    source.replace(compile_mesh(ingest(objects)), [])
    return source, objects


def test_resource_is_encoded_once_for_all_who_get_the_same_form() -> None:
    """A thousand sidecars share the bytes."""
    source, _ = filled()
    one = source.catalogue(peer("web-1")).fetch(Type.CLUSTER, "shop/web:80")
    two = source.catalogue(peer("api-1", "other")).fetch(Type.CLUSTER, "shop/web:80")

    assert one is two
    assert source.encoded == 1


def test_changed_resource_is_encoded_anew_and_others_are_kept() -> None:
    """Only what the snapshots differ in."""
    source, objects = filled()
    view = source.catalogue(peer("web-1"))
    before = [view.fetch(Type.ENDPOINTS, name) for name in ("shop/web:80", "shop/api:80")]
    objects.apply(mo.endpoint_slice("api", mo.endpoint("api-1", "10.0.0.2")))
    snapshot = compile_mesh(ingest(objects))
    source.replace(snapshot, affected(source.snapshot, snapshot, []))
    after = [view.fetch(Type.ENDPOINTS, name) for name in ("shop/web:80", "shop/api:80")]

    assert after[0] is before[0]
    assert after[1] != before[1]


def test_name_that_does_not_exist_is_not_remembered() -> None:
    """Made-up names cost nothing."""
    source, _ = filled()
    view = source.catalogue(peer("web-1"))
    for number in range(100):
        assert view.fetch(Type.LISTENER, f"outbound/9.9.9.9:{number + 1}") is None

    assert source.sizes() == {"shared": 0, "volatile": 0}


def test_grpc_client_gets_its_own_form_and_every_push_compares() -> None:
    """It is told by names that no change list knows."""
    source, _ = filled()
    view = source.catalogue(peer("web-1", agent="gRPC Python 1.85"))

    assert view.exhaustive
    assert view.fetch(Type.LISTENER, "web.shop:80") is not None
    assert source.catalogue(peer("web-1")).fetch(Type.LISTENER, "web.shop:80") is None


def test_another_pods_inbound_listener_does_not_exist() -> None:
    """Nobody reads what another pod accepts."""
    source, _ = filled()

    assert source.catalogue(peer("web-1")).fetch(Type.LISTENER, "inbound/shop/api-1") is None


def test_inbound_listener_is_kept_in_one_form_whatever_was_hinted() -> None:
    """A pod that comes back a thousand times, each time with another hint, costs what it cost once."""
    source, _ = filled()
    one = peer("web-1")
    source.joined(one)
    for name in ("outbound/10.96.0.1:80", "outbound/10.96.0.2:80"):
        source.subscribed(one, [name], ())
        source.catalogue(one).fetch(Type.LISTENER, "inbound/shop/web-1")
    forms = source._shared[Type.LISTENER, "inbound/shop/web-1"]

    assert len(forms) == 1


def test_pod_of_no_workload_is_hinted_at_nothing() -> None:
    """There is no next one of it."""
    source, _ = filled()
    bare = dataclasses.replace(peer("web-1"), workload="")
    source.joined(bare)
    source.subscribed(bare, ["outbound/10.96.0.2:80"], ())

    assert source.catalogue(bare).client.warm == ()
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
    big = [Encoded(name=str(n), version="1", in_delta=b"x" * (MAX_DELTA_BYTES // 2), in_world=b"") for n in range(5)]

    assert [len(batch) for batch in portions(big)] == [2, 2, 1]
    assert portions([]) == [[]]
