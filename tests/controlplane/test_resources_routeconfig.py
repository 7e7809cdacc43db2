"""A route's rules, read back by the sidecar's own decoders: matches, header changes, times, rewrites, redirects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.resources.build import Client
from dataplane import config as nouns
from meshapi.xds import Type
from tests.controlplane.reading import WEB_1, built, compiled
from tests.support.meshobjects import Object, route, to


def rows(*rules: Object, client: Client = WEB_1) -> tuple[nouns.Route, ...]:
    table = built(compiled(route("r", *rules)), Type.ROUTES, "shop/web:80", client)
    routes: tuple[nouns.Route, ...] = table.hosts[0].routes
    return routes


def row(**rule: Any) -> nouns.Route:
    (only,) = rows({"backendRefs": [to("web")], **rule})
    return only


def test_match_comes_out_as_it_went_in() -> None:
    """Path, method, headers and query parameters."""
    found = row(
        matches=[
            {
                "path": {"type": "Exact", "value": "/x"},
                "method": "POST",
                "headers": [{"name": "X-A", "value": "1"}, {"name": "b", "type": "RegularExpression", "value": "2+"}],
                "queryParams": [{"name": "Q", "value": "3"}],
            }
        ]
    )

    assert found.match == nouns.RouteMatch(
        path="/x",
        method=nouns.StringMatch(exact="POST"),
        headers=(("x-a", nouns.StringMatch(exact="1")), ("b", nouns.StringMatch(regex="2+"))),
        query=(("Q", nouns.StringMatch(exact="3")),),
    )
    assert found.name == "HTTPRoute/shop/r#0"


def test_header_changes_come_out_as_they_went_in() -> None:
    """A percent sign is no command."""
    change = {"set": [{"name": "A", "value": "100%"}], "add": [{"name": "B", "value": "x"}], "remove": ["C"]}
    found = row(
        filters=[
            {"type": "RequestHeaderModifier", "requestHeaderModifier": change},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": change},
        ]
    )
    expected = nouns.HeaderChange(set=(("A", "100%"),), add=(("B", "x"),), remove=("C",))

    assert found.request_headers == expected
    assert found.response_headers == expected


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        ({}, 0.0),
        ({"request": "1s"}, 1.0),
        ({"backendRequest": "300ms"}, 0.3),
        ({"request": "1s", "backendRequest": "300ms"}, 0.3),
        ({"request": "0s", "backendRequest": "2s"}, 2.0),
    ],
)
def test_timeout_without_retry_is_the_shorter_one(timeouts: Object, expected: float) -> None:
    """No timeout is said to be none, for silence means 15 s to Envoy."""
    action = row(timeouts=timeouts).action
    assert isinstance(action, nouns.Forward)

    assert action.timeout == expected


def test_retry_is_written_with_its_codes_and_time_for_each_try() -> None:
    """Connection failures are retried too."""
    action = row(
        retry={"codes": [503], "attempts": 3, "backoff": "10ms"}, timeouts={"request": "1s", "backendRequest": "200ms"}
    ).action
    assert isinstance(action, nouns.Forward)

    assert action.timeout == 1.0
    assert action.retry == nouns.RetryPolicy(
        on=frozenset({"connect-failure", "refused-stream", "reset", "retriable-status-codes"}),
        codes=frozenset({503}),
        attempts=3,
        per_try_timeout=0.2,
        backoff=(0.01, 0.1),
    )


def rewrite(prefix: str, value: str) -> tuple[nouns.Route, ...]:
    change = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}}
    return rows(
        {
            "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
            "filters": [{"type": "URLRewrite", "urlRewrite": change}],
            "backendRefs": [to("web")],
        }
    )


def rewritten(routes: tuple[nouns.Route, ...], path: str) -> str | None:
    """Apply a rewrite as Envoy does: the matched text is replaced."""
    for one in routes:
        assert isinstance(one.action, nouns.Forward)
        matched = one.match.path or one.match.separated_prefix or one.match.prefix or ""
        if one.match.path is not None:
            hit = path == matched
        elif one.match.separated_prefix is not None:
            hit = path == matched or path.startswith(matched + "/")
        else:
            hit = path.startswith(matched)
        if hit:
            return (one.action.prefix_rewrite or "") + path[len(matched) :]
    return None


@pytest.mark.parametrize(
    ("prefix", "value", "path", "expected"),
    [
        # The table in HTTPPathModifier.
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo/", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "", "/foo/", "/"),
        ("/foo", "", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/foo", "/", "/foo", "/"),
        ("/", "/xyz", "/a/b", "/xyz/a/b"),
        ("/foo", "/xyz", "/foobar", None),
    ],
)
def test_replaced_prefix_gives_the_path_of_the_specification(
    prefix: str, value: str, path: str, expected: str | None
) -> None:
    """No doubled and no missing slash."""
    assert rewritten(rewrite(prefix, value), path) == expected


def test_full_path_and_host_are_rewritten() -> None:
    """A backslash in the new path is itself."""
    change = {"hostname": "inner", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/new\\1"}}
    action = row(filters=[{"type": "URLRewrite", "urlRewrite": change}]).action
    assert isinstance(action, nouns.Forward)

    assert action.host_rewrite == "inner"
    assert action.regex_rewrite == ("^/.*$", "/new\\\\1")


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ({}, nouns.Redirect()),
        ({"scheme": "https"}, nouns.Redirect(scheme="https", port=443)),
        ({"scheme": "https", "port": 8443, "statusCode": 301}, nouns.Redirect(scheme="https", port=8443, status=301)),
        ({"hostname": "h", "statusCode": 308}, nouns.Redirect(host="h", status=308)),
        (
            {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}, "statusCode": 307},
            nouns.Redirect(path="/x", status=307),
        ),
        (
            {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}, "statusCode": 303},
            nouns.Redirect(prefix="/x/", status=303),
        ),
    ],
)
def test_redirect_comes_out_as_it_went_in(redirect: Object, expected: nouns.Redirect) -> None:
    """A scheme brings its well-known port."""
    assert row(filters=[{"type": "RequestRedirect", "requestRedirect": redirect}], backendRefs=[]).action == expected


def test_mirrors_and_backend_headers_come_out_as_they_went_in() -> None:
    """A single backend with headers of its own is written as a split of one."""
    headers = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to("api"), "percent": 25}}
    action = row(filters=[mirror], backendRefs=[to("web", filters=[headers])]).action
    assert isinstance(action, nouns.Forward)

    assert action.mirrors == (("shop/api:80", 0.25),)
    assert action.targets[0].request_headers == nouns.HeaderChange(remove=("x",))


_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_PATHS = st.builds("/{}".format, _VALUES)
_RULES = st.fixed_dictionaries(
    {},
    optional={
        "matches": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "path": st.fixed_dictionaries({"type": st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]), "value": _PATHS}),
                    "method": _VALUES,
                    "headers": st.lists(st.fixed_dictionaries({"name": _VALUES, "value": _VALUES}), max_size=2),
                    "queryParams": st.lists(st.fixed_dictionaries({"name": _VALUES, "value": _VALUES}), max_size=2),
                },
            ),
            max_size=2,
        ),
        "backendRefs": st.lists(st.sampled_from([to("web"), to("api", weight=0), to("no"), to("api", weight=1000000)]), max_size=3),
        "timeouts": st.fixed_dictionaries({"request": st.sampled_from(["0s", "99999h", "1ms"])}),
        "filters": st.lists(
            st.one_of(
                st.builds(lambda v: {"type": "URLRewrite", "urlRewrite": {"hostname": v, "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": v}}}, _VALUES),
                st.builds(lambda v: {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": v, "value": v}], "remove": [v]}}, _VALUES),
                st.builds(lambda v: {"type": "RequestRedirect", "requestRedirect": {"hostname": v}}, _VALUES),
            ),
            max_size=2,
        ),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(_RULES, max_size=3), st.sampled_from(["HTTPRoute", "GRPCRoute"]))
def test_whatever_a_route_says_the_sidecar_can_use(rules: list[Object], kind: str) -> None:
    """Built routes always decode: what is wrong with a rule is settled before it travels."""
    built(compiled(route("r", *rules, kind=kind)), Type.ROUTES, "shop/web:80")
