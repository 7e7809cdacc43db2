"""Paths as rules see them: no way of writing a path leads around a rule."""

from __future__ import annotations

import pytest

from dataplane.config import (
    Authorization,
    Condition,
    Forward,
    Policy,
    Redirect,
    Route,
    RouteMatch,
    Rules,
    StringMatch,
    Target,
)
from dataplane.protocol.events import RequestHead
from dataplane.proxy.redirect import location
from dataplane.tables.authz import Facts, compile_rules
from dataplane.tables.matching import normal_path, other_readings
from dataplane.tables.routes import RouteRow

ANYBODY = (Condition(),)


def head(path: bytes) -> RequestHead:
    return RequestHead(0, b"GET", b"http", b"web", path, [], True, 11)


def admits(path: bytes, prefix: str, *, deny: bool) -> bool:
    """Judge a path by one rule for everything under a prefix."""
    permission = Condition(path=StringMatch(regex=f"{prefix}(/.*)?"))
    policy = Policy(name="p", permissions=(permission,), principals=ANYBODY)
    book = compile_rules((Authorization(rules=Rules(deny=deny, policies=(policy,))),))
    assert book is not None
    return bool(book.bind(Facts("10.0.0.1", ("10.0.0.2", 80))).admits(head(path)))


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/a/b?c=/../d", b"/a/b"),
        (b"/", b"/"),
        (b"//", b"/"),
        (b"/a//b///c", b"/a/b/c"),
        (b"/a/./b/.", b"/a/b/"),
        (b"/a/../b", b"/b"),
        (b"/../../b", b"/b"),
        (b"/a/b/..", b"/a/"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/%61dmin", b"/admin"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"/a%20b%3fc", b"/a%20b%3Fc"),
        (b"/a\\..\\b", b"/b"),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/a...b/..c", b"/a...b/..c"),
        (b"/%252e%252e/b", b"/%252e%252e/b"),
        (b"/caf\xc3\xa9", b"/caf\xc3\xa9"),
        (b"/%zz%4", b"/%zz%4"),
    ],
)
def test_path_has_one_form_that_is_matched(path: bytes, normal: bytes) -> None:
    """And that form is its own."""
    assert normal_path(path) == normal
    assert normal_path(normal) == normal


TRAVERSALS = [
    b"/public/../admin",
    b"/public/%2e%2e/admin",
    b"/public/.%2E/admin",
    b"/public//../admin",
    b"/public/..//admin",
    b"/public/./../admin/x",
    b"/public\\..\\admin",
    b"/public/..%2fadmin",
    b"/public/..%5cadmin",
    b"/public/%2e%2e%2fadmin",
    b"/public/x/..%2f..%2fadmin",
    b"/public/..;/admin",
    b"/public/..;a=b/admin/x",
    b"/public/;/../../admin",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_traversal_does_not_leave_what_is_allowed(path: bytes) -> None:
    """A server that resolves it would land elsewhere."""
    assert admits(b"/public/x", "/public", deny=False)
    assert not admits(path, "/public", deny=False)


@pytest.mark.parametrize(
    "path", [*TRAVERSALS, b"/%61dmin", b"//admin", b"/./admin", b"/admin/", b"/admin/.", b"/admin?x"]
)
def test_traversal_does_not_hide_what_is_denied(path: bytes) -> None:
    """However it is written."""
    assert admits(b"/public/x", "/admin", deny=True)
    assert not admits(path, "/admin", deny=True)


@pytest.mark.parametrize("path", [b"/admin/../public/x", b"/admin/%2e%2e/public/x", b"/admin//..//../public/x"])
def test_path_that_only_resolves_to_what_is_allowed_is_not(path: bytes) -> None:
    """It is forwarded as it came, and a server that resolves nothing serves it under `/admin`."""
    assert not admits(path, "/public", deny=False)
    assert not admits(path, "/admin", deny=True)


@pytest.mark.parametrize(
    "path", [b"/public/a%2Fb", b"/public//a", b"/public/%7Euser", b"/public/a;v=1", b"/public/./a", b"/public/100%"]
)
def test_odd_but_harmless_paths_are_let_through(path: bytes) -> None:
    """Encoded slashes in names, doubled ones, parameters: all of them stay where they seem to be."""
    assert admits(path, "/public", deny=False)
    assert admits(path, "/admin", deny=True)


def test_plain_paths_have_one_reading() -> None:
    """So rules are asked once."""
    assert other_readings(b"/a/b?c=%2e%2e//") == []


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (b"/api/x?q=//", b"/v2/x?q=//"),
        (b"/%61pi/x", b"/v2/x"),
        (b"/api/../api/x", b"/v2/x"),
        (b"/api//x", b"/v2/x"),
    ],
)
def test_rewriting_works_on_what_was_matched(path: bytes, sent: bytes) -> None:
    """Else a path matched by its normal form would go out unchanged, or out of where it was sent to."""
    match = RouteMatch(separated_prefix="/api")
    row = RouteRow(Route(match=match, action=Forward(targets=(Target(cluster="c"),), prefix_rewrite="/v2")), None, None)

    assert row.matches(normal_path(path), head(path))
    assert row.rewrite(path) == sent


def test_redirect_works_on_what_was_matched() -> None:
    """The rest of the path is kept."""
    match = RouteMatch(separated_prefix="/api")

    assert location(Redirect(prefix="/v2"), match, head(b"/%61pi/x?y")) == b"http://web/v2/x?y"
