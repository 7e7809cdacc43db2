"""The header list and the rules of forwarding it."""

from __future__ import annotations

import pytest

from dataplane.protocol import fields as field_lists
from dataplane.protocol.events import Headers


def fields(*names: str) -> Headers:
    """Fields written `Name: value`."""
    out: Headers = []
    for line in names:
        name, _, value = line.encode().partition(b": ")
        out.append((name.lower(), value, name))
    return out


def test_values_are_found_by_lower_case_name() -> None:
    """The first one, or none."""
    found = fields("A: 1", "B: 2", "a: 3")
    assert [field_lists.get(found, name) for name in (b"a", b"b", b"c")] == [b"1", b"2", None]


def test_set_value_takes_the_place_of_the_first() -> None:
    """Order and case are the peer's to see."""
    found = fields("A: 1", "X-B: 2", "a: 3")
    field_lists.set_value(found, b"a", b"9")
    field_lists.set_value(found, b"c", b"8")
    assert found == [*fields("A: 9", "X-B: 2"), (b"c", b"8", b"c")]


LISTS = {
    b"a, B,c": [b"a", b"b", b"c"],
    b"": [],
    b",, ,\t,": [],
    b" a\t, b ": [b"a", b"b"],
    b'"a,b"': [b'"a', b'b"'],
}


@pytest.mark.parametrize(("value", "found"), LISTS.items())
def test_list_values_are_split_at_commas(value: bytes, found: list[bytes]) -> None:
    """Empty members count for nothing (RFC 9110, section 5.6.1)."""
    assert field_lists.split_tokens(value) == found


def test_hop_by_hop_fields_are_stripped_with_what_connection_names() -> None:
    """But never what frames or authorises."""
    found = fields(
        "Connection: X-A, content-length, authorization",
        "X-A: 1",
        "Content-Length: 3",
        "Authorization: b",
        "TE: gzip",
        "Upgrade: x",
        "Keep-Alive: 1",
        "Proxy-Connection: x",
        "Transfer-Encoding: chunked",
        "HTTP2-Settings: x",
        "Y: 2",
    )
    field_lists.strip_named(found, [b"x-a", b"content-length", b"authorization"])
    assert found == fields("Content-Length: 3", "Authorization: b", "Y: 2")


def test_te_survives_only_when_it_says_trailers() -> None:
    """Which gRPC needs."""
    found = fields("Connection: te", "TE: Trailers")
    field_lists.strip_named(found, [b"te"])
    assert found == fields("TE: Trailers")


FORWARDED = {
    "nothing yet": ([], ["x-forwarded-for: 1.2.3.4"]),
    "one before": (["X-Forwarded-For: 9.9.9.9"], ["X-Forwarded-For: 9.9.9.9, 1.2.3.4"]),
    "several lines": (
        ["X-Forwarded-For: 9.9.9.9", "Y: 1", "x-forwarded-for: 8.8.8.8"],
        ["X-Forwarded-For: 9.9.9.9, 8.8.8.8, 1.2.3.4", "Y: 1"],
    ),
}


@pytest.mark.parametrize(("before", "after"), FORWARDED.values(), ids=FORWARDED.keys())
def test_forwarding_appends_the_peers_address(before: list[str], after: list[str]) -> None:
    """Several lines are one list."""
    found = fields(*before)
    field_lists.add_forwarded_for(found, b"1.2.3.4")
    assert found == fields(*after)


LENGTHS = {
    b"0": 0,
    b"007": 7,
    b"999999999999999999": 999999999999999999,
    b"1000000000000000000": -1,
    b"": -1,
    b" 1": -1,
    b"1 ": -1,
    b"+1": -1,
    b"-1": -1,
    b"1,1": -1,
    b"0x1": -1,
    b"1_0": -1,
    b"1.0": -1,
    b"\xd9\xa1": -1,
}


@pytest.mark.parametrize(("value", "number"), LENGTHS.items())
def test_content_length_is_plain_digits(value: bytes, number: int) -> None:
    """Nothing else that a lenient reader would take."""
    assert field_lists.content_length(value) == number
