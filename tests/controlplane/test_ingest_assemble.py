"""Raw objects to nouns: what is read, what is forgiven, and what is left alone when nothing changed."""

from __future__ import annotations

import contextlib
import datetime as dt
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.compiler.passes import compile_mesh
from controlplane.ingest.assemble import KINDS, ingest
from controlplane.ingest.protocols import protocol_of
from controlplane.ingest.reading import Cursor, port_list
from controlplane.ingest.routes import refused_patterns
from controlplane.model.meta import Key, RouteKey
from controlplane.model.ports import ports
from controlplane.model.security import Mode
from controlplane.model.services import Protocol
from controlplane.model.traffic import PathKind
from tests.support.meshobjects import HTTP, Objects, endpoint_slice, peer_authentication, pod, route, service, shop, to


@pytest.mark.parametrize(
    ("app_protocol", "name", "port", "expected"),
    [
        ("", "http", 80, Protocol.HTTP),
        ("", "http-web", 80, Protocol.HTTP),
        ("", "http2", 80, Protocol.HTTP2),
        ("kubernetes.io/h2c", "http", 80, Protocol.HTTP2),
        ("kubernetes.io/ws", "", 80, Protocol.HTTP),
        ("grpc", "x", 80, Protocol.GRPC),
        ("", "grpc-web", 80, Protocol.HTTP),
        ("", "grpc-cart", 80, Protocol.GRPC),
        ("", "https", 443, Protocol.TLS),
        ("", "tls-db", 443, Protocol.TLS),
        ("", "mysql", 1, Protocol.TCP),
        ("", "redis-cache", 1, Protocol.TCP),
        ("", "web", 80, Protocol.AUTO),
        ("", "", 3306, Protocol.TCP),
        ("", "http", 3306, Protocol.HTTP),
        ("example.com/own", "http", 80, Protocol.HTTP),
    ],
)
def test_protocol_is_declared_by_app_protocol_then_name_then_port(
    app_protocol: str, name: str, port: int, expected: Protocol
) -> None:
    """The rules Istio's users know."""
    assert protocol_of(app_protocol, name, port) is expected


def test_opaque_annotation_beats_every_declaration() -> None:
    """A port somebody calls opaque is relayed, whatever its name says."""
    model = ingest(Objects(service("db", "10.96.0.1", HTTP, **{"tulle.dev/opaque-ports": "79-81"})))

    assert model.services[Key("shop", "db")].ports[0].protocol is Protocol.TCP


def test_digits_without_end_are_no_ports() -> None:
    """Whoever may annotate a Service could else have every pass begin from nothing: that is what follows a fault of ours."""
    many = "9" * 5000
    annotated = {"tulle.dev/opaque-ports": f"{many},80,1-{many}"}
    model = ingest(
        Objects(service("db", "10.96.0.1", HTTP, **annotated), pod("db-1", "10.0.0.1", annotations=annotated))
    )

    assert model.faults == {}
    assert model.services[Key("shop", "db")].ports[0].protocol is Protocol.TCP
    assert model.pods[Key("shop", "db-1")].opaque == ports([(80, 80)])


@given(st.lists(st.tuples(st.integers(-2, 70_000), st.integers(-2, 70_000)), max_size=8), st.integers(0, 70_000))
def test_ports_are_those_of_their_ranges(ranges: list[tuple[int, int]], other: int) -> None:
    """Both ends belong to a range; what is no port belongs to none."""
    listed = ports(ranges)
    for port in {other, *(end + near for one in ranges for end in one for near in (-1, 0, 1) if end + near >= 0)}:
        assert (port in listed) == (0 < port < 65_536 and any(low <= port <= high for low, high in ranges))


def test_pods_that_list_every_port_cost_little() -> None:
    """Whoever may annotate a pod could else fill the control plane's memory: a set of all ports is 4 MB."""
    tracemalloc.start()
    try:
        listed = [port_list(f"{number},1-65535") for number in range(1, 21)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert all(443 in one for one in listed)
    assert held < 20 * 16_384


def test_only_tcp_ports_are_read() -> None:
    """The mesh does not carry UDP."""
    ports: list[dict[str, Any]] = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]
    found = ingest(Objects(service("dns", "10.96.0.1", *ports))).services[Key("shop", "dns")]

    assert [(p.name, p.protocol) for p in found.ports] == [("dns-tcp", Protocol.TCP)]


@pytest.mark.parametrize(
    ("owner", "labels", "expected"),
    [
        (None, {}, ("Pod", "web-1")),
        (("ReplicaSet", "web-6f5d"), {"pod-template-hash": "6f5d"}, ("Deployment", "web")),
        (("ReplicaSet", "web-6f5d"), {}, ("ReplicaSet", "web-6f5d")),
        (("StatefulSet", "db"), {}, ("StatefulSet", "db")),
        (("Job", "nightly-29012345"), {}, ("CronJob", "nightly")),
        (("Job", "once"), {}, ("Job", "once")),
    ],
)
def test_workload_is_the_owner_users_know(
    owner: tuple[str, str] | None, labels: dict[str, str], expected: tuple[str, str]
) -> None:
    """Nobody thinks in ReplicaSets."""
    more = {"ownerReferences": [{"kind": owner[0], "name": owner[1], "controller": True}]} if owner else {}
    found = ingest(Objects(pod("web-1", "10.0.0.1", labels=labels, **more))).pods[Key("shop", "web-1")]

    assert (found.workload_kind, found.workload) == expected


def test_pod_without_an_address_of_its_own_is_no_mesh_pod() -> None:
    """Host network and ended pods are never called under their own identity."""
    host, ended = pod("a-1", "10.0.0.1"), pod("b-1", "10.0.0.2")
    host["spec"]["hostNetwork"] = True
    ended["status"]["phase"] = "Succeeded"

    assert [(p.ips, p.mesh) for p in ingest(Objects(host, ended)).pods.values()] == [((), False), ((), False)]


@pytest.mark.parametrize("where", ["initContainers", "containers"])
def test_pod_with_our_sidecar_is_in_the_mesh_though_its_label_is_gone(where: str) -> None:
    """`kubectl debug --copy-to` drops labels; the copy's sidecar asks for its configuration and would wait for ever."""
    copy = pod("copy-1", "10.0.0.9", mesh=False)
    copy["spec"][where] = [*copy["spec"].get(where, ()), {"name": "tulle-proxy"}]

    assert ingest(Objects(copy)).pods[Key("shop", "copy-1")].mesh


def test_unreadable_object_is_a_problem_and_the_rest_goes_on() -> None:
    """A wrong shape costs only its own object, and is told with its path."""
    bad, odd = route("bad"), service("odd", "10.96.0.9", HTTP, {"name": "x", "port": 70000})
    bad["spec"]["parentRefs"] = "web"
    model = ingest(Objects(bad, odd, service("good", "10.96.0.1", HTTP), route("good")))

    assert list(model.services) == [Key("shop", "good")]
    assert list(model.routes) == [RouteKey("HTTPRoute", "shop", "good")]
    assert [str(p) for p in model.problems] == [
        "HTTPRoute shop/bad: spec.parentRefs must be a list",
        "Service shop/odd: spec.ports[1].port is 70000, ports go from 1 to 65535",
    ]


def test_half_a_character_is_no_text() -> None:
    """JSON can name a lone surrogate; nothing could be sent with one inside."""
    broken = route("r", {"backendRefs": [to("we\ud800b")]})
    found = ingest(Objects(broken)).routes[RouteKey("HTTPRoute", "shop", "r")]

    assert found.rules[0].error == "spec.rules[0].backendRefs[0].name must be text"


def test_route_without_service_parents_is_not_ours() -> None:
    """A gateway's route is left to the gateway's controller."""
    model = ingest(Objects(route("theirs", parents=[{"name": "gateway"}])))

    assert model.routes == {}
    assert model.problems == ()


def test_bad_rule_is_kept_in_its_place_with_the_reason() -> None:
    """One filter nobody carries out does not take the whole route with it."""
    bad = {"filters": [{"type": "CORS", "cors": {}}], "backendRefs": [to("web")]}
    found = ingest(Objects(route("r", {"backendRefs": [to("web")]}, bad))).routes[RouteKey("HTTPRoute", "shop", "r")]

    assert found.rules[0].error == ""
    assert found.rules[1].error == "the filter CORS at spec.rules[1].filters[0] is not supported"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}, "no regular expression"),
        (
            {"matches": [{"path": {"type": "RegularExpression", "value": "/(?=a)"}}]},
            "as RE2 reads them: invalid perl operator: (?=",
        ),
        (
            {"matches": [{"headers": [{"name": "a", "type": "RegularExpression", "value": "(a)\\1"}]}]},
            "as RE2 reads them",
        ),
        ({"matches": [{"path": {"value": "x"}}]}, "a path begins with /"),
        ({"matches": [{"path": {"type": "Glob"}}]}, "'Glob' is not supported"),
        ({"timeouts": {"request": "soon"}}, "a duration looks like"),
        ({"backendRefs": [{"name": "web", "port": 80, "weight": -1}]}, "weights go from 0"),
        ({"backendRefs": [{"name": "web", "port": 99999}]}, "ports go from 1"),
        *(
            ({"filters": [{"type": kind, kind[0].lower() + kind[1:]: change}]}, f"header '{name}' cannot be changed")
            for kind in ("RequestHeaderModifier", "ResponseHeaderModifier")
            for name in (":path", "Host", "Connection", "TE", "Content-Length", "transfer-encoding", "Upgrade")
            for change in ({"remove": [name]}, {"add": [{"name": name, "value": "1"}]})
        ),
        (
            {
                "backendRefs": [
                    {
                        "name": "web",
                        "port": 80,
                        "filters": [
                            {
                                "type": "RequestHeaderModifier",
                                "requestHeaderModifier": {"set": [{"name": "Keep-Alive", "value": "1"}]},
                            }
                        ],
                    }
                ]
            },
            "header 'Keep-Alive' cannot be changed",
        ),
        (
            {
                "matches": [{"path": {"type": "Exact", "value": "/x"}}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch"}}}],
            },
            "needs every match of its rule to be a PathPrefix",
        ),
        *(
            ({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": change}]}, said)
            for change, said in (
                ({"remove": ["x\ny"]}, "no name of a header"),
                ({"set": [{"name": "x y", "value": "1"}]}, "no name of a header"),
                ({"add": [{"name": "x", "value": "1\r\nHost: evil"}]}, "holds a line break or a zero byte"),
                ({"add": [{"name": "x", "value": "\0"}]}, "holds a line break or a zero byte"),
            )
        ),
        ({"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a\nb"}}]}, "a space or a control character"),
        (
            {
                "filters": [
                    {
                        "type": "RequestRedirect",
                        "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a b"}},
                    }
                ]
            },
            "a space or a control character",
        ),
        ({"retry": {"codes": [200]}}, "status code from 400"),
        ({"sessionPersistence": {}}, "sessionPersistence is not supported"),
    ],
)
def test_rule_that_cannot_be_carried_out_says_why(rule: dict[str, Any], said: str) -> None:
    """Each reason is a sentence about the place it is in."""
    found = ingest(Objects(route("r", rule))).routes[RouteKey("HTTPRoute", "shop", "r")]

    assert said in found.rules[0].error


@pytest.mark.parametrize(
    ("match", "left"),
    [
        ({"path": {"type": "RegularExpression", "value": "/v-1/(?=a)"}}, [("/v\\-1/.*", ())]),
        ({"path": {"type": "RegularExpression", "value": "/(?=a)"}}, [("/.*", ())]),
        ({"path": {"type": "RegularExpression", "value": "(?=/a).*"}}, [(".*", ())]),
        ({"path": {"type": "RegularExpression", "value": "/a" + 1023 * "(b)"}}, [("/a.*", ())]),
        (
            {"path": {"value": "/"}, "headers": [{"name": "a", "type": "RegularExpression", "value": "(?=a)"}]},
            [("/", (("a", ".*"),))],
        ),
    ],
)
def test_rule_with_a_pattern_nobody_can_read_keeps_its_requests(
    match: dict[str, Any], left: list[tuple[str, Any]]
) -> None:
    """It was taken before an upgrade: what may have been its requests is answered with an error, and goes to no other rule."""
    both = {"matches": [match, {"path": {"value": "/kept"}}]}
    found = ingest(Objects(route("r", both))).routes[RouteKey("HTTPRoute", "shop", "r")].rules[0]
    read = [(m.path, tuple((name, value.value) for name, value in m.headers)) for m in found.matches]

    assert "as RE2 reads them" in found.error or "1024 are the most" in found.error
    assert found.lost
    assert read == [*left, ("/kept", ())]


@pytest.mark.parametrize(
    ("kind", "parents", "match", "said"),
    [
        ("HTTPRoute", None, {"path": {"type": "RegularExpression", "value": "/(?=a)"}}, 1),
        ("HTTPRoute", None, {"headers": [{"name": "a", "type": "RegularExpression", "value": "("}]}, 1),
        ("GRPCRoute", None, {"method": {"type": "RegularExpression", "service": "(?=a)"}}, 1),
        ("HTTPRoute", None, {"path": {"type": "RegularExpression", "value": "/a+"}}, 0),
        ("HTTPRoute", None, {"path": {"type": "Glob", "value": "/a+"}}, 0),
        ("HTTPRoute", [{"name": "gate"}], {"path": {"type": "RegularExpression", "value": "/(?=a)"}}, 0),
        ("TLSRoute", None, {"path": {"type": "RegularExpression", "value": "/(?=a)"}}, 0),
    ],
)
def test_admission_is_told_of_refused_patterns_of_attached_routes(
    kind: str, parents: list[Any] | None, match: dict[str, Any], said: int
) -> None:
    """Those of gateways are their controllers' business, and what else is wrong is told in the status."""
    obj = route("r", {"matches": [match]}, kind=kind, **({"parents": parents} if parents else {}))
    found = refused_patterns(Cursor(obj))

    assert [one.partition(".matches")[0] for one in found] == ["spec.rules[0]"] * said


def test_prefix_is_read_by_path_segment_and_duplicate_headers_once() -> None:
    """`/a/` is `/a`, header names have no case and the first of equal ones counts (HTTPRouteMatch)."""
    match = {
        "path": {"type": "PathPrefix", "value": "/a/"},
        "headers": [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}],
    }
    found = ingest(Objects(route("r", {"matches": [match]}))).routes[RouteKey("HTTPRoute", "shop", "r")]
    read = found.rules[0].matches[0]

    assert (read.path_kind, read.path) == (PathKind.PREFIX, "/a")
    assert [(name, value.value) for name, value in read.headers] == [("x-a", "1")]


def test_grpc_match_is_read_as_a_path() -> None:
    """A call is a request to `/<service>/<method>`."""
    calls = [{"service": "a.B", "method": "C"}, {"service": "a.B"}, {"method": "C"}, {}]
    rules = {"matches": [{"method": call} for call in calls]}
    found = ingest(Objects(route("r", rules, kind="GRPCRoute"))).routes[RouteKey("GRPCRoute", "shop", "r")]

    assert [(m.path_kind, m.path) for m in found.rules[0].matches] == [
        (PathKind.EXACT, "/a.B/C"),
        (PathKind.PREFIX, "/a.B"),
        (PathKind.REGEX, "/[^/]+/C"),
        (PathKind.PREFIX, "/"),
    ]


def test_mesh_settings_are_read_from_the_one_named_default() -> None:
    """Others are told that they are not read."""
    spec = {"mtls": {"mode": "STRICT"}, "outbound": "DENY", "detectionTimeout": "1m500ms", "accessLog": "ON"}
    model = ingest(
        Objects(
            {"kind": "Mesh", "metadata": {"name": "default", "generation": 3}, "spec": spec},
            {"kind": "Mesh", "metadata": {"name": "other"}, "spec": {}},
        )
    )

    assert model.mesh.mode is Mode.STRICT
    assert not model.mesh.outbound_allowed
    assert model.mesh.detection_timeout == 60.5
    assert model.mesh.access_log
    assert [p.name for p in model.problems] == ["other"]


def test_unknown_policy_target_is_a_problem() -> None:
    """A policy that could never apply is told so, with what could."""
    model = ingest(Objects(peer_authentication("p", "STRICT", ("", "Ingress", "x"))))

    assert model.authentications == {}
    assert "allowed are CronJob" in model.problems[0].message


def test_kinds_without_news_keep_their_mapping() -> None:
    """Identity is how the compiler knows what to leave alone."""
    objects = shop()
    first = ingest(objects)
    objects.apply(pod("new-1", "10.0.0.99"), dict(objects.held["Service", "shop", "web"]))
    second = ingest(objects, first)

    assert second.services is first.services
    assert second.slices is first.slices
    assert second.routes is first.routes
    assert second.pods is not first.pods
    assert all(second.pods[key] is noun for key, noun in first.pods.items())


def test_repaired_object_takes_its_problem_away() -> None:
    """Problems live as long as their cause."""
    objects = Objects(service("web", "10.96.0.1", HTTP))
    good = objects.held["Service", "shop", "web"]
    objects.apply({**good, "spec": {"ports": [{"port": 70000}]}})
    bad = ingest(objects)
    objects.apply(good)
    repaired = ingest(objects, bad)

    assert len(bad.problems) == 1
    assert repaired.problems == ()
    assert list(repaired.services) == [Key("shop", "web")]


def test_removed_object_is_gone() -> None:
    """What is not in the store is not in the model."""
    objects = shop()
    first = ingest(objects)
    objects.remove("Pod", "shop", "web-1")

    assert Key("shop", "web-1") not in ingest(objects, first).pods


def test_creation_time_may_be_a_datetime() -> None:
    """YAML parsers make one of it."""
    written = route("r", created=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    found = ingest(Objects(written)).routes[RouteKey("HTTPRoute", "shop", "r")]

    assert found.created == "2026-01-02T00:00:00Z"


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Service", "/a", "80", ""])
)
_FIELDS = [
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "annotations",
    "ports",
    "port",
    "protocol",
    "clusterIP",
    "clusterIPs",
    "rules",
    "matches",
    "path",
    "value",
    "type",
    "headers",
    "backendRefs",
    "weight",
    "filters",
    "requestMirror",
    "backendRef",
    "parentRefs",
    "group",
    "kind",
    "hostnames",
    "targetRefs",
    "mtls",
    "mode",
    "portLevel",
    "endpoints",
    "addresses",
    "conditions",
    "ready",
    "targetRef",
    "podIPs",
    "ip",
    "containers",
    "containerPort",
    "ownerReferences",
    "timeouts",
    "request",
    "retry",
    "codes",
]
_TREES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), _TREES, _TREES)
def test_no_object_whatsoever_raises(kind: str, metadata: Any, spec: Any) -> None:
    """User YAML of any shape ends as a noun, a problem or nothing, and whatever is read compiles."""
    extra = metadata if isinstance(metadata, dict) else {}
    slice_parts = spec if isinstance(spec, dict) else {}
    raw = {**slice_parts, "kind": kind, "metadata": {**extra, "name": "x", "namespace": "y"}, "spec": spec}
    objects = shop()
    with contextlib.suppress(msgspec.ValidationError):  # then the feed cannot read it either
        objects.apply(raw)
    objects.apply(endpoint_slice("x"))

    snapshot = compile_mesh(ingest(objects))
    assert snapshot.faults == {}  # what raises is caught, and told there
    assert snapshot.problems() == []
