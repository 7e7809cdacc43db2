"""Where an HTTP/1 head ends, however its bytes come."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.protocol.http1.scan import HeadScanner
from dataplane.protocol.limits import Limits

LIMITS = Limits()
LINE = b"GET / HTTP/1.1\r\nHost: a\r\n"


@settings(max_examples=200, deadline=None)
@given(
    before=st.binary(max_size=5),
    values=st.lists(st.text("ab", max_size=6), max_size=3),
    behind=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x"]), max_size=8).map(b"".join),
)
@example(before=b"", values=[], behind=b"\r\n\r\n")
def test_a_head_ends_with_its_first_empty_line(before: bytes, values: list[str], behind: bytes) -> None:
    """Wherever in a buffer it begins, whatever follows it, and however much of it an earlier look has seen."""
    fields = b"".join(b"x: %s\r\n" % value.encode() for value in values)
    data = before + LINE + fields + b"\r\n" + behind
    begin, end = len(before), len(before) + len(LINE) + len(fields) + 2

    for seen in range(begin, end):
        scanner = HeadScanner(LIMITS)

        assert scanner.request(data[:seen], begin, begin) == 0
        assert scanner.request(data, begin, seen) == end
        assert len(scanner.headers) == len(values)


@pytest.mark.parametrize("room", range(4))
def test_a_head_may_be_as_long_as_the_limit_and_not_a_byte_longer(room: int) -> None:
    """Whichever of its last four bytes the look falls on."""
    head = LINE + b"x: " + b"a" * room + b"\r\n\r\n"

    assert HeadScanner(Limits(header_bytes=len(head))).request(head, 0, 0) == len(head)
    assert HeadScanner(Limits(header_bytes=len(head) - 1)).request(head, 0, 0) == -1


@pytest.mark.parametrize("broken", [b"Host: a\n", b"x: y\n\r\n", b"x: y\r\r\n\r\n", b"\n\n\n", b"x: y\n\n"])
def test_a_bare_line_feed_ends_the_reading_at_once(broken: bytes) -> None:
    """It is refused there, not only when an empty line comes."""
    data = LINE + broken

    assert HeadScanner(LIMITS).request(data, 0, 0) == -1
