"""One small shop from raw objects to the sidecar's nouns: the value after each arrow, and what a change stirs."""

from __future__ import annotations

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.ingest.assemble import ingest
from controlplane.model.mesh import Model
from controlplane.model.meta import Key
from controlplane.model.services import Protocol
from controlplane.resources.build import Client
from dataplane import config as nouns
from dataplane.finding import ABSENT, KNOWN
from dataplane.xds.session import Session
from tests.support.adsloop import Ads
from tests.support.meshobjects import Objects, endpoint, endpoint_slice, pod, route, shop, to

ROOTS = b"-----BEGIN CERTIFICATE-----\nroots\n-----END CERTIFICATE-----\n"
WEB = "outbound/10.96.0.1:80"
API = "outbound/10.96.0.2:80"


class World:
    """All arrows, one after the other, again after every change."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.model: Model | None = None
        self.snapshot: MeshSnapshot | None = None
        self.session = Session("shop", "web-1", {"pod": "web-1"})
        self.ads = Ads(snapshot=self.step(), client=Client(namespace="shop", pod="web-1"), session=self.session)
        self.ads.connect()

    def step(self) -> MeshSnapshot:
        self.model = ingest(self.objects, self.model)
        self.snapshot = compile_mesh(self.model, self.snapshot, roots=ROOTS)
        assert self.snapshot.problems() == []
        return self.snapshot

    def push(self) -> int:
        return self.ads.push(self.step())

    def want(self, name: str) -> None:
        self.session.want(name)
        self.ads.answer(self.session.pending())


@pytest.fixture
def world() -> World:
    return World(shop())


def test_model_has_what_the_objects_say(world: World) -> None:
    """Raw objects become nouns."""
    model = world.model
    assert model is not None
    assert model.services[Key("shop", "web")].ports[0].protocol is Protocol.HTTP
    assert model.pods[Key("shop", "api-1")].mesh
    assert not model.pods[Key("shop", "api-2")].mesh
    assert model.problems == ()


def test_snapshot_knows_endpoints_with_zone_and_identity(world: World) -> None:
    """Who serves what, where, and as whom."""
    snapshot = world.snapshot
    assert snapshot is not None
    found = snapshot.services[Key("shop", "api")].ports[80]

    assert [(e.address, e.port, e.zone, e.mesh) for e in found.endpoints] == [
        ("10.0.0.2", 8080, "a", True),
        ("10.0.0.3", 8080, "a", False),
    ]
    assert found.identities == ("spiffe://cluster.local/ns/shop/sa/api",)


def test_sidecar_is_ready_with_its_inbound_listener_and_the_roots(world: World) -> None:
    """What a pod asks for at once is its own, and nothing of the rest of the mesh."""
    config = world.session.config

    assert world.session.ready
    assert list(config.listeners) == ["inbound/shop/web-1"]
    assert set(config.clusters) == {"inbound:8080", "inbound:0"}
    assert config.secrets["trust"].roots == ROOTS
    assert world.ads.refusals == []


def test_inbound_listener_has_the_chains_of_the_contract(world: World) -> None:
    """A declared HTTP port takes mesh TLS, the app's own TLS and plaintext HTTP; other ports are looked at."""
    listener = world.session.config.listeners["inbound/shop/web-1"]

    assert [chain.name for chain in listener.chains] == [
        "8080/mesh-http",
        "8080/mesh-tcp",
        "8080/app-tls",
        "8080/plain-http",
        "*/mesh-http",
        "*/mesh-tcp",
        "*/app-tls",
        "*/plain-http",
        "*/plain-tcp",
    ]
    first = listener.chains[0]
    assert first.match == nouns.ChainMatch(destination_port=8080, transport="tls", alpn=("tulle-h2", "tulle-http/1.1"))
    assert first.tls is not None
    assert first.tls.identity_secret == "identity"
    assert first.tls.require_client_certificate
    assert first.tls.trust == nouns.TlsTrust(
        trust_secret="trust", uris=(nouns.StringMatch(prefix="spiffe://cluster.local/"),)
    )
    assert isinstance(first.filter, nouns.HttpFilter)
    assert first.filter.routes is not None
    assert listener.inbound
    assert listener.use_original_dst
    assert listener.detect
    assert dict(listener.metadata)["workload"] == "web-1"


def test_wanted_destination_comes_with_all_it_leads_to(world: World) -> None:
    """Listener, routes, cluster and endpoints arrive by following references."""
    world.want(API)
    config = world.session.config
    listener = config.listeners[API]
    cluster = config.clusters["shop/api:80"]

    assert [chain.name for chain in listener.chains] == ["http"]
    assert not listener.bind
    assert config.routes["shop/api:80"].hosts == (
        nouns.VirtualHost(
            domains=("*",),
            routes=(
                nouns.Route(
                    match=nouns.RouteMatch(prefix="/"),
                    action=nouns.Forward(targets=(nouns.Target(cluster="shop/api:80"),)),
                ),
            ),
        ),
    )
    assert cluster.tls is None
    assert cluster.mesh_tls is not None
    assert cluster.mesh_tls.sni == "80.api.shop"
    assert cluster.mesh_tls.alpn == ("tulle-h2",)
    assert cluster.mesh_tls.trust is not None
    assert cluster.mesh_tls.trust.uris == (nouns.StringMatch(exact="spiffe://cluster.local/ns/shop/sa/api"),)
    assert cluster.protocol is nouns.AppProtocol.AS_DOWNSTREAM
    assert config.endpoints["shop/api:80"].endpoints[0] == nouns.Endpoint(
        address="10.0.0.2",
        port=8080,
        zone="a",
        mesh=True,
        identity="spiffe://cluster.local/ns/shop/sa/api",
        labels=(("app", "api"), ("namespace", "shop"), ("pod", "api-1"), ("workload", "api-1")),
    )


def test_unknown_destination_is_absent_until_it_comes_into_being(world: World) -> None:
    """A name that does not exist is told at once, and pushed later when it does."""
    world.want("outbound/10.0.0.9:8080")
    assert world.session.find("outbound/10.0.0.9:8080") is ABSENT

    world.objects.apply(pod("late-1", "10.0.0.9"))
    world.push()

    assert world.session.find("outbound/10.0.0.9:8080") is KNOWN
    assert world.session.config.endpoints["pod/shop/late-1:8080"].endpoints[0].mesh


def test_endpoint_change_stirs_only_its_endpoints(world: World) -> None:
    """One new pod behind a Service is one resource pushed, and every other noun stays the same object."""
    world.want(API)
    world.want(WEB)
    before = world.session.config
    world.objects.apply(
        pod("api-3", "10.0.0.4", account="api"),
        endpoint_slice("api", endpoint("api-1", "10.0.0.2"), endpoint("api-3", "10.0.0.4")),
    )

    assert world.push() == 1
    after = world.session.config
    assert after.listeners is before.listeners
    assert after.routes is before.routes
    assert after.clusters is before.clusters
    assert [e.address for e in after.endpoints["shop/api:80"].endpoints] == ["10.0.0.2", "10.0.0.4"]
    assert after.endpoints["shop/web:80"] is before.endpoints["shop/web:80"]


def test_route_is_pushed_and_brings_its_clusters(world: World) -> None:
    """A split brings the other Service's cluster and endpoints along."""
    world.want(WEB)
    world.objects.apply(route("split", {"backendRefs": [to("web", weight=9), to("api")]}))
    world.push()
    config = world.session.config
    action = config.routes["shop/web:80"].hosts[0].routes[0].action

    assert isinstance(action, nouns.Forward)
    assert [(t.cluster, t.weight) for t in action.targets] == [("shop/web:80", 9), ("shop/api:80", 1)]
    assert action.timeout == 0
    assert config.routes["shop/web:80"].hosts[0].routes[0].name == "HTTPRoute/shop/split#0"
    assert config.endpoints["shop/api:80"].endpoints


def test_nothing_is_pushed_when_nothing_changed(world: World) -> None:
    """An object written again without news stirs nothing."""
    world.want(WEB)
    services = [obj for (kind, _, _), obj in world.objects.held.items() if kind == "Service"]
    world.objects.apply(pod("web-1", "10.0.0.1"), *services)

    assert world.push() == 0


def test_reconnect_asks_with_versions_and_gets_nothing_new(world: World) -> None:
    """A new stream resumes: nothing the sidecar holds travels again, but for the roots, which show that the stream works."""
    world.want(WEB)
    before, sent = world.session.config, world.ads.sent
    world.ads.connect()

    assert world.session.config is before
    assert world.ads.sent == sent + 1


def test_dropped_destination_leaves_with_all_only_it_needed(world: World) -> None:
    """Memory follows the call graph."""
    world.want(WEB)
    world.want(API)
    world.session.drop({API})
    world.ads.answer(world.session.pending())
    config = world.session.config

    assert "shop/api:80" not in config.clusters
    assert "shop/web:80" in config.clusters
    assert all("api" not in name for _, name in world.ads.subscribed)
