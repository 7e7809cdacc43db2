"""HPACK both ways against the `hpack` package, with tables that grow, shrink and overflow; and what memory it may take."""

from __future__ import annotations

import tracemalloc
from typing import Any

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.protocol.hpack.decoder import Decoder
from dataplane.protocol.hpack.encoder import Encoder
from dataplane.protocol.hpack.tables import POLICIES, STATIC, Sensitive
from dataplane.protocol.limits import Limits

ROOMY = Limits(header_count=1000, header_bytes=1024 * 1024)

names = st.sampled_from(
    [
        b":method",
        b":path",
        b":status",
        b"content-type",
        b"cookie",
        b"authorization",
        b"x-a",
        b"x-b",
        b"grpc-status",
        b"date",
        b"x-request-id",
    ]
) | st.from_regex(rb"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(lambda name: POLICIES.get(name) != 3)
values = st.sampled_from([b"", b"GET", b"/", b"200", b"trailers", b"a" * 200, b"b" * 1200, b"c" * 5000]) | st.binary(
    max_size=30
).map(lambda raw: bytes(33 + c % 94 for c in raw))
sections = st.lists(st.tuples(names, values), max_size=8)
sizes = st.sampled_from([0, 31, 64, 100, 500, 4096, 16384])


def encoded(encoder: Encoder, fields: list[tuple[bytes, bytes]]) -> bytes:
    """One section."""
    encoder.begin(0)
    encoder.fields([(name, value, name) for name, value in fields])
    return bytes(encoder.finish()[: encoder.written])


def decoded(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    """One section, read from the middle of other bytes."""
    fields = decoder.decode(b"<<" + block + b">>", 2, 2 + len(block))
    return None if fields is None else [(name, value) for name, value, _ in fields]


def pairs(headers: Any) -> list[tuple[bytes, bytes]]:
    """What the oracle decoded."""
    return [(bytes(name), bytes(value)) for name, value in headers]


@settings(max_examples=70, deadline=None)
@given(st.lists(sections | sizes, max_size=12))
def test_oracle_reads_what_we_write(steps: list[Any]) -> None:
    """Over many sections of one connection, whatever sizes the peer asks for in between."""
    encoder, oracle = Encoder(Limits()), hpack.Decoder(max_header_list_size=2**20)
    for step in steps:
        if isinstance(step, int):
            encoder.resize(step)
            oracle.max_allowed_table_size = step
        else:
            assert pairs(oracle.decode(encoded(encoder, step), raw=True)) == step


@settings(max_examples=70, deadline=None)
@given(st.lists(sections | sizes, max_size=12), st.booleans())
def test_we_read_what_the_oracle_writes(steps: list[Any], huffman: bool) -> None:
    """With Huffman or without, and with the size updates it sends."""
    decoder, oracle = Decoder(ROOMY), hpack.Encoder()
    for step in steps:
        if isinstance(step, int):
            if min(step, 4096) != oracle.header_table_size:  # the oracle forgets a change made twice
                oracle.header_table_size = min(step, 4096)
        else:
            assert decoded(decoder, oracle.encode(step, huffman=huffman)) == step
            assert not decoder.malformed or any(not value.isascii() for _, value in step)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_any_bytes_are_read_as_the_oracle_reads_them_or_refused(blocks: list[bytes]) -> None:
    """We refuse more (integers beyond 2^28, updates in the middle), never less, and never read other fields."""
    decoder, oracle = Decoder(ROOMY), hpack.Decoder(max_header_list_size=2**20)
    oracle.max_allowed_table_size = 4096
    for block in blocks:
        got = decoded(decoder, block)
        try:
            want = pairs(oracle.decode(block, raw=True))
        except hpack.HPACKError:
            want = None
        except UnicodeDecodeError:  # the oracle's own weakness
            return
        if got is None:
            return
        assert got == want


BROKEN = {
    "index 0": b"\x80",
    "index beyond the tables": b"\xbe",
    "name beyond the tables": b"\x7e\x01a",
    "cut integer": b"\xff\x80",
    "integer without end": b"\xff" + b"\xff" * 20,
    "cut name": b"\x40\x05abc",
    "no value": b"\x40\x01a",
    "cut value": b"\x40\x01a\x05b",
    "value of a gigabyte": b"\x40\x01a\x7f\xff\xff\xff\xff\x0f",
    "Huffman with the end symbol": b"\x40\x01a\x84\xff\xff\xff\xff",
    "Huffman padded by zeros": b"\x40\x01a\x81\x00",
    "Huffman padded by a byte": b"\x40\x01a\x82\x1f\xff",
    "update after a field": b"\x82\x20",
    "update beyond what is allowed": b"\x3f\xe2\x1f",
}


@pytest.mark.parametrize("block", BROKEN.values(), ids=BROKEN.keys())
def test_section_that_loses_the_state_is_refused(block: bytes) -> None:
    """Nothing after it could be read."""
    assert decoded(Decoder(ROOMY), block) is None


MALFORMED = {
    "capital": b"\x00\x01A\x01b",
    "empty name": b"\x00\x00\x01b",
    "colon alone": b"\x00\x01:\x01b",
    "line end in value": b"\x00\x01a\x02\r\n",
    "NUL in an indexed name's value": b"\x0f\x0f\x01\x00",
    "space before value": b"\x00\x01a\x02 b",
}


@pytest.mark.parametrize("block", MALFORMED.values(), ids=MALFORMED.keys())
def test_field_no_message_may_have_is_marked_also_when_it_comes_from_the_table(block: bytes) -> None:
    """The state is kept; the section is marked, and each later one that refers to the field."""
    decoder = Decoder(ROOMY)
    indexed = b"\x40" + block[1:] if block[0] == 0 else b"\x5e" + block[2:]
    assert decoded(decoder, indexed) is not None
    assert decoder.malformed
    assert decoded(decoder, b"\x82") == [(b":method", b"GET")]
    assert not decoder.malformed
    assert decoded(decoder, b"\xbe") is not None
    assert decoder.malformed


def test_fields_of_the_table_are_the_same_objects() -> None:
    """A repeated field costs no allocation."""
    decoder = Decoder(Limits())
    block = b"\x40\x01a\x01b"
    first = decoder.decode(block, 0, len(block))
    second = decoder.decode(b"\xbe", 0, 1)
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    assert decoder.decode(b"\x82", 0, 1) == [STATIC[2]]


def test_never_indexed_fields_stay_so_on_the_next_hop() -> None:
    """RFC 7541, section 6.2.3: the mark travels with the field."""
    decoder, encoder = Decoder(Limits()), Encoder(Limits())
    fields = decoder.decode(b"\x10\x01a\x01b", 0, 5)
    assert fields is not None
    assert isinstance(fields[0][2], Sensitive)
    for _ in range(3):
        encoder.begin(0)
        encoder.fields(fields)
        assert bytes(encoder.finish()[: encoder.written]) == b"\x10\x01a\x01b"


def test_secrets_are_never_indexed_and_hop_by_hop_fields_never_written() -> None:
    """Guesses must not show in sizes (section 7.1); connection fields do not exist in HTTP/2."""
    encoder = Encoder(Limits())
    secret = [(b"authorization", b"Basic x"), (b"cookie", b"a=b")]
    assert encoded(encoder, secret) == encoded(encoder, secret) == encoded(encoder, secret)
    assert encoded(encoder, [(name, b"x") for name, policy in POLICIES.items() if policy == 3]) == b""


def test_of_ids_the_name_is_written_once_and_no_value_is_kept() -> None:
    """No id comes twice: its name is sent once for all (until it leaves the table), and remembering values would be for nothing."""
    encoder, decoder = Encoder(Limits()), Decoder(Limits())
    ids = [[(b"x-request-id", b"%036d" % n)] for n in range(200)]
    first, *rest = (encoded(encoder, one) for one in ids)

    assert len(first) == 1 + 1 + 12 + 1 + 36
    assert {len(block) for block in rest} == {2 + 1 + 36}
    assert [decoded(decoder, block) for block in (first, *rest)] == ids
    assert len(encoded(encoder, ids[-1])) == 2 + 1 + 36

    encoder.resize(0)
    encoder.resize(4096)
    assert len(encoded(encoder, ids[0])) > len(first)


def test_section_limits_are_kept_in_number_and_size_and_the_state_goes_on() -> None:
    """What is beyond them is read for the table's sake, not kept."""
    decoder = Decoder(Limits(header_count=5, header_bytes=500))
    block = b"\x82" * 11
    fields = decoder.decode(block, 0, len(block))
    assert (len(fields or []), decoder.too_large) == (10, True)
    block = b"\x40\x01a\x7f\x81\x04" + b"v" * 640 + b"\x40\x01b\x01c"
    fields = decoder.decode(block, 0, len(block))
    assert (len(fields or []), decoder.too_large) == (0, True)
    assert decoded(decoder, b"\xbe\x82") == [(b"b", b"c"), (b":method", b"GET")]
    assert not decoder.too_large


def growth(fields: Any) -> int:
    """Bytes an encoder keeps after these fields, one section each."""
    encoder = Encoder(Limits())
    encoded(encoder, [(b"x", b"y" * 60_000)])
    tracemalloc.start()
    try:
        for name, value in fields:
            encoded(encoder, [(name, value)])
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_encoder_does_not_grow_with_what_it_has_seen() -> None:
    """Long values, ever new values, ever new names and long names: a client chooses them all."""
    assert growth((b"x-%d" % (n % 400), b"%d" % n * 8000) for n in range(600)) < 200_000
    assert growth((b"x-%d" % (n % 40), b"%0900d" % n) for n in range(3000)) < 1_500_000
    assert growth((b"x-%d" % n, b"v") for n in range(3000)) < 400_000
    assert growth((b"x-%d" % n + b"y" * 20_000, b"v") for n in range(600)) < 200_000
