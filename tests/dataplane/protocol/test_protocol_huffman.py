"""The Huffman decoder against the `hpack` package's encoder."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from dataplane.protocol.hpack.huffman import decode

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def test_every_byte_is_decoded_wherever_it_stands() -> None:
    """Codes of all lengths, at all bit positions."""
    for byte in range(256):
        for before in range(9):
            for count in (1, 2, 3, 9):
                text = b"0" * before + bytes([byte]) * count
                coded = ENCODER.encode(text)

                assert decode(b"x" + coded + b"x", 1, 1 + len(coded)) == text


@hypothesis.given(st.binary(max_size=60))
@hypothesis.settings(deadline=None)
def test_any_string_is_decoded(text: bytes) -> None:
    """What another encoder wrote is read back."""
    coded = ENCODER.encode(text)

    assert decode(coded, 0, len(coded)) == text
