"""What of a Service is read beyond its ports and ready endpoints: where callers are, where else it is reached, what it asks for in vain."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from controlplane.compiler.nearness import seen_from
from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.reads import changed
from controlplane.compiler.snapshot import Endpoint, MeshSnapshot, PortEndpoints
from controlplane.ingest.assemble import ingest
from controlplane.model.meta import Key
from controlplane.resources.build import Client, build, names
from controlplane.xds.callers import Peer
from controlplane.xds.source import Source
from meshapi import protos
from meshapi.xds import Type
from tests.support.meshobjects import HTTP, Object, Objects, endpoint, endpoint_slice, pod, service, shop
from tests.support.subscriber import Subscriber

LOCAL = {"internalTrafficPolicy": "Local"}
API = Key("shop", "api")
NODES = [
    {"kind": "Node", "metadata": {"name": f"node-{n}", "labels": {"topology.kubernetes.io/zone": zone}}}
    for n, zone in ((1, "a"), (2, "b"), (3, "b"))
]


def compiled(*more: Object) -> MeshSnapshot:
    objects = shop()
    objects.apply(*NODES, *more)
    return compile_mesh(ingest(objects))


def told(snapshot: MeshSnapshot, node: str) -> list[str]:
    """Addresses a sidecar on a node is given for Service `api`."""
    found = build(snapshot, Type.ENDPOINTS, "shop/api:80", Client(namespace="shop", pod="web-1", node=node))
    assert found is not None
    message = protos.message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(found.body)
    ends = [one for of in message.endpoints for one in of.lb_endpoints]
    return sorted(one.endpoint.address.socket_address.address for one in ends)


def zones(*names_: str) -> Object:
    return {"forZones": [{"name": name} for name in names_]}


def end(address: str, node: str = "", zones_: tuple[str, ...] = (), nodes: tuple[str, ...] = ()) -> Endpoint:
    return Endpoint(address=address, port=80, node=node, for_zones=zones_, for_nodes=nodes)


@pytest.mark.parametrize(
    ("ends", "node", "zone", "expected"),
    [
        ([end("1", zones_=("a",)), end("2", zones_=("b",))], "n", "a", "1"),
        ([end("1", zones_=("a", "b")), end("2", zones_=("b",))], "n", "b", "12"),
        ([end("1", zones_=("a",)), end("2")], "n", "a", "12"),
        ([end("1", zones_=("a",)), end("2", zones_=("a",))], "n", "c", "12"),
        ([end("1", zones_=("a",)), end("2", zones_=("b",))], "n", "", "12"),
        ([end("1", zones_=("a",)), end("2", zones_=("b",))], "", "a", "12"),
        ([end("1", zones_=("a",), nodes=("n",)), end("2", zones_=("a",), nodes=("m",))], "n", "a", "1"),
        ([end("1", zones_=("a",), nodes=("m",)), end("2", zones_=("b",), nodes=("m",))], "n", "b", "2"),
        ([end("1", zones_=("a",), nodes=("n",)), end("2", zones_=("a",))], "n", "a", "12"),
        ([], "n", "a", ""),
    ],
)
def test_hints_hold_where_every_endpoint_has_them_and_one_is_meant_for_the_caller(
    ends: list[Endpoint], node: str, zone: str, expected: str
) -> None:
    """As kube-proxy chooses; by node before by zone."""
    assert "".join(one.address for one in seen_from(PortEndpoints(endpoints=tuple(ends)), node, zone)) == expected


def test_local_service_is_reached_on_the_callers_node_alone() -> None:
    """Another node's callers have other endpoints, and one without any has none."""
    ends = [endpoint("api-1", "10.0.0.2"), endpoint("api-2", "10.0.0.3", node="node-2")]
    snapshot = compiled(service("api", "10.96.0.2", HTTP, spec=LOCAL), endpoint_slice("api", *ends))

    assert [told(snapshot, f"node-{n}") for n in (1, 2, 3)] == [["10.0.0.2"], ["10.0.0.3"], []]


def test_endpoint_of_a_local_service_that_ends_serves_its_node_while_no_other_there_does() -> None:
    """That others are ready elsewhere is of no use there."""
    dying = {"ready": False, "serving": True, "terminating": True}
    ends = [endpoint("api-1", "10.0.0.2", **dying), endpoint("api-2", "10.0.0.3", node="node-2")]
    snapshot = compiled(service("api", "10.96.0.2", HTTP, spec=LOCAL), endpoint_slice("api", *ends))

    assert told(snapshot, "node-1") == ["10.0.0.2"]
    assert told(snapshot, "node-2") == ["10.0.0.3"]


def test_hints_are_read_from_slices() -> None:
    """By the zone of the caller's node."""
    ends = [endpoint("api-1", "10.0.0.2", hints=zones("a")), endpoint("api-2", "10.0.0.3", hints=zones("b"))]
    snapshot = compiled(endpoint_slice("api", *ends))

    assert [told(snapshot, f"node-{n}") for n in (1, 2, 3)] == [["10.0.0.2"], ["10.0.0.3"], ["10.0.0.3"]]


def test_endpoint_published_though_not_ready_serves_while_it_ends() -> None:
    """With publishNotReadyAddresses Kubernetes says ready of it until it is gone, and kube-proxy goes by that."""
    dying = endpoint("api-1", "10.0.0.2", ready=True, serving=True, terminating=True)
    found = compiled(endpoint_slice("api", dying, endpoint("api-2", "10.0.0.3"))).services[API].ports[80]

    assert [one.address for one in found.endpoints] == ["10.0.0.2", "10.0.0.3"]


def balanced(*ingress: Object, **spec: Any) -> Object:
    made = service("api", "10.96.0.2", HTTP, spec=spec)
    return {**made, "status": {"loadBalancer": {"ingress": list(ingress)}}}


def test_caller_of_one_family_has_the_near_ones_of_it() -> None:
    """A dual-stack Service has slices of both, each with hints of its own."""
    both = PortEndpoints(
        endpoints=(end("10.0.0.1", zones_=("a",)), end("10.0.0.2", zones_=("b",)), end("fd00::1", zones_=("a", "b"))),
    )
    snapshot = compiled()
    entry = dataclasses.replace(snapshot.services[API], ports={80: both})
    made = dataclasses.replace(snapshot, services=snapshot.services.after({API: entry}))

    for families, expected in (((4, 6), ["10.0.0.1"]), ((6,), ["fd00::1"])):
        found = build(made, Type.ENDPOINTS, "shop/api:80", Client(node="node-1", families=families))
        assert found is not None
        message = protos.message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(found.body)
        ends = [one.endpoint.address.socket_address.address for of in message.endpoints for one in of.lb_endpoints]
        assert ends == expected


def test_service_is_reached_at_external_ips_and_its_load_balancers() -> None:
    """Kube-proxy takes those connections inside the cluster; not where the load balancer must be passed, nor by name."""
    made = balanced(
        {"ip": "203.0.113.1"},
        {"ip": "203.0.113.2", "ipMode": "Proxy"},
        {"hostname": "lb.example"},
        externalIPs=["198.51.100.7", "2001:DB8::1"],
    )
    snapshot = compiled(made)
    client = Client(namespace="shop", pod="web-1")

    assert snapshot.model.services[API].others == ("198.51.100.7", "2001:db8::1", "203.0.113.1")
    for name in ("outbound/198.51.100.7:80", "outbound/203.0.113.1:80"):
        assert build(snapshot, Type.LISTENER, name, client) is not None
        assert name in set(names(snapshot, Type.LISTENER, client))
    assert build(snapshot, Type.LISTENER, "outbound/203.0.113.2:80", client) is None


def test_cluster_ip_cannot_be_taken_by_an_external_ip() -> None:
    """Whoever may make a Service must not have another's traffic."""
    snapshot = compiled(service("zz", "10.96.0.99", HTTP, spec={"externalIPs": ["10.96.0.2"]}))

    assert snapshot.service_ips["10.96.0.2"] == API


def test_session_affinity_is_told_in_a_sentence_and_the_service_goes_on() -> None:
    """Never dropped in silence."""
    snapshot = compiled(service("api", "10.96.0.2", HTTP, spec={"sessionAffinity": "ClientIP"}))
    (problem,) = snapshot.user_problems

    assert str(problem).startswith("Service shop/api: sessionAffinity ClientIP is not carried out by sidecars")
    assert problem.reason == "Unsupported"
    assert snapshot.services[API].ports[80].endpoints


def test_fields_that_are_read_are_kept_by_the_feed() -> None:
    """What the store drops nobody reads."""
    made = balanced(
        {"ip": "203.0.113.1", "ipMode": "VIP"}, externalIPs=["198.51.100.7"], sessionAffinity="ClientIP", **LOCAL
    )
    slices = endpoint_slice("api", endpoint("api-1", "10.0.0.2", hints={**zones("a"), "forNodes": [{"name": "n"}]}))
    read = ingest(Objects(made, slices))

    found = read.services[API]
    assert (found.others, found.local, bool(found.unsupported)) == (("198.51.100.7", "203.0.113.1"), True, True)
    (one,) = next(iter(read.slices.values())).endpoints
    assert (one.for_zones, one.for_nodes) == (("a",), ("n",))


async def test_sidecar_is_told_when_a_service_becomes_local_and_when_it_is_so_no_longer() -> None:
    """What it holds follows, and nothing is left behind."""
    source, objects = Source(), shop()
    objects.apply(*NODES, pod("api-2", "10.0.0.3"))
    ends = [endpoint("api-1", "10.0.0.2"), endpoint("api-2", "10.0.0.3", node="node-2")]
    objects.apply(endpoint_slice("api", *ends))

    def publish(*more: Object) -> None:
        objects.apply(*more)
        before = source.snapshot
        after = compile_mesh(ingest(objects, before.model), before)
        source.replace(after, changed(before, after))
        client.catch_up()

    peer = Peer(namespace="shop", pod="web-1", identity="x", node="node-2", user_agent="tulle-proxy")
    client = Subscriber(peer, delta=True, wildcard=False)
    client.wanted[Type.ENDPOINTS].add("shop/api:80")
    publish()
    client.connect(source)
    both = client.held[Type.ENDPOINTS, "shop/api:80"]
    publish(service("api", "10.96.0.2", HTTP, spec=LOCAL))
    near = client.held[Type.ENDPOINTS, "shop/api:80"]
    assert source.sizes()["resources"] == 2
    publish(service("api", "10.96.0.2", HTTP))

    assert client.held[Type.ENDPOINTS, "shop/api:80"] == both != near
    assert source.sizes()["resources"] == 1
    client.hang_up()
    assert source.sizes() == {"resources": 0, "inputs": 0}
