"""Paths as rules see them: no way of writing a path leads around a rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from dataplane.tables.authz import compile_rules
from dataplane.tables.conditions import Facts
from dataplane.tables.paths import normal_path, other_readings
from dataplane.tables.redirect import location
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


PARAMETERS = [
    b"/admin;x",
    b"/admin;",
    b"/admin;a=b;c/x",
    b"/admin/;/x",
    b"/;/admin",
    b"/;a/admin/x",
    b"/admin%3Bx",
    b"/admin%3bx%2fy",
    b"/admin%2Fx",
    b"/admin%5cx",
    b"/x;/..;/admin",
    b"/admin;x/../public",
    b"/admin%2F..%2Fpublic",
    b"/%2e/admin;x",
    b"//admin;x//",
    b"/admin;b%2Fadmin",
]


@pytest.mark.parametrize("path", PARAMETERS)
def test_parameters_and_encoded_slashes_do_not_hide_what_is_denied(path: bytes) -> None:
    """Servers take them off, or decode them, before they look who is to answer."""
    assert not admits(path, "/admin", deny=True)
    assert not admits(path, "/public", deny=False)


EXACT = [
    b"/admin/",
    b"/admin;x",
    b"/admin/;x",
    b"/./admin",
    b"//admin",
    b"/%2e/admin",
    b"/admin;x/",
    b"/x%2f..%2fadmin",
]


def by(match: StringMatch, path: bytes, *, deny: bool, negated: bool = False) -> bool:
    """Judge a path by one rule for it, or for all others."""
    permission = Condition(none_of=Condition(path=match)) if negated else Condition(path=match)
    policy = Policy(name="p", permissions=(permission,), principals=ANYBODY)
    book = compile_rules((Authorization(rules=Rules(deny=deny, policies=(policy,))),))
    assert book is not None
    return bool(book.bind(Facts("10.0.0.1", ("10.0.0.2", 80))).admits(head(path)))


@pytest.mark.parametrize("path", [b"/admin", *EXACT])
def test_one_path_is_refused_however_it_is_written(path: bytes) -> None:
    """By a rule that denies it, and by one that allows all but it."""
    match = StringMatch(exact="/admin")

    assert not by(match, path, deny=True)
    assert not by(match, path, deny=False, negated=True)
    assert not by(StringMatch(exact="/admin", invert=True), path, deny=False)


@pytest.mark.parametrize("path", EXACT)
def test_one_path_that_is_allowed_is_no_more_than_that(path: bytes) -> None:
    """Nor is one that alone is not denied; what a server may take for something else is not it."""
    match = StringMatch(exact="/public")
    path = path.replace(b"admin", b"public")

    assert by(match, b"/public", deny=False)
    assert by(match, b"/public", deny=True, negated=True)
    assert not by(match, path, deny=False)
    assert not by(match, path, deny=True, negated=True)


@pytest.mark.parametrize("path", ["/projects/group%2Fname", "/a;v=1", "/caf%C3%A9", "/a%20b"])
def test_odd_path_named_letter_by_letter_is_allowed(path: str) -> None:
    """Who writes it so means it; and nothing else than it."""
    match = StringMatch(exact=path)

    assert by(match, path.encode(), deny=False)
    assert not by(match, path.encode(), deny=True)
    assert not by(match, path.encode() + b"/..%2Fadmin", deny=False)


@pytest.mark.parametrize(
    ("match", "path"),
    [
        (StringMatch(suffix=".css"), b"/admin;x.css"),
        (StringMatch(suffix=".css"), b"/admin/;.css"),
        (StringMatch(regex="/[^/]*"), b"/admin%2Fx"),
        (StringMatch(regex="/[^/]*"), b"/admin\\x"),
        (StringMatch(prefix="/public"), b"/;public/../admin"),
    ],
)
def test_other_writing_is_no_way_into_what_is_not_allowed(match: StringMatch, path: bytes) -> None:
    """A parameter looks like a name's end, an encoded slash like a part of one."""
    assert not by(match, path, deny=False)


def by_the_book(path: bytes) -> tuple[bytes, list[bytes]]:
    """The same forms in regular expressions and lists of segments: the slow way."""

    def unreserved(found: re.Match[bytes]) -> bytes:
        byte = bytes((int(found[1], 16),))
        return byte if re.match(rb"[A-Za-z0-9._~-]", byte) else found[0].upper()

    def resolved(path: bytes) -> bytes:
        kept: list[bytes] = []
        first, *segments = path.replace(b"\\", b"/").split(b"/")
        if not any(segment in {b"", b"."} or segment.startswith(b".") for segment in segments[:-1]) and not (
            segments and segments[-1].startswith(b".")
        ):
            return b"/".join([first, *segments])
        for segment in segments:
            if segment == b"..":
                kept = kept[:-1]
            elif segment and segment != b".":
                kept.append(segment)
        last = segments[-1] in {b"", b".", b".."} and kept
        return b"/" + b"/".join(kept) + (b"/" if last else b"")

    slash = re.compile(rb"%2F|%5C|\\", re.IGNORECASE)
    bare = re.split(rb"[?#]", path)[0]
    if not re.search(rb"%|//|/\.|;|\\", bare):
        return bare, []
    decoded = re.sub(rb"%([0-9A-Fa-f]{2})", unreserved, bare)
    bared = re.sub(rb";[^/]*", b"", decoded)
    slashed = slash.sub(b"/", decoded)
    late = re.sub(rb";[^/]*", b"", re.sub(rb"(?i)%3B", b";", slashed))
    found = {decoded, bared, slashed, late, slash.sub(b"/", bared)}
    found |= {resolved(one) for one in found}
    return resolved(decoded), sorted(found - {resolved(decoded)})


PIECES = [
    b"/",
    b"a",
    b"B",
    b".",
    b"..",
    b";",
    b"%",
    b"%2f",
    b"%2F",
    b"%5c",
    b"%3b",
    b"%2e",
    b"%41",
    b"%7E",
    b"%25",
    b"%e9",
    b"4",
    b"2",
    b"f",
    b"?",
    b"#",
    b"\\",
    b"\xe9",
]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=14).map(lambda pieces: b"/" + b"".join(pieces)) | st.binary(max_size=8)
)
def test_one_pass_reads_what_the_book_says(path: bytes) -> None:
    """Escapes that are broken, that decoding makes, or that an escaped percent sign is part of included."""
    normal, others = by_the_book(path)

    assert normal_path(path) == normal
    assert other_readings(path) == others


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
