"""What a connection manager does to a path before it is routed, and which upgrades it lets through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataplane.config import Authorization, Condition, PathRule, Policy, Rules, StringMatch
from dataplane.tables.forwarded import GO_ON, REDIRECT, REJECT, shaped
from tests.dataplane.proxy.rig import Rig, config, everything, forward

MakeRig = Callable[..., Rig]


def get(path: bytes, more: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: web\r\n" + more + b"\r\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/../b?x=/../y", b"/b?x=/../y"),
        (b"/a/./b/.", b"/a/b/"),
        (b"/a/..", b"/"),
        (b"/../../a", b"/a"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/%2", b"/a/%2"),
        (b"\\a", b"\\a"),
        (b"/a\\..\\b", b"/b"),
        (b"/a//../b", b"/a/b"),
        (b"/a//b", b"/a//b"),
        (b"/%61%7E%c3%2f", b"/a~%c3%2f"),
        (b"/a/..;x/b", b"/b"),
        (b"/a/%2e%2e;x/b", b"/b"),
        (b"/a/.;x", b"/a/"),
        (b"*", b"*"),
        (b"/", b"/"),
    ],
)
def test_dot_segments_are_resolved(path: bytes, expected: bytes) -> None:
    """As Envoy forwards it: escapes are undone where they say nothing, double slashes stay."""
    assert shaped(PathRule(normalize=True), path) == (GO_ON, expected)


@pytest.mark.parametrize(
    ("action", "verdict", "path"),
    [
        ("keep", GO_ON, b"/a%2Fb%5c?%2f"),
        ("unescape", GO_ON, b"/a/b\\?%2f"),
        ("reject", REJECT, b"/a%2Fb%5c?%2f"),
        ("redirect", REDIRECT, b"/a/b\\?%2f"),
    ],
)
def test_escaped_slashes_are_kept_undone_or_refused(action: str, verdict: int, path: bytes) -> None:
    """Of the path; the query is the app's."""
    assert shaped(PathRule(escaped_slashes=action), b"/a%2Fb%5c?%2f") == (verdict, path)
    assert shaped(PathRule(escaped_slashes=action), b"/a?%2f") == (GO_ON, b"/a?%2f")


def test_slashes_are_merged_last() -> None:
    """What unescaping and resolving leave."""
    rule = PathRule(normalize=True, merge_slashes=True, escaped_slashes="unescape")
    assert shaped(rule, b"//a/%2Fb/./c//?//") == (GO_ON, b"/a/b/c/?//")


def test_path_is_forwarded_as_the_connection_manager_makes_it(rig: MakeRig) -> None:
    """Not as it came; without a word it stays as it came."""
    asked = b"/a/%2e%2e//b?q=1"
    r = rig(config(http={"paths": PathRule(normalize=True, merge_slashes=True)}))
    r.client().send(get(asked))
    assert r.servers[0].read().startswith(b"GET /b?q=1 ")

    plain = rig(config())
    plain.client().send(get(asked))
    assert plain.servers[0].read().startswith(b"GET " + asked)


def test_escaped_slash_is_answered(rig: MakeRig) -> None:
    """400, or 307 to the path without; a gRPC call cannot be sent elsewhere. Neither reaches a server."""
    call = b"content-type: application/grpc\r\n"
    reject = rig(config(http={"paths": PathRule(escaped_slashes="reject")}))
    redirect = rig(config(http={"paths": PathRule(escaped_slashes="redirect")}))

    assert reject.client().send(get(b"/a%2fb")).read().startswith(b"HTTP/1.1 400")
    sent = redirect.client().send(get(b"/%2fevil/b?c")).read()
    assert sent.startswith(b"HTTP/1.1 307")
    assert b"location: http://web//evil/b?c\r\n" in sent
    assert b"grpc-status: 13" in redirect.client().send(get(b"/a%2fb", call)).read()
    assert not reject.servers + redirect.servers


def test_rules_see_the_path_that_is_forwarded(rig: MakeRig) -> None:
    """What is unescaped cannot slip past a rule."""
    admin = Policy(
        name="admin", permissions=(Condition(path=StringMatch(prefix="/admin/")),), principals=(Condition(),)
    )
    deny = Authorization(rules=Rules(deny=True, policies=(admin,)))
    r = rig(config(http={"paths": PathRule(escaped_slashes="unescape"), "authorization": (deny,)}))

    assert r.client().send(get(b"/admin%2fx")).read().startswith(b"HTTP/1.1 403")


UPGRADE = b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n"


@pytest.mark.parametrize(
    ("chain", "route", "carried"),
    [
        ((), (), True),
        ((("websocket", False),), (), False),
        ((("other", False),), (), True),
        ((("websocket", False),), (("websocket", True),), True),
        ((("websocket", True),), (("websocket", False),), False),
    ],
)
def test_upgrade_that_is_switched_off_is_refused(
    rig: MakeRig, chain: tuple[tuple[str, bool], ...], route: tuple[tuple[str, bool], ...], *, carried: bool
) -> None:
    """The route's word goes before the connection manager's; what nobody names is carried."""
    r = rig(config(everything(forward(upgrades=route)), http={"upgrades": chain}))
    answer = r.client().send(get(b"/", UPGRADE)).read()

    assert bool(r.servers) is carried
    assert (b"x-tulle-error: upgrade_refused" in answer) is not carried
    assert answer.startswith(b"HTTP/1.1 403" if not carried else b"")
