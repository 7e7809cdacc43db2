"""Routes of several objects merged: who applies where, in which order, and what each is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from controlplane.compiler.attach import PRODUCER, attach
from controlplane.compiler.conditions import merge_parents
from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import Answer, Condition, Forward, MeshSnapshot, PortKey, PortRoutes
from controlplane.ingest.assemble import ingest
from controlplane.model.meta import Key, RouteKey
from meshapi.names import CONTROLLER_NAME
from tests.support.meshobjects import HTTP, Object, route, service, shop, to

WEB = PortKey("shop", "web", 80)


def compiled(*more: Object) -> MeshSnapshot:
    objects = shop()
    objects.apply(*more)
    made = compile_mesh(ingest(objects))
    assert made.problems() == []
    return made


def producer(snapshot: MeshSnapshot, port: PortKey = WEB) -> PortRoutes:
    found = snapshot.traffic[port].producer
    assert found is not None
    return found


def conditions(
    snapshot: MeshSnapshot, name: str, kind: str = "HTTPRoute", namespace: str = "shop"
) -> dict[str, Condition]:
    (status,) = snapshot.route_statuses[RouteKey(kind, namespace, name)]
    return {one.type: one for one in status.conditions}


def path(value: str, kind: str = "PathPrefix", **more: Any) -> Object:
    return {"path": {"type": kind, "value": value}, **more}


def header(name: str) -> Object:
    return {"name": name, "value": "1"}


def test_rows_are_in_the_order_of_the_specification() -> None:
    """Exact, longest prefix, method, headers, query parameters; whatever the order of the rules."""
    query = {"queryParams": [header("q")]}
    matches = [
        path("/"),
        path("/a", **query),
        path("/a", headers=[header("x")]),
        path("/a", headers=[header("x"), header("y")]),
        path("/a", method="GET"),
        path("/a/b"),
        path("/a", "Exact"),
    ]
    snapshot = compiled(route("r", *({"matches": [match], "backendRefs": [to("web")]} for match in matches)))

    assert [row.rule for row in producer(snapshot).rows] == [6, 5, 4, 3, 2, 1, 0]


def test_ties_go_to_the_older_route_then_by_name_then_to_the_first_rule() -> None:
    """Two routes that say the same are no matter of chance."""
    rule = {"backendRefs": [to("web")]}
    snapshot = compiled(
        route("b", rule, created="2026-01-02T00:00:00Z"),
        route("a", rule, rule, created="2026-01-02T00:00:00Z"),
        route("z", rule, created="2026-01-01T00:00:00Z"),
    )

    assert [(row.route.name, row.rule) for row in producer(snapshot).rows] == [("z", 0), ("a", 0), ("a", 1), ("b", 0)]


def test_grpc_calls_are_ordered_by_service_and_method() -> None:
    """The longer service, then the longer method, then headers (GRPCRoute)."""
    calls = [{}, {"service": "a.B"}, {"service": "a.B", "method": "C"}, {"service": "a.Long"}]
    matches = [{"method": call} for call in calls]
    snapshot = compiled(
        route("r", *({"matches": [match], "backendRefs": [to("web")]} for match in matches), kind="GRPCRoute")
    )

    assert [row.rule for row in producer(snapshot).rows] == [3, 2, 1, 0]


def test_backend_that_is_missing_keeps_its_share_and_answers_500() -> None:
    """Nothing is moved to its siblings; status names it and the route stays accepted."""
    snapshot = compiled(route("r", {"backendRefs": [to("web", weight=3), to("nobody")]}))
    action = producer(snapshot).rows[0].action
    told = conditions(snapshot, "r")

    assert isinstance(action, Forward)
    assert [(t.cluster, t.weight) for t in action.targets] == [("shop/web:80", 3), ("invalid", 1)]
    assert action.unresolved_status == 500
    assert told["Accepted"].status
    assert (told["ResolvedRefs"].status, told["ResolvedRefs"].reason) == (False, "BackendNotFound")
    assert "shop/nobody" in told["ResolvedRefs"].message


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (to("web", port=81), "BackendNotFound"),
        ({"name": "web"}, "BackendNotFound"),
        (to("web", kind="Bucket"), "InvalidKind"),
        (to("web", group="example.com"), "InvalidKind"),
        (to("outside"), "InvalidKind"),
    ],
)
def test_reference_that_leads_nowhere_says_how(backend: Object, reason: str) -> None:
    """Each kind of mistake has the specification's reason."""
    outside = service("outside", "10.96.0.9", HTTP)
    outside["spec"]["type"] = "ExternalName"
    snapshot = compiled(outside, route("r", {"backendRefs": [backend]}))

    assert conditions(snapshot, "r")["ResolvedRefs"].reason == reason


@pytest.mark.parametrize("backends", [[], [to("web", weight=0)]])
@pytest.mark.parametrize(("kind", "status"), [("HTTPRoute", 500), ("GRPCRoute", 503)])
def test_rule_without_weight_answers_an_error(backends: list[Object], kind: str, status: int) -> None:
    """No backend, or none with weight: 500, which for gRPC is UNAVAILABLE by way of 503."""
    snapshot = compiled(route("r", {"backendRefs": backends}, kind=kind))

    action = producer(snapshot).rows[0].action
    assert isinstance(action, Answer)
    assert (action.status, action.why) == (status, "has no backend with a weight")
    assert conditions(snapshot, "r", kind)["ResolvedRefs"].status


def test_rule_that_cannot_be_carried_out_answers_500_and_is_told() -> None:
    """A filter is never skipped: what it guards would go unguarded."""
    bad = {"matches": [path("/x")], "filters": [{"type": "ExtensionRef"}], "backendRefs": [to("web")]}
    snapshot = compiled(route("r", {"backendRefs": [to("web")]}, bad))
    told = conditions(snapshot, "r")

    action = producer(snapshot).rows[0].action
    assert isinstance(action, Answer)
    assert (action.status, action.why) == (500, "cannot be carried out, and the route's status says why")
    assert told["Accepted"].status
    assert told["PartiallyInvalid"].status
    assert told["PartiallyInvalid"].message.startswith("Dropped Rule 1: the filter ExtensionRef")


def test_rule_with_a_pattern_nobody_can_read_keeps_its_place() -> None:
    """What answers for it stands where the pattern stood, by the length it was written with: a laxer rule does not get there first."""
    bad = {"matches": [path("/a(?=b)/[0-9]+", "RegularExpression")], "backendRefs": [to("web")]}
    laxer = {"matches": [path("/a.*/[0-9]+", "RegularExpression"), path("/")], "backendRefs": [to("api")]}
    before = {"matches": [path("/a/1", "Exact")], "backendRefs": [to("api")]}
    rows = producer(compiled(route("r", laxer, bad, before))).rows

    assert [row.match.path for row in rows] == ["/a/1", "/a.*", "/a.*/[0-9]+", "/"]
    assert isinstance(rows[1].action, Answer)


def test_route_of_nothing_but_patterns_nobody_can_read_holds_nevertheless() -> None:
    """Without it its requests would go to the Service as if nobody had said anything of them."""
    bad = {"matches": [path("(?!/admin).*", "RegularExpression")], "backendRefs": [to("web")]}
    snapshot = compiled(route("r", bad))
    told = conditions(snapshot, "r")["Accepted"]

    assert [type(row.action) for row in producer(snapshot).rows] == [Answer]
    assert (told.status, told.reason) == (False, "UnsupportedValue")
    assert told.message.endswith("Requests that may be theirs are answered with an error.")


def test_route_of_nothing_but_bad_rules_is_not_accepted() -> None:
    """Then traffic goes on as without it."""
    snapshot = compiled(route("r", {"filters": [{"type": "CORS"}]}))

    assert WEB not in snapshot.traffic
    assert (conditions(snapshot, "r")["Accepted"].status, conditions(snapshot, "r")["Accepted"].reason) == (
        False,
        "UnsupportedValue",
    )


def test_consumer_routes_are_for_their_own_namespace_instead_of_the_producers() -> None:
    """GEP-1294: no merging across the two classes."""
    snapshot = compiled(
        route("made", {"backendRefs": [to("web")]}),
        route("mine", {"backendRefs": [to("api", namespace="shop")]}, namespace="other"),
    )
    traffic = snapshot.traffic[WEB]

    assert [row.route.name for row in (traffic.seen_from("other") or producer(snapshot)).rows] == ["mine"]
    assert [row.route.name for row in (traffic.seen_from("shop") or PortRoutes(kind="")).rows] == ["made"]
    assert conditions(snapshot, "mine", namespace="other")["ResolvedRefs"].status


def test_of_several_kinds_on_a_port_only_one_applies() -> None:
    """GRPCRoute before HTTPRoute before TLSRoute before TCPRoute; the others are told by whom."""
    snapshot = compiled(
        route("http", {"backendRefs": [to("web")]}, created="2025-01-01T00:00:00Z"),
        route("grpc", {"backendRefs": [to("web")]}, kind="GRPCRoute"),
        route("tcp", {"backendRefs": [to("web")]}, kind="TCPRoute"),
    )

    assert producer(snapshot).kind == "GRPCRoute"
    assert conditions(snapshot, "http")["Accepted"].reason == "Conflicted"
    assert "GRPCRoute/shop/grpc" in conditions(snapshot, "http")["Accepted"].message
    assert conditions(snapshot, "tcp", "TCPRoute")["Accepted"].reason == "Conflicted"
    assert conditions(snapshot, "grpc", "GRPCRoute")["Accepted"].status


def test_of_several_tcp_routes_the_oldest_applies() -> None:
    """Connections have nothing else to be told apart by."""
    rule = {"backendRefs": [to("api")]}
    snapshot = compiled(
        service("db", "10.96.0.4", {"name": "tcp", "port": 5432}),
        route("late", rule, kind="TCPRoute", parent="db", created="2026-02-01T00:00:00Z"),
        route("early", rule, kind="TCPRoute", parent="db"),
    )

    assert conditions(snapshot, "early", "TCPRoute")["Accepted"].status
    assert conditions(snapshot, "late", "TCPRoute")["Accepted"].reason == "Conflicted"
    assert len(producer(snapshot, PortKey("shop", "db", 5432)).splits) == 1


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ({"name": "nobody"}, "There is no Service shop/nobody."),
        ({"name": "web", "port": 81}, "Service shop/web has no port 81."),
        ({"name": "web", "sectionName": "https"}, "Service shop/web has no port named 'https'."),
        ({"name": "none"}, "Service shop/none is headless"),
        ({"name": "db"}, "No HTTPRoute can apply to what Service shop/db declares for its ports: 5432 (tcp)."),
    ],
)
def test_parent_that_cannot_take_the_route_says_why(parent: Object, said: str) -> None:
    """`NoMatchingParent`, with a sentence."""
    snapshot = compiled(
        service("db", "10.96.0.4", {"name": "tcp", "port": 5432}),
        service("none", "None", HTTP),
        route("r", {"backendRefs": [to("web")]}, parents=[{"group": "", "kind": "Service", **parent}]),
    )
    told = conditions(snapshot, "r")["Accepted"]

    assert (told.status, told.reason) == (False, "NoMatchingParent")
    assert said in told.message


def test_thousands_of_routes_on_a_port_are_put_together_in_linear_time() -> None:
    """Whoever may write routes in one namespace could hold up everybody for as long: it took 1.6 s with these, and four times that with twice as many."""
    objects = shop()
    objects.apply(*(route(f"r{number}", {"backendRefs": [to("web")]}) for number in range(4000)))
    model, key = ingest(objects), Key("shop", "web")
    began = time.process_time()
    found = attach(key, model.services[key], model.routes.values())

    assert time.process_time() - began < 0.5
    assert len(found.routes[PortKey("shop", "web", 80), PRODUCER]) == 4000


def test_port_and_section_choose_ports_of_the_parent() -> None:
    """Without either, every port is meant."""
    two = service("two", "10.96.0.9", {"name": "http", "port": 80}, {"name": "http-b", "port": 81})
    references: list[Object] = [{"name": "two", "port": 80}, {"name": "two", "sectionName": "http-b"}, {"name": "two"}]
    found = []
    for reference in references:
        parent = {"group": "", "kind": "Service", **reference}
        snapshot = compiled(two, route("r", {"backendRefs": [to("web")]}, parents=[parent]))
        found.append(sorted(port.port for port in snapshot.traffic))

    assert found == [[80], [81], [80, 81]]


def test_mirror_that_leads_nowhere_harms_only_itself() -> None:
    """The primary goes on, status says so."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to("nobody")}}
    snapshot = compiled(route("r", {"filters": [mirror], "backendRefs": [to("web")]}))
    action = producer(snapshot).rows[0].action

    assert isinstance(action, Forward)
    assert action.mirrors == ()
    assert not conditions(snapshot, "r")["ResolvedRefs"].status


OURS: Object = {"group": "", "kind": "Service", "name": "web", "namespace": "shop"}


def test_status_keeps_foreign_entries_and_drops_stale_own_ones() -> None:
    """Only our own part of `status.parents` is ours."""
    snapshot = compiled(route("r", {"backendRefs": [to("web")]}))
    foreign = {"parentRef": {"name": "gw"}, "controllerName": "example.com/other", "conditions": []}
    stale = {"parentRef": {"name": "gone"}, "controllerName": CONTROLLER_NAME, "conditions": []}
    statuses = snapshot.route_statuses[RouteKey("HTTPRoute", "shop", "r")]
    merged = merge_parents([foreign, stale], statuses, generation=2, now="2026-01-01T00:00:00Z")

    assert [one["parentRef"] for one in merged] == [{"name": "gw"}, OURS]
    assert {c["observedGeneration"] for c in merged[1]["conditions"]} == {2}


@pytest.mark.parametrize("turned", [False, True])
def test_order_of_parents_is_left_as_it_is_found(turned: bool) -> None:
    """Whoever sorts otherwise, two controllers write once each: what is right is not written again for its place."""
    snapshot = compiled(route("r", {"backendRefs": [to("web")]}))
    statuses = snapshot.route_statuses[RouteKey("HTTPRoute", "shop", "r")]
    (own,) = merge_parents([], statuses, generation=1, now="T1")
    others = [{"parentRef": {"name": n}, "controllerName": "example.com/other", "conditions": []} for n in "ab"]
    stored = [others[0], own, others[1]]
    stored = stored[::-1] if turned else stored

    assert merge_parents(stored, statuses, generation=1, now="T2") == stored
    assert merge_parents([own, *stored], statuses, generation=1, now="T2") == [own, *(o for o in stored if o != own)]


def test_room_for_parents_is_taken_by_ours_last() -> None:
    """The list holds 32; entries of others are never cut off for it."""
    snapshot = compiled(route("r", {"backendRefs": [to("web")]}))
    statuses = snapshot.route_statuses[RouteKey("HTTPRoute", "shop", "r")]
    others = [
        {"parentRef": {"name": f"g{n}"}, "controllerName": "example.com/other", "conditions": []} for n in range(32)
    ]

    assert merge_parents(others, statuses, generation=1, now="T") == others


def test_status_time_changes_only_with_the_status_and_never_goes_back() -> None:
    """An unchanged condition keeps its time; one written for a newer generation is left alone."""
    snapshot = compiled(route("r", {"backendRefs": [to("web")]}))
    statuses = snapshot.route_statuses[RouteKey("HTTPRoute", "shop", "r")]
    first = merge_parents([], statuses, generation=2, now="T1")
    again = merge_parents(first, statuses, generation=3, now="T2")
    back = merge_parents(again, statuses, generation=1, now="T3")

    assert {c["lastTransitionTime"] for c in again[0]["conditions"]} == {"T1"}
    assert {c["observedGeneration"] for c in back[0]["conditions"]} == {3}
