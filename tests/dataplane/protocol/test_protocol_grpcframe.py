"""gRPC messages in their frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.protocol.grpcframe import FrameDecoder, FrameError, encode


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 9))
def test_grpc_frames_come_back_however_they_are_cut(messages, size):
    """Any cutting of the bytes gives the same messages."""
    wire = b"".join(encode(message) for message in messages)
    decoder = FrameDecoder()
    found = [message for at in range(0, len(wire), size) for message in decoder.feed(wire[at : at + size])]
    assert (found, decoder.empty) == (messages, True)


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        (b"\x00\x00\x00\x00\x0b", "11 bytes; allowed are 10"),
        (b"\x01\x00\x00\x00\x00", "compressed"),
        (b"\x02\x00\x00\x00\x00", "flag 2"),
    ],
)
def test_grpc_frames_are_refused_with_a_sentence_when_they_break_a_rule(wire, sentence):
    """Size, compression and flags are checked before the message is awaited."""
    with pytest.raises(FrameError, match=sentence):
        FrameDecoder(limit=10).feed(wire)
