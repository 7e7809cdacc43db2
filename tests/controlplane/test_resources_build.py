"""What each name stands for, read back by the sidecar's own decoders."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.resources.build import PLACED, Client, build, form, in_form, names, placed
from dataplane import config as nouns
from dataplane.tables.listeners import ListenerTable
from meshapi import protos
from meshapi.xds import Type
from tests.controlplane.reading import WEB_1, built, compiled
from tests.support.meshobjects import (
    HTTP,
    Object,
    endpoint,
    endpoint_slice,
    peer_authentication,
    pod,
    route,
    service,
    to,
)

OTHER = Client(namespace="other", pod="x-1")


def chains(snapshot: MeshSnapshot, name: str, client: Client = WEB_1) -> dict[str, nouns.FilterChain]:
    listener = built(snapshot, Type.LISTENER, name, client)
    return {chain.name: chain for chain in listener.chains}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("PERMISSIVE", ["mesh-http", "mesh-tcp", "app-tls", "plain-http", "plain-tcp"]),
        ("STRICT", ["mesh-http", "mesh-tcp"]),
        ("DISABLE", ["app-tls", "plain-http", "plain-tcp"]),
    ],
)
def test_inbound_chains_follow_the_mode(mode: str, expected: list[str]) -> None:
    """STRICT has nothing plaintext could match, DISABLE nothing mesh TLS could."""
    found = chains(compiled(peer_authentication("p", mode)), "inbound/shop/web-1")

    assert [name for name in found if name.startswith("*/")] == [f"*/{name}" for name in expected]


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"name": "http"}, {"mesh-http", "mesh-tcp", "app-tls", "plain-http"}),
        ({"name": "tcp"}, {"mesh-http", "mesh-tcp", "app-tls", "plain-tcp"}),
        ({"name": "tls"}, {"mesh-http", "mesh-tcp", "app-tls", "plain-tcp"}),
        ({"name": "what"}, {"mesh-http", "mesh-tcp", "app-tls", "plain-http", "plain-tcp"}),
    ],
)
def test_inbound_chains_follow_the_declared_protocol(port: Object, expected: set[str]) -> None:
    """A declared protocol is not looked for. Sidecars say by ALPN what they speak: while a declaration changes, one says what it knew before."""
    snapshot = compiled(
        service("web", "10.96.0.1", {**port, "port": 80}),
        endpoint_slice("web", endpoint("web-1", "10.0.0.1"), ports={port["name"]: 8080}),
    )
    found = chains(snapshot, "inbound/shop/web-1")

    assert {name[5:] for name in found if name.startswith("8080/")} == expected
    if "plain-http" in expected:
        assert found["8080/plain-http"].match.alpn == (
            () if port["name"] == "http" else ("http/1.0", "http/1.1", "h2c")
        )


@pytest.mark.parametrize(
    ("name", "chain_names", "detect", "alpn", "protocol"),
    [
        ("http", ["http"], False, ("tulle-h2",), nouns.AppProtocol.AS_DOWNSTREAM),
        ("grpc", ["http"], False, ("tulle-h2",), nouns.AppProtocol.HTTP2),
        ("what", ["http", "tcp", "app-tls"], True, ("tulle-h2", "tulle-tcp"), nouns.AppProtocol.AS_DOWNSTREAM),
        ("tcp", ["tcp"], False, ("tulle-tcp",), nouns.AppProtocol.AS_DOWNSTREAM),
    ],
)
def test_outbound_follows_the_declared_protocol(
    name: str, chain_names: list[str], detect: bool, alpn: tuple[str, ...], protocol: nouns.AppProtocol
) -> None:
    """Chains, detection, ALPN and HTTP version of a destination."""
    snapshot = compiled(service("web", "10.96.0.1", {"name": name, "port": 80}))
    listener = built(snapshot, Type.LISTENER, "outbound/10.96.0.1:80")
    cluster = built(snapshot, Type.CLUSTER, "shop/web:80")

    assert [chain.name for chain in listener.chains] == chain_names
    assert listener.detect is detect
    assert cluster.mesh_tls.alpn == alpn
    assert cluster.protocol is protocol
    assert cluster.ahead
    assert dict(listener.metadata)["kind"] == "service"


@pytest.mark.parametrize("name", ["outbound/10.96.0.1:80", "outbound/10.1.0.9:8080"], ids=["service", "pod"])
@pytest.mark.parametrize(
    ("transport", "offered", "http"),
    [
        ("raw_buffer", {"http/1.0", "http/1.1"}, True),
        ("raw_buffer", {"h2c"}, True),
        ("raw_buffer", set(), False),
        ("tls", {"http/1.1"}, False),
        ("tls", {"h2", "http/1.1"}, False),
        ("tls", set(), False),
    ],
)
def test_undeclared_port_relays_the_apps_own_tls_whatever_its_hello_offers(
    name: str, transport: str, offered: set[str], http: bool
) -> None:
    """`http/1.1` is what plaintext was found to be and what an HTTPS client offers: only the first is HTTP to us."""
    snapshot = compiled(service("web", "10.96.0.1", {"name": "what", "port": 80}), pod("lone-1", "10.1.0.9"))
    taken = ListenerTable(built(snapshot, Type.LISTENER, name)).match(80, transport, offered, "")

    assert taken is not None
    assert taken.http is http


def test_inbound_cluster_keeps_to_the_declared_version() -> None:
    """HTTP/1 where declared, HTTP/2 for gRPC, the client's own version otherwise."""
    grpc = compiled(
        service("web", "10.96.0.1", {"name": "grpc", "port": 80}),
        endpoint_slice("web", endpoint("web-1", "10.0.0.1"), ports={"grpc": 8080}),
    )

    assert built(compiled(), Type.CLUSTER, "inbound:8080").protocol is nouns.AppProtocol.HTTP1
    assert built(grpc, Type.CLUSTER, "inbound:8080").protocol is nouns.AppProtocol.HTTP2
    assert built(compiled(), Type.CLUSTER, "inbound:0").protocol is nouns.AppProtocol.AS_DOWNSTREAM
    assert built(compiled(), Type.CLUSTER, "inbound:0").kind == "original_dst"
    assert build(compiled(), Type.CLUSTER, "inbound:8080", OTHER) is None


@pytest.mark.parametrize("name", ["shop/web:80", "pod/shop/web-1:8080", "inbound:8080", "inbound:0", "passthrough"])
def test_clusters_are_not_bounded_unasked(name: str) -> None:
    """Left out, the fields mean 1024: a service with more WebSockets than that would answer 503."""
    limits = built(compiled(), Type.CLUSTER, name).limits

    assert (limits.max_connections, limits.max_pending, limits.max_requests) == (2**32 - 1,) * 3
    assert (limits.max_retries, limits.retry_percent) == ((10, 20.0) if "/" in name else (3, 0.0))


def test_tcp_route_splits_connections() -> None:
    """By weight, in the one chain."""
    split = route("t", {"backendRefs": [to("web", weight=3), to("api")]}, kind="TCPRoute")
    found = chains(compiled(split), "outbound/10.96.0.1:80")

    assert list(found) == ["tcp"]
    only = found["tcp"].filter
    assert isinstance(only, nouns.TcpFilter)
    assert [(t.cluster, t.weight) for t in only.targets] == [("shop/web:80", 3), ("shop/api:80", 1)]


def test_tls_route_chooses_by_server_name_and_a_name_belongs_to_the_oldest() -> None:
    """What asks for no known name matches no chain and is closed."""
    rule = {"backendRefs": [to("api")]}
    snapshot = compiled(
        service("secure", "10.96.0.6", {"name": "tls", "port": 443}),
        route("a", rule, kind="TLSRoute", parent="secure", hostnames=["a.example.com"]),
        route("b", rule, kind="TLSRoute", parent="secure", hostnames=["a.example.com", "*.b.example.com"]),
    )
    found = chains(snapshot, "outbound/10.96.0.6:443")

    assert [chain.match.sni for chain in found.values()] == [("a.example.com",), ("*.b.example.com",)]
    assert {chain.match.transport for chain in found.values()} == {"tls"}


def test_client_namespace_with_own_routes_is_sent_to_them() -> None:
    """The listener names the consumer's route configuration, for that namespace only."""
    mine = route("mine", {"backendRefs": [to("api", namespace="shop")]}, namespace="other")
    snapshot = compiled(mine)

    def route_name(client: Client) -> str:
        found = chains(snapshot, "outbound/10.96.0.1:80", client)["http"].filter
        assert isinstance(found, nouns.HttpFilter)
        return found.route_name

    assert route_name(OTHER) == "shop/web:80@other"
    assert route_name(WEB_1) == "shop/web:80"
    assert built(snapshot, Type.ROUTES, "shop/web:80@other").hosts[0].routes[0].name == "HTTPRoute/other/mine#0"
    assert build(snapshot, Type.ROUTES, "shop/web:80@shop", WEB_1) is None


def test_pod_address_leads_to_the_pod_at_any_port_it_captures() -> None:
    """With its own identity, past all routes."""
    snapshot = compiled(pod("api-1", "10.0.0.2", annotations={"tulle.dev/exclude-inbound-ports": "9"}))
    found = chains(snapshot, "outbound/10.0.0.2:8080")["http"].filter
    assert isinstance(found, nouns.HttpFilter)
    assert found.routes is not None
    cluster = built(snapshot, Type.CLUSTER, "pod/shop/api-1:8080")
    (only,) = built(snapshot, Type.ENDPOINTS, "pod/shop/api-1:8080").endpoints

    assert cluster.mesh_tls.trust.uris == (nouns.StringMatch(exact="spiffe://cluster.local/ns/shop/sa/api"),)
    assert (only.address, only.port, only.mesh) == ("10.0.0.2", 8080, True)
    assert build(snapshot, Type.LISTENER, "outbound/10.0.0.2:4444", WEB_1) is not None
    assert build(snapshot, Type.LISTENER, "outbound/10.0.0.2:9", WEB_1) is None
    assert build(snapshot, Type.LISTENER, "outbound/10.0.0.3:8080", WEB_1) is None, "api-2 is outside the mesh"


def test_grpc_library_gets_an_api_listener_without_what_it_refuses() -> None:
    """Routes inline, no transport socket matches; an unknown name fails at once instead of after 15 s."""
    library = Client(namespace="shop", grpc=True)
    snapshot = compiled()
    for name in ("web.shop:80", "web.shop.svc:80", "web.shop.svc.cluster.local:80"):
        resource = build(snapshot, Type.LISTENER, name, library)
        assert resource is not None
        listener = protos.message("envoy.config.listener.v3.Listener").FromString(resource.body)
        manager = protos.unpack(listener.api_listener.api_listener)
        assert manager.route_config.virtual_hosts[0].routes[0].route.cluster == "shop/web:80"
    cluster = build(snapshot, Type.CLUSTER, "shop/web:80", library)
    assert cluster is not None
    assert not protos.message("envoy.config.cluster.v3.Cluster").FromString(cluster.body).transport_socket_matches
    unknown = build(snapshot, Type.LISTENER, "nobody.shop:80", library)
    assert unknown is not None
    manager = protos.unpack(
        protos.message("envoy.config.listener.v3.Listener").FromString(unknown.body).api_listener.api_listener
    )
    assert list(manager.route_config.virtual_hosts[0].routes) == []


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (Type.LISTENER, "outbound/10.96.0.1:81"),
        (Type.LISTENER, "outbound/10.9.9.9:80"),
        (Type.LISTENER, "outbound/010.96.0.1:80"),
        (Type.LISTENER, "outbound/nowhere"),
        (Type.LISTENER, "inbound/shop/nobody"),
        (Type.LISTENER, "inbound/shop/api-1"),
        (Type.LISTENER, "web.shop:80"),
        (Type.CLUSTER, "shop/web:81"),
        (Type.CLUSTER, "shop/nobody:80"),
        (Type.CLUSTER, "invalid"),
        (Type.CLUSTER, "inbound:x"),
        (Type.CLUSTER, "inbound:080"),
        (Type.CLUSTER, "inbound:٣"),
        (Type.CLUSTER, "inbound:" + "9" * 5000),
        (Type.CLUSTER, "shop/web:080"),
        (Type.CLUSTER, "shop/web:" + "9" * 5000),
        (Type.CLUSTER, "shop/web:²"),
        (Type.CLUSTER, "pod/shop/api-2:80"),
        (Type.ENDPOINTS, "shop/web:81"),
        (Type.ENDPOINTS, "x"),
        (Type.ROUTES, "shop/web:81"),
        (Type.ROUTES, "shop/web:80@"),
        (Type.ROUTES, ""),
        (Type.SECRET, "identity"),
    ],
)
def test_name_that_does_not_exist_is_nothing(type_: Type, name: str) -> None:
    """Another pod's inbound listener among them: it is nobody else's business."""
    assert build(compiled(), type_, name, WEB_1) is None


def test_name_a_grpc_library_may_not_have_meant_has_no_routes() -> None:
    """Digits without end are no port, and no defect."""
    client = Client(namespace="shop", pod="web-1", grpc=True)

    for port in ("9" * 5000, "٣", "080"):
        resource = build(compiled(), Type.LISTENER, f"web.shop:{port}", client)
        assert resource is not None
        assert b"shop/web:80" not in resource.body


def test_resources_depend_on_the_client_only_where_they_say_so() -> None:
    """What caches may share."""
    snapshot = compiled(route("mine", {"backendRefs": [to("api", namespace="shop")]}, namespace="other"))
    clients = [WEB_1, OTHER, Client(namespace="other", grpc=True), Client(namespace="shop", pod="api-1", warm=("x",))]
    everything = {(t, n) for c in clients for t in Type for n in names(snapshot, t, c)} | {
        (Type.LISTENER, "web.shop:80")
    }
    for type_, name in everything:
        seen: dict[Client, Any] = {}
        for client in clients:
            resource = build(snapshot, type_, name, client)
            held = form(type_, name, client)
            held = placed(type_, client) if in_form(snapshot, type_, name, held) is PLACED else held
            assert seen.setdefault(held, resource) == resource, (name, client)


def test_zones_are_localities_weighted_by_their_endpoints() -> None:
    """Each endpoint gets the same share, and gRPC skips localities without a weight."""
    nodes = [
        {"kind": "Node", "metadata": {"name": n, "labels": {"topology.kubernetes.io/zone": z}}}
        for n, z in (("node-1", "a"), ("node-2", "b"))
    ]
    far = {**endpoint("api-2", "10.0.0.3"), "nodeName": "node-2"}
    snapshot = compiled(
        *nodes,
        pod("api-9", "10.0.0.9"),
        endpoint_slice("api", endpoint("api-1", "10.0.0.2"), endpoint("api-9", "10.0.0.9"), far),
    )
    resource = build(snapshot, Type.ENDPOINTS, "shop/api:80", WEB_1)
    assert resource is not None
    message = protos.message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(resource.body)

    assert [(g.locality.zone, g.load_balancing_weight.value, len(g.lb_endpoints)) for g in message.endpoints] == [
        ("a", 2, 2),
        ("b", 1, 1),
    ]


def test_cluster_without_mesh_endpoints_would_still_check_names() -> None:
    """An endpoint may join between two pushes; any identity of the namespace is the widest it could have."""
    snapshot = compiled(peer_authentication("off", "DISABLE"))
    cluster = built(snapshot, Type.CLUSTER, "shop/web:80")

    assert cluster.mesh_tls.trust.uris == (nouns.StringMatch(prefix="spiffe://cluster.local/ns/shop/"),)


def test_ipv6_addresses_are_written_in_brackets() -> None:
    """In canonical form, whatever the API server said."""
    snapshot = compiled(service("six", "FD00:0::1", HTTP))

    assert built(snapshot, Type.LISTENER, "outbound/[fd00::1]:80").address == "fd00::1"
