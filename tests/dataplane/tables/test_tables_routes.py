"""Which row a request takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.config import Forward, Route, RouteMatch, RouteTable, StringMatch, Target, VirtualHost
from dataplane.protocol.events import RequestHead
from dataplane.tables.matching import Matcher, query_value
from dataplane.tables.paths import normal_path
from dataplane.tables.routes import RouteIndex


def head(path: str = "/", method: str = "GET", host: str = "web", **headers: str) -> RequestHead:
    fields = [(k.replace("_", "-").encode(), v.encode(), k.encode()) for k, v in headers.items()]
    return RequestHead(1, method.encode(), b"http", host.encode(), path.encode(), fields, True)


def route(name: str, **match: object) -> Route:
    return Route(match=RouteMatch(**match), action=Forward(targets=(Target(cluster=name),)), name=name)


def table(*routes: Route, domains: tuple[str, ...] = ("*",)) -> RouteIndex:
    return RouteIndex(RouteTable(name="r", hosts=(VirtualHost(domains=domains, routes=routes),)))


def taken(index: RouteIndex, request: RequestHead) -> str:
    row = index.match(request)
    return row.name if row is not None else ""


@pytest.mark.parametrize(
    ("match", "path", "expected"),
    [
        ({"path": "/a"}, "/a", True),
        ({"path": "/a"}, "/a?q=1", True),
        ({"path": "/a"}, "/a/", False),
        ({"separated_prefix": "/a"}, "/a", True),
        ({"separated_prefix": "/a"}, "/a/b", True),
        ({"separated_prefix": "/a"}, "/ab", False),
        ({"separated_prefix": "/a/"}, "/a", True),
        ({"separated_prefix": "/"}, "/x", True),
        ({"prefix": "/a"}, "/ab", True),
        ({"prefix": "/a"}, "/b", False),
        ({"regex": "/a/[0-9]+"}, "/a/12", True),
        ({"regex": "/a/[0-9]+"}, "/a/12/x", False),
        ({"path": "/admin"}, "/x/%2e%2e/admin", True),
        ({"path": "/admin"}, "//./admin", True),
        ({"path": "/%61"}, "/a", False),
        ({"path": "/a"}, "/%61", True),
    ],
)
def test_path_matches_as_said(match: dict[str, str], path: str, expected: bool) -> None:
    """Exact, segment prefix, prefix and whole-string regex, over the normalised path."""
    assert bool(taken(table(route("r", **match)), head(path))) is expected


def test_first_row_that_matches_wins() -> None:
    """Order is the control plane's."""
    index = table(route("one", separated_prefix="/a/b"), route("two", separated_prefix="/a"), route("all", prefix="/"))

    assert [taken(index, head(path)) for path in ("/a/b/c", "/a/c", "/c")] == ["one", "two", "all"]


PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
METHODS = st.sampled_from(["GET", "POST"])
MATCHES = st.one_of(
    st.builds(lambda path: {"path": path}, PATHS),
    st.builds(lambda path: {"separated_prefix": path}, PATHS),
    st.builds(lambda path, method: {"prefix": path, "method": StringMatch(exact=method)}, PATHS, METHODS),
    st.builds(lambda path: {"regex": f"{path}/.*"}, PATHS),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MATCHES, min_size=9, max_size=14), st.lists(st.tuples(PATHS, METHODS), min_size=4, max_size=8))
def test_many_rows_are_found_as_if_each_was_asked(rows: list[dict[str, Any]], requests: list[tuple[str, str]]) -> None:
    """Found by its path, a row is the first of all that match."""
    index = table(*(route(str(number), **match) for number, match in enumerate(rows)))
    alone = [table(route(str(number), **match)) for number, match in enumerate(rows)]
    for path, method in requests:
        first = next(filter(None, (taken(one, head(path, method)) for one in alone)), "")

        assert taken(index, head(path, method)) == first


def test_method_headers_and_query_all_have_to_hold() -> None:
    """A match is a conjunction."""
    index = table(
        route(
            "r",
            method=StringMatch(exact="POST"),
            headers=(("X-V", StringMatch(exact="2")), ("x-no", StringMatch(present=True, invert=True))),
            query=(("q", StringMatch(regex="[a-c]+")),),
        )
    )

    assert taken(index, head("/?q=ab", "POST", x_v="2")) == "r"
    assert taken(index, head("/?q=ab", "GET", x_v="2")) == ""
    assert taken(index, head("/?q=zz", "POST", x_v="2")) == ""
    assert taken(index, head("/?q=ab", "POST", x_v="1")) == ""
    assert taken(index, head("/?q=ab", "POST", x_v="2", x_no="1")) == ""


def test_header_lines_are_joined_before_matching() -> None:
    """RFC 9110, section 5.2."""
    index = table(route("r", headers=(("x", StringMatch(exact="1,2")),)))
    request = head()
    request.headers += [(b"x", b"1", b"x"), (b"x", b"2", b"x")]

    assert taken(index, request) == "r"


def test_pseudo_headers_can_be_matched() -> None:
    """Envoy's names for the request line."""
    assert taken(table(route("r", headers=((":method", StringMatch(exact="PUT")),))), head(method="PUT")) == "r"
    assert taken(table(route("r", headers=((":authority", StringMatch(prefix="we")),))), head()) == "r"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("web", "exact"),
        ("WEB", "exact"),
        ("a.shop.io", "suffix"),
        ("b.a.shop.io", "longer"),
        ("api.x", "prefix"),
        ("z", "any"),
    ],
)
def test_virtual_host_is_the_most_specific_one(host: str, expected: str) -> None:
    """Exact, then longest suffix, then longest prefix, then any."""
    hosts = {
        "exact": ("web",),
        "suffix": ("*.shop.io",),
        "longer": ("*.a.shop.io",),
        "prefix": ("api.*",),
        "any": ("*",),
    }
    noun = RouteTable(
        name="r", hosts=tuple(VirtualHost(domains=d, routes=(route(n, prefix="/"),)) for n, d in hosts.items())
    )

    assert taken(RouteIndex(noun), head(host=host)) == expected


def test_host_nobody_has_matches_nothing() -> None:
    """There is no any."""
    assert taken(table(route("r", prefix="/"), domains=("web",)), head(host="other")) == ""


@pytest.mark.parametrize(
    ("match", "rewrite", "path", "expected"),
    [
        ({"separated_prefix": "/a"}, "/b", "/a/x?q", b"/b/x?q"),
        ({"separated_prefix": "/a"}, "/", "/a/x", b"/x"),
        ({"separated_prefix": "/a"}, "/", "/a", b"/"),
        ({"separated_prefix": "/a"}, "/b/", "/a/x", b"/b/x"),
        ({"separated_prefix": "/a"}, "/b", "/a?q", b"/b?q"),
        ({"separated_prefix": "/"}, "/b", "/x", b"/b/x"),
        ({"path": "/a"}, "/b", "/a?q", b"/b?q"),
        ({"prefix": "/a"}, "/b", "/abc", b"/bbc"),
    ],
)
def test_prefix_is_rewritten_on_segment_bounds(match: dict[str, str], rewrite: str, path: str, expected: bytes) -> None:
    """Never two slashes, never none."""
    action = Forward(targets=(Target(cluster="c"),), prefix_rewrite=rewrite)
    row = table(Route(match=RouteMatch(**match), action=action)).match(head(path))

    assert row.rewrite(path.encode()) == expected


def test_regex_rewrite_leaves_the_query() -> None:
    """Substitution with groups, on the path alone."""
    action = Forward(targets=(Target(cluster="c"),), regex_rewrite=(r"^/v(\d)/", r"/\1/"))
    row = table(Route(match=RouteMatch(prefix="/"), action=action)).match(head())

    assert row.rewrite(b"/v2/x?/v3/") == b"/2/x?/v3/"


def test_targets_are_chosen_by_weight() -> None:
    """The dice fall into shares; no weight is no target."""
    action = Forward(targets=(Target(cluster="a", weight=3), Target(cluster="b", weight=1)))
    row = table(Route(match=RouteMatch(prefix="/"), action=action)).match(head())

    assert [row.choose(dice).cluster for dice in (0.0, 0.74, 0.75, 0.999)] == ["a", "a", "b", "b"]
    nothing = Forward(targets=(Target(cluster="a", weight=0),))
    assert table(Route(match=RouteMatch(prefix="/"), action=nothing)).match(head()).choose(0.5) is None


@pytest.mark.parametrize(
    ("match", "value", "expected"),
    [
        ({"exact": "a"}, b"a", True),
        ({"exact": "A", "ignore_case": True}, b"a", True),
        ({"prefix": "a"}, b"ab", True),
        ({"suffix": "b"}, b"ab", True),
        ({"contains": "b"}, b"abc", True),
        ({"regex": "a+"}, b"aab", False),
        ({"present": True}, b"", True),
        ({"present": True}, None, False),
        ({"present": True, "invert": True}, None, True),
        ({"exact": "a", "invert": True}, b"b", True),
        ({"exact": "a", "invert": True}, b"a", False),
    ],
)
def test_string_matches(match: dict[str, object], value: bytes | None, expected: bool) -> None:
    """Each way to match, and its inversion."""
    assert Matcher(StringMatch(**match)).test(value) is expected


def test_query_values_are_decoded() -> None:
    """The first one of a name."""
    assert query_value(b"/?a%20b=c%2Fd&x=1&x=2", b"a b") == b"c/d"
    assert query_value(b"/?x=1&x=2", b"x") == b"1"
    assert query_value(b"/", b"x") is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/../../b", b"/b"),
        (b"/a/./b/", b"/a/b/"),
        (b"/a/..", b"/"),
        (b"/%2e%2E/x", b"/x"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"*", b"*"),
    ],
)
def test_paths_are_normalised_for_matching(path: bytes, expected: bytes) -> None:
    """Encoded slashes stay encoded: they are no separators."""
    assert normal_path(path) == expected
