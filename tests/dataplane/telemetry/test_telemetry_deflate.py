"""gzip by what is known of the lines: whatever is written comes out again, and zlib agrees."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.telemetry import deflate, huffman
from dataplane.telemetry.deflate import Deflate

BLOCKS = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([b'a="', b'principal="', b"client-", b"spiffe://", b"1", b"22", b'",', b'"', b"x" * 300]))
    .map(b"".join)
    .filter(lambda block: len(block) < 20_000),
)
MARKS = st.sampled_from([b',le="0.5"} ', b',le="250"} ', b',le="+Inf"} ', b"} ", b""])
RESTS = st.sampled_from([b"1\n", b"57\n", b"10057\n", b"10057 # {} 1\n", b""])
LINES = st.tuples(st.sampled_from([b"a_bucket{", b"a_sum{", b"{", b""]), st.integers(0, 3), MARKS, RESTS)
STEPS = st.lists(st.one_of(LINES, st.binary(max_size=1000)), max_size=40)


@given(st.lists(BLOCKS, min_size=4, max_size=4), STEPS)
@settings(deadline=None)
def test_whatever_is_written_comes_out_again(
    blocks: list[bytes], steps: list[bytes | tuple[bytes, int, bytes, bytes]]
) -> None:
    """Lines and other bytes, taken in pieces; the checksum and the length are right, or gzip would say so."""
    packed, wanted, taken = Deflate(), b"", []
    for step in steps:
        if isinstance(step, bytes):
            packed.text(step)
            wanted += step
        else:
            head, which, mark, rest = step
            packed.line(head, blocks[which], mark, rest)
            wanted += head + blocks[which] + mark + rest
        taken.append(packed.take())
    packed.finish()

    assert gzip.decompress(b"".join([*taken, packed.take()])) == wanted


def test_a_line_may_be_longer_than_what_can_be_looked_back_at() -> None:
    """32 KiB; then it is written as it is."""
    long, packed = b"n" * 40_000, Deflate()
    for _ in range(3):
        packed.line(b"h{", long, b"} ", b"1\n")
    packed.finish()

    assert gzip.decompress(packed.take()) == (b"h{" + long + b"} 1\n") * 3


@given(st.lists(st.integers(0, 10**6), min_size=30, max_size=286))
def test_a_code_is_whole(counts: list[int]) -> None:
    """Every symbol has a word, however rare; none is longer than the format allows, and none is missing (RFC 1951, 3.2.7)."""
    sizes = huffman.lengths(counts)

    assert min(sizes) >= 1
    assert max(sizes) <= huffman.LONGEST
    assert sum(2.0**-size for size in sizes) == 1.0


def test_rare_symbols_bound_the_words_of_frequent_ones() -> None:
    """Counts like Fibonacci's numbers would make a word for each length there is."""
    counts = [1, 1]
    while len(counts) < 30:
        counts.append(counts[-1] + counts[-2])

    assert max(huffman.lengths(counts)) <= huffman.LONGEST


def test_lines_after_which_the_code_changes_are_whole() -> None:
    """A code is made anew when enough was written."""
    packed, wanted = Deflate(), b""
    for number in range(3 * deflate.FIRST):
        block, rest = b'a="%d"' % (number * number), b"%d\n" % number
        packed.line(b"h{", block, b"} ", rest)
        wanted += b"h{" + block + b"} " + rest
    packed.finish()

    assert gzip.decompress(packed.take()) == wanted


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_checksum_of_two_parts_follows_from_those_of_both(one: bytes, other: bytes) -> None:
    """Without looking at their bytes again."""
    both = deflate.product(deflate.power(len(other)), zlib.crc32(one)) ^ zlib.crc32(other)

    assert both == zlib.crc32(one + other)
