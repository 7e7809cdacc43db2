"""The frame layer alone: bytes into frames and frames into bytes, without streams or windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.protocol import codes
from dataplane.protocol.events import Data
from dataplane.protocol.http2 import frames, pieces, settings
from dataplane.protocol.http2.reader import FrameReader
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol import wire

SMALL = Limits(header_bytes=200, header_count=4, continuation_frames=3, connection_window=65535)
Read = tuple[int, int, int, bytes, int]


def read(reader: FrameReader, *chunks: bytes) -> list[Read]:
    """All frames of the chunks: type, whether it ends its stream, stream, payload, bytes as windows count them."""
    found = []
    for chunk in chunks:
        reader.feed(chunk)
        while reader.next():
            size = reader.size if reader.kind == frames.DATA else 0
            ends = reader.flags & frames.END_STREAM
            found.append((reader.kind, ends, reader.stream, reader.data[reader.pos : reader.end], size))
    return found


def settled(limits: Limits = SMALL) -> FrameReader:
    """A reader behind the first SETTINGS."""
    reader = FrameReader(limits, preface=False)
    assert len(read(reader, wire.settings())) == 1
    return reader


MANY = (
    wire.data(1, b"abc")
    + wire.frame(0, wire.PADDED | 1, 3, b"\2xyz\0\0")
    + wire.frame(1, 4 | wire.PADDED | wire.PRIORITIZED, 5, b"\1" + b"\0\0\0\0\7" + b"head" + b"\0")
    + wire.frame(1, 1, 7, b"one")
    + wire.frame(9, 0, 7, b"two")
    + wire.frame(9, 4, 7, b"three")
    + wire.window(0, 5)
    + wire.ping()
    + wire.frame(77, 255, 9, b"unknown")
    + wire.data(1, b"", 1)
)
WHAT = [
    (0, 0, 1, b"abc", 3),
    (0, 1, 3, b"xyz", 6),
    (1, 0, 5, b"head", 0),
    (1, 1, 7, b"onetwothree", 0),
    (8, 0, 0, b"\0\0\0\5", 0),
    (6, 0, 0, b"12345678", 0),
    (77, 1, 9, b"unknown", 0),
    (0, 1, 1, b"", 0),
]


def test_padding_and_priority_are_taken_off_and_sections_put_together() -> None:
    """What counts for windows is the whole payload."""
    assert read(settled(), MANY) == WHAT


@given(st.lists(st.integers(1, 30), max_size=12))
def test_frames_are_the_same_however_bytes_are_cut(cuts: list[int]) -> None:
    """A frame may come a byte at a time."""
    raw = frames.PREFACE + wire.settings() + MANY
    chunks = []
    for cut in cuts:
        chunks.append(raw[:cut])
        raw = raw[cut:]
    reader = FrameReader(SMALL, preface=True)
    assert read(reader, *chunks, raw) == [(4, 0, 0, b"", 0), *WHAT]
    assert not reader.midway()


@pytest.mark.parametrize(
    ("begun", "headed"), [(b"PRI", False), (wire.frame(1, 0, 1, b"x"), True), (wire.data(1, b"abc")[:-1], False)]
)
def test_a_reader_knows_that_it_is_in_the_middle_of_something(begun: bytes, headed: bool) -> None:
    """A preface, a section, a frame."""
    reader = FrameReader(SMALL, preface=True) if begun == b"PRI" else settled()
    assert reader.midway() == (begun == b"PRI")
    reader.feed(begun)
    assert not reader.next()
    assert (reader.midway(), reader.gathering(), reader.code) == (True, headed, 0)


REFUSED = {
    "too long": (b"\0\x40\1" + wire.data(1)[3:], codes.FRAME_SIZE_ERROR, "http2_frame_size"),
    "DATA on the connection": (wire.data(0, b"x"), codes.PROTOCOL_ERROR, "http2_data"),
    "HEADERS on the connection": (wire.headers(0, wire.GET), codes.PROTOCOL_ERROR, "http2_headers"),
    "SETTINGS on a stream": (wire.settings(stream=1), codes.PROTOCOL_ERROR, "http2_settings"),
    "SETTINGS of half an entry": (wire.frame(4, 0, 0, b"123"), codes.FRAME_SIZE_ERROR, "http2_settings"),
    "an acknowledgement of something": (
        wire.frame(4, wire.ACK, 0, b"123456"),
        codes.FRAME_SIZE_ERROR,
        "http2_settings",
    ),
    "PING on a stream": (wire.frame(6, 0, 1, b"12345678"), codes.PROTOCOL_ERROR, "http2_ping"),
    "PING of seven bytes": (wire.frame(6, 0, 0, b"1234567"), codes.FRAME_SIZE_ERROR, "http2_ping"),
    "GOAWAY of seven bytes": (wire.frame(7, 0, 0, b"1234567"), codes.FRAME_SIZE_ERROR, "http2_goaway"),
    "RST_STREAM of five bytes": (wire.frame(3, 0, 1, b"12345"), codes.FRAME_SIZE_ERROR, "http2_reset"),
    "RST_STREAM on the connection": (wire.rst(0), codes.PROTOCOL_ERROR, "http2_reset"),
    "WINDOW_UPDATE of three bytes": (wire.frame(8, 0, 1, b"123"), codes.FRAME_SIZE_ERROR, "http2_window"),
    "PRIORITY on the connection": (wire.frame(2, 0, 0, b"12345"), codes.PROTOCOL_ERROR, "http2_priority"),
    "padding without its byte": (wire.frame(0, wire.PADDED, 1), codes.FRAME_SIZE_ERROR, "http2_padding"),
    "padding longer than DATA": (wire.frame(0, wire.PADDED, 1, b"\3abc"[:3]), codes.PROTOCOL_ERROR, "http2_padding"),
    "padding into the priority": (
        wire.frame(1, 4 | wire.PADDED | wire.PRIORITIZED, 1, b"\2" + b"\0" * 6),
        codes.PROTOCOL_ERROR,
        "http2_padding",
    ),
    "HEADERS shorter than its priority": (
        wire.frame(1, 4 | wire.PRIORITIZED, 1, b"\0" * 4),
        codes.FRAME_SIZE_ERROR,
        "http2_headers",
    ),
    "CONTINUATION alone": (wire.frame(9, 4, 1, b"x"), codes.PROTOCOL_ERROR, "http2_continuation"),
    "a section interrupted": (
        wire.frame(1, 0, 1, b"x") + wire.ping(),
        codes.PROTOCOL_ERROR,
        "http2_continuation",
    ),
    "a section continued elsewhere": (
        wire.frame(1, 0, 1, b"x") + wire.frame(9, 4, 3, b"x"),
        codes.PROTOCOL_ERROR,
        "http2_continuation",
    ),
    "a section in too many frames": (
        wire.frame(1, 0, 1, b"x") + wire.frame(9, 0, 1, b"") * 4,
        codes.ENHANCE_YOUR_CALM,
        "http2_continuation",
    ),
    "a section of too many bytes": (
        wire.frame(1, 0, 1, b"x" * 200) + wire.frame(9, 0, 1, b"x" * 200),
        codes.ENHANCE_YOUR_CALM,
        "http2_continuation",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_whatever_its_stream(name: str) -> None:
    """With the code of the RFC; and nothing is read any more."""
    raw, code, counter = REFUSED[name]
    reader = settled()
    assert read(reader, raw + wire.ping()) == []
    assert (reader.code, reader.counter) == (code, counter)
    assert reader.reason


@pytest.mark.parametrize("first", [wire.ping(), wire.settings(flags=wire.ACK), wire.headers(1, wire.GET)])
def test_the_first_frame_must_be_settings(first: bytes) -> None:
    """Of the peer's own (section 3.4)."""
    reader = FrameReader(SMALL, preface=False)
    assert read(reader, first) == []
    assert (reader.code, reader.counter) == (codes.PROTOCOL_ERROR, "http2_preface")


def test_a_wrong_preface_is_refused_at_its_first_wrong_byte() -> None:
    """An HTTP/1 client waits for an answer."""
    reader = FrameReader(SMALL, preface=True)
    assert read(reader, b"PRI * HTTP/1") == []
    assert reader.counter == "http2_preface"


def test_small_pieces_of_a_stream_become_one_and_others_stay_apart() -> None:
    """In the order they came; a long one is not copied."""
    reader = settled()
    reader.feed(
        wire.data(1, b"a") + wire.data(1, b"b") + wire.data(3, b"c") + wire.data(1, b"d" * 5000) + wire.data(1, b"", 1)
    )
    events: list[object] = []
    while reader.next():
        pieces.tell(reader, bool(reader.flags & 1), events)  # type: ignore[arg-type]
    assert events == [Data(1, b"ab", False), Data(3, b"c", False), Data(1, b"d" * 5000, False), Data(1, b"", True)]


# --- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 16_000, 16_384, 40_000])
def test_what_is_written_is_read_again(size: int) -> None:
    """A long section in as many frames as it takes."""
    writer, reader = FrameWriter(Limits()), settled(Limits())
    writer.encoder.begin(frames.HEADER_BYTES)
    writer.encoder.field(b"x", b"v" * size, False)
    writer.section(1, False)
    writer.data(1, b"body", 4, False)
    writer.data(1, b"", 0, True)
    raw = writer.output()
    assert all(len(payload) <= frames.MAX_FRAME for *_, payload in wire.frames(raw))
    assert [(kind, ends, stream) for kind, ends, stream, _, _ in read(reader, raw)] == [(1, 0, 1), (0, 0, 1), (0, 1, 1)]
    assert writer.output() == b""


@given(stream=st.integers(0, 2**31 - 1), number=st.integers(0, 2**32 - 1))
def test_numbers_of_32_bits_are_written_and_read(stream: int, number: int) -> None:
    """The highest bit too, which an error code may have."""
    for frame, kind in ((frames.rst_stream(stream, number), 3), (frames.window_update(stream, number), 8)):
        assert frame == wire.frame(kind, 0, stream, wire.word(number))
        assert frames.number(frame, 9) == number


@pytest.mark.parametrize("server", [False, True])
def test_our_settings_are_ones_a_peer_may_be_told(server: bool) -> None:
    """And say who may push and who takes tunnels."""
    (frame,) = wire.frames(settings.ours(Limits(hpack_table_bytes=0), server))
    told = dict(settings.read(frame[3]))
    assert all(settings.problem(key, value) == 0 for key, value in told.items())
    assert told[settings.INITIAL_WINDOW_SIZE] == Limits().window
    assert told[settings.HEADER_TABLE_SIZE] == 0
    assert (settings.ENABLE_PUSH in told, settings.ENABLE_CONNECT_PROTOCOL in told) == (not server, server)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (settings.ENABLE_PUSH, 2, codes.PROTOCOL_ERROR),
        (settings.INITIAL_WINDOW_SIZE, 2**31, codes.FLOW_CONTROL_ERROR),
        (settings.MAX_FRAME_SIZE, 16_383, codes.PROTOCOL_ERROR),
        (settings.MAX_FRAME_SIZE, 2**24, codes.PROTOCOL_ERROR),
        (settings.MAX_FRAME_SIZE, 2**24 - 1, 0),
        (settings.ENABLE_CONNECT_PROTOCOL, 2, codes.PROTOCOL_ERROR),
        (settings.HEADER_TABLE_SIZE, 2**32 - 1, 0),
        (0x4242, 2**32 - 1, 0),
    ],
)
def test_values_a_setting_may_not_have_are_named_by_their_error(key: int, value: int, code: int) -> None:
    """And unknown settings are ignored (section 6.5.2)."""
    assert settings.problem(key, value) == code
