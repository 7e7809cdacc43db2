"""A pattern that RE2 refuses costs the rule it stands in: the route answers 500, the policy lets nobody through, whatever stands before them holds."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dataplane.config import (
    Condition,
    DirectResponse,
    Forward,
    HeaderChange,
    Policy,
    Route,
    RouteMatch,
    RouteTable,
    Rules,
    StringMatch,
)
from dataplane.protocol.events import RequestHead
from dataplane.tables.routes import RouteIndex
from dataplane.xds.decode import Notes, RefusedError, decode_message
from meshapi import protos
from meshapi.xds import Type
from tests.dataplane.xds.test_xds_decode import ROUTER, Object, listener, manager, read, table
from tests.dataplane.xds.test_xds_decode_rbac import ANY, HTTP, rules

BAD = "/api/(?=v)[a-z]+"


def noted(type_: Type, value: Object) -> tuple[Any, list[str]]:
    notes = Notes()
    return decode_message(type_, protos.from_dict(type_.url.rpartition("/")[2], value), notes), notes.lost


def routes(*matches: Object, **action: Any) -> tuple[list[Route], list[str]]:
    value = table({"prefix": "/"})
    kept = value["virtual_hosts"][0]["routes"]
    kept[:0] = [{"match": match, **(action or {"route": {"cluster": "c"}})} for match in matches]
    found, lost = noted(Type.ROUTES, value)
    return list(found.hosts[0].routes), lost


@pytest.mark.parametrize(
    ("match", "left"),
    [
        ({"safe_regex": {"regex": BAD}}, RouteMatch(prefix="/api/")),
        (
            {"path_separated_prefix": "/a", "headers": [{"name": "x", "string_match": {"safe_regex": {"regex": BAD}}}]},
            RouteMatch(separated_prefix="/a", headers=(("x", StringMatch(present=True)),)),
        ),
        (
            {
                "prefix": "/a",
                "headers": [{"name": "x", "invert_match": True, "string_match": {"safe_regex": {"regex": BAD}}}],
            },
            RouteMatch(prefix="/a"),
        ),
        (
            {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"safe_regex": {"regex": BAD}}}]},
            RouteMatch(prefix="/", query=(("q", StringMatch(present=True)),)),
        ),
        (
            {"safe_regex": {"regex": "(?=a)"}, "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]},
            RouteMatch(prefix="", method=StringMatch(exact="PUT")),
        ),
    ],
)
def test_route_with_a_pattern_nobody_can_read_answers_itself(match: Object, left: RouteMatch) -> None:
    """For all requests the pattern can have meant, so that none goes where it was not to go; the route behind it is unharmed."""
    (lost, kept), said = routes(match)

    assert lost.match == left
    assert isinstance(lost.action, DirectResponse)
    assert (lost.action.status, lost.action.body[:30]) == (500, b"A pattern of this route cannot")
    assert isinstance(kept.action, Forward)
    assert [one.partition("as RE2 reads them")[0][:22] for one in said] == ["route configuration t,"]


@pytest.mark.parametrize(("bad", "prefix"), [("(?=/a).*", ""), ("/(?=a).*", "/"), ("/a|(?=b)", "")])
def test_route_whose_requests_nobody_can_tell_takes_all_that_come_to_it(bad: str, prefix: str) -> None:
    """A route behind it may be laxer; those before it are unharmed (decision 0017)."""
    (lost, _), said = routes({"safe_regex": {"regex": bad}})

    assert lost.match == RouteMatch(prefix=prefix)
    assert isinstance(lost.action, DirectResponse)
    assert len(said) == 1


def test_route_whose_rewrite_cannot_be_made_answers_itself() -> None:
    """Its requests are known."""
    rewrite = {"pattern": {"regex": "(?=a)"}, "substitution": "b"}
    (lost, _), said = routes({"prefix": "/x"}, route={"cluster": "c", "regex_rewrite": rewrite})

    assert (lost.match, len(said)) == (RouteMatch(prefix="/x"), 1)
    assert isinstance(lost.action, DirectResponse)


def test_other_routes_of_the_table_work() -> None:
    """Judged by the compiled table."""
    found, _ = noted(Type.ROUTES, table({"safe_regex": {"regex": BAD}}))
    both = RouteTable(name="t", hosts=found.hosts)
    head = RequestHead(0, b"GET", b"http", b"h", b"/other", [], True, 11)
    lost = RequestHead(0, b"GET", b"http", b"h", b"/api/v", [], True, 11)

    assert RouteIndex(both).match(head) is None
    row = RouteIndex(both).match(lost)
    assert row is not None
    assert row.direct is not None


def judged(permissions: list[Object], action: str) -> tuple[Rules | None, list[str]]:
    value = {"action": action, "policies": {"p": {"permissions": permissions, "principals": [ANY]}}}
    rbac = {"name": "r", "typed_config": {"@type": f"type.googleapis.com/{HTTP}", "rules": value}}
    found, said = noted(Type.LISTENER, listener(manager(http_filters=[rbac, ROUTER])))
    return found.chains[0].filter.authorization[0].rules, said


UNREADABLE: Object = {"url_path": {"path": {"safe_regex": {"regex": BAD}}}}
GOOD: Object = {"url_path": {"path": {"exact": "/a"}}}
IS_A = Condition(path=StringMatch(exact="/a"))


@pytest.mark.parametrize("bad", [UNREADABLE, {"not_rule": UNREADABLE}, {"and_rules": {"rules": [UNREADABLE, GOOD]}}])
def test_rule_with_a_pattern_nobody_can_read_fails_closed(bad: Object) -> None:
    """To deny, it holds always; to allow, never."""
    denied, said = judged([bad, GOOD], "DENY")
    allowed, _ = judged([bad, GOOD], "ALLOW")
    nothing, _ = judged([bad], "ALLOW")

    assert denied == Rules(
        deny=True, policies=(Policy(name="p", permissions=(Condition(), IS_A), principals=(Condition(),)),)
    )
    assert allowed == Rules(deny=False, policies=(Policy(name="p", permissions=(IS_A,), principals=(Condition(),)),))
    assert nothing == Rules(deny=False, policies=())
    assert len(said) == 1
    assert "policy p, permissions" in said[0]


def test_file_with_a_lost_rule_is_refused() -> None:
    """Whoever wrote it is there to mend it."""
    with pytest.raises(RefusedError, match="as RE2 reads them"):
        read(Type.ROUTES, table({"safe_regex": {"regex": BAD}}))
    with pytest.raises(RefusedError, match="as RE2 reads them"):
        read(
            Type.LISTENER,
            listener(
                manager(
                    http_filters=[
                        {
                            "name": "r",
                            "typed_config": {"@type": f"type.googleapis.com/{HTTP}", "rules": rules(UNREADABLE)},
                        },
                        ROUTER,
                    ]
                )
            ),
        )


@pytest.mark.parametrize(
    "name", ["Host", "connection", "Content-Length", "TE", "Transfer-Encoding", "keep-alive", "Upgrade"]
)
@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("where", ["table", "host", "route", "target"])
def test_header_change_that_is_not_made_is_said_and_costs_itself_alone(name: str, side: str, where: str) -> None:
    """These are how a message is framed and where it goes: the codec writes them. What else the table says is in force."""
    change = {
        f"{side}_headers_to_add": [{"header": {"key": one, "value": "1"}} for one in ("x-a", name)],
        f"{side}_headers_to_remove": ["x-b", name],
    }
    value = table({"prefix": "/"}, route={"weighted_clusters": {"clusters": [{"name": "c", "weight": 1}]}})
    host = value["virtual_hosts"][0]
    route = host["routes"][0]
    target = route["route"]["weighted_clusters"]["clusters"][0]
    {"table": value, "host": host, "route": route, "target": target}[where].update(change)
    found, lost = noted(Type.ROUTES, value)

    assert len(lost) == 2
    for sentence in lost:
        assert re.match(rf"route configuration t.*: header '{name}' is changed by no modification", sentence)
    kept = HeaderChange(add=(("x-a", "1"),), remove=("x-b",))
    read = found.hosts[0].routes[0]
    changed = {"table": found, "target": read.action.targets[0]}.get(where, read)
    assert getattr(changed, f"{side}_headers") == kept
    with pytest.raises(RefusedError, match=name):
        decode_message(Type.ROUTES, protos.from_dict(Type.ROUTES.url.rpartition("/")[2], value))
