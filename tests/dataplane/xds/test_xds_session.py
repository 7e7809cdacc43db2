"""The ADS session without a socket: asking, applying, refusing, resuming, and never breaking before making."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.finding import ABSENT, ASKED, KNOWN
from dataplane.xds.decode import Noun
from dataplane.xds.session import Session
from dataplane.xds.settle import Settling
from dataplane.xds.uses import Key
from meshapi import protos
from meshapi.xds import Type

INBOUND = "inbound/shop/web-1"
OUT = "outbound/10.96.0.1:80"
_DISCOVERY = "envoy.service.discovery.v3."
EXTENSIONS = "type.googleapis.com/envoy.extensions."
Object = dict[str, Any]


class Wire:
    """The other end of a stream, by hand."""

    def __init__(self) -> None:
        self.session = Session("shop", "web-1", {"workload": "Deployment/web"})
        self.nonce = 0
        self.requests: list[Any] = []
        self.take(self.session.connected())

    def take(self, raw: list[bytes]) -> list[Any]:
        made = [protos.message(_DISCOVERY + "DeltaDiscoveryRequest").FromString(one) for one in raw]
        self.requests += made
        return made

    def send(self, type_: Type, *resources: Object, removed: tuple[str, ...] = (), version: str = "1") -> list[Any]:
        """Send resources as JSON; returns what the session says to it."""
        self.nonce += 1
        response = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")(
            type_url=type_.url, nonce=str(self.nonce), removed_resources=removed
        )
        for value in resources:
            body = protos.from_dict(type_.url.rpartition("/")[2], value).SerializeToString()
            name = value.get("name") or value["cluster_name"]
            response.resources.add(name=name, version=version, resource={"type_url": type_.url, "value": body})
        return self.take([*self.session.receive(response.SerializeToString()), *self.session.pending()])

    def want(self, name: str) -> list[Any]:
        self.session.want(name)
        return self.take(self.session.pending())


def asked(requests: list[Any]) -> dict[str, list[str]]:
    """Names subscribed to, by short type name."""
    return {
        one.type_url.rpartition(".")[2]: list(one.resource_names_subscribe)
        for one in requests
        if one.resource_names_subscribe
    }


def tcp_listener(name: str, target: str, **metadata: Any) -> Object:
    proxy = {"@type": EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x", "cluster": target}
    return {
        "name": name,
        "address": {"socket_address": {"address": "10.96.0.1", "port_value": 80}},
        "metadata": {"filter_metadata": {"tulle.dev": metadata}},
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    }


def http_listener(name: str, routes: str) -> Object:
    manager = {
        "@type": EXTENSIONS + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "rds": {"route_config_name": routes, "config_source": {"ads": {}}},
        "http_filters": [{"name": "router", "typed_config": {"@type": EXTENSIONS + "filters.http.router.v3.Router"}}],
    }
    return {**tcp_listener(name, "x"), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}


def routes(name: str, target: str) -> Object:
    row = {"match": {"prefix": "/"}, "route": {"cluster": target}}
    return {"name": name, "virtual_hosts": [{"name": "*", "domains": ["*"], "routes": [row]}]}


def eds(name: str) -> Object:
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}}}}


def endpoints(name: str, *ips: str) -> Object:
    ends = [{"endpoint": {"address": {"socket_address": {"address": ip, "port_value": 80}}}} for ip in ips]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]}


ROOTS = {"name": "trust", "validation_context": {"trusted_ca": {"inline_string": "roots"}}}
ORIGINAL = {"name": "inbound:0", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}


@pytest.fixture
def wire() -> Wire:
    return Wire()


def http_destination(wire: Wire) -> None:
    """Bring one HTTP destination with everything it leads to."""
    wire.want(OUT)
    wire.send(Type.LISTENER, http_listener(OUT, "r"))
    wire.send(Type.ROUTES, routes("r", "old"))
    wire.send(Type.CLUSTER, eds("old"))
    wire.send(Type.ENDPOINTS, endpoints("old", "10.0.0.1"))
    assert wire.session.find(OUT) is KNOWN


def test_first_requests_name_what_a_pod_needs_at_once(wire: Wire) -> None:
    """The node goes with the first one only."""
    assert asked(wire.requests) == {"Secret": ["trust"], "Listener": [INBOUND]}
    assert [one.HasField("node") for one in wire.requests] == [True, False]
    assert wire.requests[0].node.id == "web-1.shop"
    assert wire.requests[0].node.metadata["workload"] == "Deployment/web"


def test_session_is_ready_when_inbound_and_roots_are_there(wire: Wire) -> None:
    """What it is told of warm destinations is a hint; whether to follow it is not the session's to decide."""
    assert wire.session.warm is None
    wire.send(Type.LISTENER, tcp_listener(INBOUND, "inbound:0", warm=[OUT]))
    wire.send(Type.SECRET, ROOTS)
    assert not wire.session.ready
    wire.send(Type.CLUSTER, ORIGINAL)

    assert wire.session.ready
    assert wire.session.warm == (OUT,)
    assert not any(OUT in one.resource_names_subscribe for one in wire.requests)


def test_every_response_is_acknowledged_with_its_nonce(wire: Wire) -> None:
    """And what it leads to is asked for right after."""
    said = wire.send(Type.LISTENER, http_listener(INBOUND, "r"))

    assert said[0].response_nonce == "1"
    assert not said[0].HasField("error_detail")
    assert asked(said[1:]) == {"RouteConfiguration": ["r"]}


def test_bad_resource_is_refused_alone_and_its_last_good_form_stays(wire: Wire) -> None:
    """The other resource of the same response applies."""
    http_destination(wire)
    wire.want("outbound/10.96.0.2:80")
    before = wire.session.config.listeners[OUT]
    bad = http_listener(OUT, "r")
    bad["filter_chains"][0]["filters"].append(bad["filter_chains"][0]["filters"][0])
    (said, *_) = wire.send(Type.LISTENER, bad, tcp_listener("outbound/10.96.0.2:80", "old"), version="2")

    assert OUT in said.error_detail.message
    assert "10.96.0.2" not in said.error_detail.message
    assert wire.session.config.listeners[OUT] is before
    assert wire.session.find("outbound/10.96.0.2:80") is KNOWN
    assert list(wire.session.refusals) == [(Type.LISTENER, OUT)]
    wire.send(Type.LISTENER, http_listener(OUT, "r"), version="3")
    assert wire.session.refusals == {}


def test_fields_that_were_passed_over_are_said_once(wire: Wire) -> None:
    """With the acknowledgement of what has them; nothing is said again that has no news."""
    first = wire.send(Type.LISTENER, tcp_listener(INBOUND, "c"))[0]
    again = wire.send(Type.LISTENER, tcp_listener(INBOUND, "d"))[0]
    more = wire.send(Type.CLUSTER, {"name": "d", "type": "STATIC", "alt_stat_name": "x"})[0]
    prefix = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.stat_prefix"

    assert dict(first.node.metadata)["passed_over"] == prefix
    assert not again.HasField("node")
    assert dict(more.node.metadata)["passed_over"] == f"envoy.config.cluster.v3.Cluster.alt_stat_name,{prefix}"
    assert wire.session.passed[prefix] == 2


def test_table_with_a_pattern_nobody_can_read_is_in_force_but_for_its_rule(wire: Wire) -> None:
    """It is refused with its sentence all the same, and asked for again by the next stream."""
    wire.send(Type.LISTENER, http_listener(INBOUND, "r"))
    table = routes("r", "c")
    bad = {"match": {"safe_regex": {"regex": "/a(?=b)"}}, "route": {"cluster": "c"}}
    table["virtual_hosts"][0]["routes"].insert(0, bad)
    said = wire.send(Type.ROUTES, table)
    wire.send(Type.CLUSTER, {"name": "c", "type": "STATIC"})

    assert "as RE2 reads them" in said[0].error_detail.message
    assert "as RE2 reads them" in wire.session.refusals[Type.ROUTES, "r"]
    assert len(wire.session.config.routes["r"].hosts[0].routes) == 2
    again = {one.type_url: one for one in wire.take(wire.session.connected())}
    assert dict(again[Type.ROUTES.url].initial_resource_versions) == {}
    assert not wire.send(Type.ROUTES, routes("r", "c"), version="2")[0].HasField("error_detail")
    assert wire.session.refusals == {}


def test_resource_that_was_never_good_does_not_hold_up_what_leads_to_it(wire: Wire) -> None:
    """A route to a cluster that cannot be used answers as to one that is not there."""
    wire.want(OUT)
    wire.send(Type.LISTENER, http_listener(OUT, "r"))
    wire.send(Type.ROUTES, routes("r", "bad"))
    assert wire.session.find(OUT) is ASKED
    wire.send(Type.CLUSTER, {"name": "bad", "type": "STRICT_DNS"})

    assert wire.session.find(OUT) is KNOWN
    assert wire.session.config.clusters == {}


def test_destination_is_in_force_only_when_complete(wire: Wire) -> None:
    """A listener whose endpoints have not come would answer 503 for no reason."""
    wire.want(OUT)
    wire.send(Type.LISTENER, http_listener(OUT, "r"))
    wire.send(Type.ROUTES, routes("r", "c"))
    wire.send(Type.CLUSTER, eds("c"))
    assert wire.session.find(OUT) is ASKED
    assert wire.session.config.listeners == {}
    wire.send(Type.ENDPOINTS, endpoints("c"))

    assert wire.session.find(OUT) is KNOWN


def test_route_to_a_new_cluster_waits_for_it(wire: Wire) -> None:
    """The old route serves until the new cluster has endpoints, and the old cluster is let go only then."""
    http_destination(wire)
    said = wire.send(Type.ROUTES, routes("r", "new"), version="2")
    assert asked(said) == {"Cluster": ["new"]}
    wire.send(Type.CLUSTER, eds("new"))
    (host,) = wire.session.config.routes["r"].hosts
    assert "old" in str(host)
    assert "old" in wire.session.config.endpoints
    said = wire.send(Type.ENDPOINTS, endpoints("new", "10.0.0.2"))

    (host,) = wire.session.config.routes["r"].hosts
    assert "new" in str(host)
    assert list(wire.session.config.clusters) == ["new"]
    assert [list(one.resource_names_unsubscribe) for one in said if one.resource_names_unsubscribe] == [
        ["old"],
        ["old"],
    ]


def test_listener_to_new_routes_waits_for_them(wire: Wire) -> None:
    """The same one level up."""
    http_destination(wire)
    wire.send(Type.LISTENER, http_listener(OUT, "r2"), version="2")
    assert list(wire.session.config.routes) == ["r"]
    wire.send(Type.ROUTES, routes("r2", "old"))

    assert list(wire.session.config.routes) == ["r2"]


def test_removed_cluster_is_gone_at_once(wire: Wire) -> None:
    """The control plane said so; its routes answer accordingly."""
    http_destination(wire)
    wire.send(Type.CLUSTER, removed=("old",))

    assert wire.session.config.clusters == {}
    assert wire.session.find(OUT) is KNOWN


def test_removed_destination_is_absent(wire: Wire) -> None:
    """And comes back when it is pushed."""
    http_destination(wire)
    wire.send(Type.LISTENER, removed=(OUT,))
    assert wire.session.find(OUT) is ABSENT
    wire.send(Type.LISTENER, tcp_listener(OUT, "old"))
    wire.send(Type.CLUSTER, eds("old"))
    wire.send(Type.ENDPOINTS, endpoints("old", "10.0.0.1"))

    assert wire.session.find(OUT) is KNOWN


def test_what_did_not_exist_is_asked_for_again_by_a_new_resource(wire: Wire) -> None:
    """A listener that comes into being may bring into being what it leads to."""
    wire.want(OUT)
    wire.send(Type.LISTENER, tcp_listener(OUT, "c"))
    wire.send(Type.CLUSTER, removed=("c",))
    wire.want("outbound/10.96.0.2:80")
    said = wire.send(Type.LISTENER, tcp_listener("outbound/10.96.0.2:80", "c"))

    assert asked(said) == {"Cluster": ["c"]}


def test_new_stream_resumes_with_versions_and_names(wire: Wire) -> None:
    """What is held travels as versions, what is missing is asked for."""
    http_destination(wire)
    wire.requests.clear()
    said = wire.take(wire.session.connected())
    by_type = {one.type_url.rpartition(".")[2]: one for one in said}

    assert said[0].HasField("node")
    assert dict(by_type["Cluster"].initial_resource_versions) == {"old": "1"}
    assert dict(by_type["Listener"].initial_resource_versions) == {OUT: "1"}
    assert set(by_type["Listener"].resource_names_subscribe) == {OUT, INBOUND}


def test_resuming_with_many_names_is_done_in_bearable_messages(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server takes 4 MiB by gRPC's default; with 20,000 destinations known by long names the one message was refused, with each new stream again."""
    monkeypatch.setattr("dataplane.xds.session.PORTION_BYTES", 2000)
    names = [f"outbound/10.96.{number}.1:80" for number in range(100)]
    for name in names:
        wire.want(name)
    wire.send(Type.LISTENER, *(tcp_listener(name, "shop/api:80") for name in names))
    requests = wire.take(wire.session.connected())
    listeners = [one for one in requests if one.type_url == Type.LISTENER.url]
    subscribed = [name for one in listeners for name in one.resource_names_subscribe]

    assert sorted(subscribed) == sorted([INBOUND, *names])
    assert all(one.ByteSize() < 2500 for one in listeners)
    # The protocol has versions in the first request of a type alone; the rest is sent anew.
    assert [bool(one.initial_resource_versions) for one in listeners] == [True] + [False] * (len(listeners) - 1)
    assert set(listeners[0].initial_resource_versions) <= set(listeners[0].resource_names_subscribe)
    assert [one.HasField("node") for one in requests] == [True] + [False] * (len(requests) - 1)
    wire.session.drop(frozenset(names))
    let_go = wire.take(wire.session.pending())
    gone = [name for one in let_go if one.type_url == Type.LISTENER.url for name in one.resource_names_unsubscribe]
    assert sorted(gone) == sorted(names)
    assert all(one.ByteSize() < 2500 for one in let_go)


def test_new_stream_always_asks_for_something_that_is_answered(wire: Wire) -> None:
    """A control plane that has nothing new to say would else be silent, and nobody knew whether it takes the stream."""
    wire.send(Type.SECRET, ROOTS)
    (secrets,) = (one for one in wire.take(wire.session.connected()) if one.type_url == Type.SECRET.url)

    assert list(secrets.resource_names_subscribe) == ["trust"]
    assert dict(secrets.initial_resource_versions) == {}


def test_what_was_dropped_while_away_is_not_asked_for(wire: Wire) -> None:
    """The sidecar's needs are told anew on every stream."""
    http_destination(wire)
    wire.session.drop({OUT})
    said = wire.take(wire.session.connected())

    assert asked(said) == {"Secret": ["trust"], "Listener": [INBOUND]}
    assert all(not one.initial_resource_versions for one in said)
    assert wire.session.config.listeners == {}


def test_equal_content_under_a_new_version_stirs_nothing(wire: Wire) -> None:
    """A control plane replica that words versions differently costs no recompilation."""
    http_destination(wire)
    before = wire.session.config
    for type_, value in (
        (Type.LISTENER, http_listener(OUT, "r")),
        (Type.CLUSTER, eds("old")),
        (Type.ENDPOINTS, endpoints("old", "10.0.0.1")),
    ):
        wire.send(type_, value, version="other")

    assert wire.session.config is before


def test_response_about_one_destination_costs_nothing_for_the_others(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workload may use thousands; what it says of one must not walk through all."""
    http_destination(wire)
    other = "outbound/10.96.0.2:80"
    wire.want(other)
    looked_at: list[object] = []

    class Spy(Settling):
        def chosen(self, root: Key) -> dict[Key, Noun]:
            looked_at.append(root)
            return super().chosen(root)

    monkeypatch.setattr("dataplane.xds.session.Settling", Spy)
    before = wire.session.config
    wire.send(Type.LISTENER, removed=(other,))
    assert wire.session.config is before
    wire.send(Type.ENDPOINTS, endpoints("old", "10.0.0.2"))

    assert looked_at == [(Type.LISTENER, other), (Type.LISTENER, OUT)]


def test_what_comes_for_a_name_nobody_needs_any_more_is_not_kept(wire: Wire) -> None:
    """It was on the way when the name was let go."""
    http_destination(wire)
    wire.session.drop({OUT})
    wire.send(Type.LISTENER, http_listener(OUT, "r"), version="2")
    wire.want(OUT)

    assert wire.session.find(OUT) is ASKED
    assert asked(wire.requests[-1:]) == {"Listener": [OUT]}


def test_garbage_is_ignored(wire: Wire) -> None:
    """Bytes that are no response, and a type nobody asked for."""
    before = wire.session.config
    strange = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")(type_url="x", nonce="1").SerializeToString()

    assert wire.session.receive(b"\xff\xff") == []
    assert wire.session.receive(strange) == []
    assert wire.session.config is before


def test_heartbeat_changes_nothing(wire: Wire) -> None:
    """A resource without a body renews a time to live (xDS protocol, "TTL")."""
    http_destination(wire)
    before = wire.session.config
    response = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")(
        type_url=Type.CLUSTER.url, nonce="9", resources=[{"name": "old", "version": "1"}]
    )
    wire.session.receive(response.SerializeToString())

    assert wire.session.config is before


def test_nothing_is_said_while_there_is_no_stream() -> None:
    """Wishes wait for the next one."""
    session = Session("shop", "web-1")
    session.want(OUT)

    assert session.pending() == []
    assert len(session.connected()) == 2
    assert session.pending() == []


def test_what_a_response_leads_to_is_asked_for_once_it_is_known_what_of_it_is_kept(wire: Wire) -> None:
    """Else the names of a route table that is let go at once would be asked for, beyond what the control plane bears."""
    wire.want("outbound/10.96.0.1:80")
    before = wire.session.held()
    response = protos.message(_DISCOVERY + "DeltaDiscoveryResponse")(type_url=Type.LISTENER.url, nonce="1")
    body = protos.from_dict(Type.LISTENER.url.rpartition("/")[2], tcp_listener("outbound/10.96.0.1:80", "c"))
    response.resources.add(
        name="outbound/10.96.0.1:80",
        version="1",
        resource={"type_url": Type.LISTENER.url, "value": body.SerializeToString()},
    )
    (answer,) = wire.session.receive(response.SerializeToString())
    assert wire.session.held() == (before[0] + 1, before[1])
    wire.session.drop({"outbound/10.96.0.1:80"})

    assert [asked([one]) for one in wire.take([answer, *wire.session.pending()])] == [{}, {}]
    assert wire.session.held() == (before[0] - 1, before[1] - 1)


def test_sentence_of_a_refusal_is_in_the_configuration_until_there_is_a_form_that_can_be_used(wire: Wire) -> None:
    """Requests that need it are answered with it. One of a newer form is not: the old one is in force."""
    wire.want("outbound/10.96.0.1:80")
    wire.send(Type.LISTENER, tcp_listener("outbound/10.96.0.1:80", "c"))
    bad = {**eds("c"), "outlier_detection": {"consecutive_5xx": 1}}
    wire.send(Type.CLUSTER, bad)
    first = wire.session.config
    assert first.refused_clusters == {"c": "cluster c: outlier_detection is not supported"}
    wire.send(Type.CLUSTER, eds("c"))
    wire.send(Type.ENDPOINTS, endpoints("c", "10.0.0.1"))
    assert wire.session.config.refused_clusters == {}
    wire.send(Type.CLUSTER, bad)

    assert wire.session.config.refused_clusters == {}
    assert list(wire.session.config.clusters) == ["c"]
