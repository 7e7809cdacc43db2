"""Regular expressions: RE2's, on the whole value, in linear time."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshapi.patterns import ANY_SERVICE, WHOLE_PATH, Pattern, PatternError, Substitution, beginning, pattern


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("/a.*", b"/abc", True),
        ("a", b"xax", False),
        ("a|ab", b"ab", True),
        ("(?i)a+", b"AaA", True),
        ("/.", "/ü".encode(), True),
        ("/..", "/ü".encode(), False),
        ("[^/]+", b"\xff\xfe", True),
        ("/admin.*", b"/admin\xff", True),
        ("x*", b"", True),
        (r"\d+", b"12", True),
        ("a.b", b"a\nb", False),
    ],
)
def test_pattern_matches_the_whole_value(text: str, value: bytes, *, expected: bool) -> None:
    """Characters are UTF-8's; what is none is a character too, or a rule could be walked around with it."""
    assert pattern(text).matches(value) is expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(", "missing )"),
        ("(?=a)b", "(?="),
        (r"(a)\1", r"\1"),
        ("a{1001}", "repetition"),
        (r"(?:\pL{1000}){3}", "repetition|too large"),
        ("[a", "missing ]"),
    ],
)
def test_pattern_that_is_not_linear_is_refused_with_its_sentence(text: str, why: str) -> None:
    """RE2 says what it does not know."""
    with pytest.raises(PatternError, match="no regular expression as RE2 reads them") as refused:
        pattern(text)
    assert any(one in str(refused.value) for one in why.split("|"))


def test_time_is_linear() -> None:
    """What took Python's `re` longer than anybody lives; 64 KB take well under a second."""
    begun = time.process_time()
    assert not pattern("/(a+)+b").matches(b"/" + b"a" * 65536)

    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    ("text", "replacement", "value", "expected"),
    [
        (r"^/v(\d)/", r"/\1/", b"/v2/x", b"/2/x"),
        ("a", r"\0\0", b"bab", b"baab"),
        ("a", r"\\n", b"a", b"\\n"),
        ("^/.*$", "/new", "/ü".encode(), b"/new"),
        ("^/.*$", "/new", b"/\xff", b"/new"),
        ("(x)|(y)", r"<\2>", b"xy", b"<><y>"),
        ("b", "x", b"aca", b"aca"),
    ],
)
def test_rewrite_replaces_every_match(text: str, replacement: str, value: bytes, expected: bytes) -> None:
    """With text and groups; a group that took no part is empty."""
    assert Substitution(text, replacement).apply(value) == expected


@pytest.mark.parametrize("replacement", [r"\1", r"\x", "\\"])
def test_replacement_that_names_no_group_is_refused(replacement: str) -> None:
    """A zero byte by octal escape is not made either."""
    with pytest.raises(PatternError, match="is no replacement for 'a'"):
        Substitution("a", replacement)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("/api/(?=x).*", "/api/"),
        ("^/api/v[12]", "/api/v"),
        ("/ab*", "/a"),
        ("/ab?c", "/a"),
        ("/ab{0,2}", "/a"),
        ("/ab+", "/ab"),
        ("/a|/b", ""),
        ("(?i)/a", ""),
        (r"\/a", ""),
        ("/plain", "/plain"),
    ],
)
def test_beginning_is_what_every_match_begins_with(text: str, begins: str) -> None:
    """Told without reading the pattern."""
    assert beginning(text) == begins


@settings(max_examples=300, deadline=None)
@given(st.text("ab/.*+?{}[]()|^$\\12", max_size=8), st.text("ab/12", max_size=6))
def test_no_match_begins_otherwise(text: str, value: str) -> None:
    """Whatever the pattern is."""
    try:
        matched = pattern(text).matches(value.encode())
    except PatternError:
        return
    assert not matched or value.startswith(beginning(text))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text("/Get.\n", max_size=9), st.just("/a.B/Get")), st.binary(max_size=2))
def test_what_is_done_without_the_library_is_what_it_does(value: str, odd: bytes) -> None:
    """The two patterns the control plane writes of itself."""
    path = value.encode() + odd
    call, whole = f"{ANY_SERVICE}Get", f"(?:{WHOLE_PATH})"

    assert pattern(call).matches(path) is Pattern(call).matches(path)
    if value.isascii() and odd.isascii():
        assert Substitution(WHOLE_PATH, "/new").apply(path) == Substitution(whole, "/new").apply(path)


def test_library_is_loaded_with_the_first_pattern() -> None:
    """A sidecar that holds no pattern of a user does without it."""
    own = "p.pattern(p.ANY_SERVICE + 'Get'); p.Substitution(p.WHOLE_PATH, '/new')"
    code = f"import sys, meshapi.patterns as p, dataplane.app, dataplane.xds.decode; {own}; a = 're2' in sys.modules; p.pattern('a'); print(a, 're2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True"]
