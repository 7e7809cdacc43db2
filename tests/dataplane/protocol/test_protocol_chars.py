"""Which bytes may stand where."""

from __future__ import annotations

import pytest

from dataplane.protocol import chars

AUTHORITIES = {
    b"a": True,
    b"a.b-c_d~e": True,
    b"shop.default.svc.cluster.local:8080": True,
    b"10.0.0.1:80": True,
    b"a:": True,  # RFC 3986: an empty port is the default one
    b"a:0": True,
    b"a:65535": True,
    b"[::1]": True,
    b"[::1]:443": True,
    b"xn--bcher-kva.example": True,
    b"a%20b": True,
    b"A.B": True,
    b"x" * 300: True,
    b"": False,
    b":80": False,
    b"a:65536": False,
    b"a:123456": False,
    b"a:8o": False,
    b"a:-1": False,
    b"a:b:c": False,
    b"::1": False,
    b"[::1": False,
    b"[]": False,
    b"[]:80": False,
    b"[::1]x": False,
    b"a[b]": False,
    b"a]": False,
    b"u@a": False,
    b"a/b": False,
    b"a?b": False,
    b"a#b": False,
    b"a b": False,
    b"a\t": False,
    b"a\\b": False,
    b"a\r\nx: y": False,
    b"a\0": False,
    b"a\x7f": False,
    b"\xc3\xa4": False,
    b"a<b>": False,
    b'"a"': False,
    b"x" * 301: False,
}


@pytest.mark.parametrize(("value", "valid"), AUTHORITIES.items())
def test_authority_is_a_host_with_an_optional_port(value: bytes, valid: bool) -> None:
    """No user, no path, no controls, no port beyond 65535."""
    assert chars.valid_authority(value) is valid


def test_tables_have_an_answer_for_every_byte() -> None:
    """They are indexed by any byte, so 256 is their size."""
    tables = (chars.TOKEN, chars.LOWER_TOKEN, chars.VALUE, chars.TARGET, chars.HOST, chars.HEX)
    assert {len(table) for table in tables} == {256}


def test_no_table_lets_a_line_end_or_nul_through() -> None:
    """What ends a line or a string never stands inside anything."""
    for table in (chars.TOKEN, chars.LOWER_TOKEN, chars.VALUE, chars.TARGET, chars.HOST):
        assert [table[c] for c in b"\r\n\0\x7f"] == [0, 0, 0, 0]


def test_hex_reads_both_cases_and_nothing_else() -> None:
    """Sixteen values by twenty-two digits."""
    digits = {c: chars.HEX[c] for c in range(256) if chars.HEX[c] != 255}
    assert digits == {c: int(chr(c), 16) for c in b"0123456789abcdefABCDEF"}


def test_lower_token_is_token_without_capitals() -> None:
    """HTTP/2 field names have none."""
    assert {c for c in range(256) if chars.TOKEN[c] and not chars.LOWER_TOKEN[c]} == set(range(65, 91))
