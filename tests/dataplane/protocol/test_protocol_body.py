"""Bodies read by each framing, whatever way their bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.protocol.events import Data, Event, Trailers
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE, TO_EOF, TUNNEL, BodyReader
from dataplane.protocol.http1.scan import HeadScanner
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.wire import merged


def reader(mode: int, length: int = 0, limits: Limits | None = None) -> BodyReader:
    limits = limits or Limits()
    body = BodyReader(limits, HeadScanner(limits))
    body.start(1, mode, length)
    return body


def read(body: BodyReader, raw: bytes, cuts: list[int]) -> tuple[list[Event], bytes]:
    """Feed pieces the way the codec does, what is left over before the next; return events and what was not taken."""
    events: list[Event] = []
    held = b""
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        held += raw[start:end]
        if held and not body.done and not body.failed:
            batch: list[Event] = []
            held = held[body.read(held, 0, batch) :]
            events += batch
    return events, held


def test_bodies_of_no_bytes_are_done_at_once() -> None:
    """No framing, or a length of zero."""
    assert (reader(NONE).done, reader(LENGTH, 0).done, reader(LENGTH, 1).done) == (True, True, False)


def test_length_takes_no_byte_too_many() -> None:
    """The rest belongs to the next message."""
    body = reader(LENGTH, 3)
    events: list[Event] = []
    assert body.read(b"xabcdef", 1, events) == 4
    assert events == [Data(1, b"abc", True)]


def test_end_of_input_ends_only_what_may_end_so() -> None:
    """A length or chunks that are not complete are cut."""
    for mode, good in ((TO_EOF, True), (TUNNEL, True), (LENGTH, False), (CHUNKED, False)):
        events: list[Event] = []
        assert reader(mode, 5).end_of_input(events) is good
        assert events == ([Data(1, b"", True)] if good else [])


chunks = st.lists(st.binary(min_size=1, max_size=30), max_size=6)
extensions = st.sampled_from([b"", b";a", b";a=b", b';q="x;y"', b";\t x"])
fields = st.lists(
    st.tuples(st.sampled_from([b"X-A", b"b", b"C-c"]), st.sampled_from([b"", b"1", b"two words"])), max_size=3
)


@settings(max_examples=80, deadline=None)
@given(chunks, extensions, fields, st.booleans(), st.data())
def test_any_chunked_body_reads_the_same_however_it_is_cut(
    pieces: list[bytes], extension: bytes, trailers: list[tuple[bytes, bytes]], upper: bool, draw: st.DataObject
) -> None:
    """Sizes in either case and with zeros, extensions, trailers, and what follows left alone."""
    raw = b""
    for piece in pieces:
        size = b"%X" % len(piece) if upper else b"00%x" % len(piece)
        raw += size + extension + b"\r\n" + piece + b"\r\n"
    raw += b"0\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in trailers) + b"\r\n"
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(raw) + 4), max_size=5)))
    body = reader(CHUNKED)
    events, left = read(body, raw + b"NEXT", cuts)

    whole = b"".join(pieces)
    want: list[Event] = [Data(1, whole, not trailers)] if whole or not trailers else []
    if trailers:
        want.append(Trailers(1, [(n.lower(), v, n) for n, v in trailers]))
    got = merged(events)
    if len(got) == 2 and got[1] == Data(1, b"", True):
        got = [Data(1, got[0].data, True)]
    assert got == want
    assert (body.done, body.failed, left) == (True, False, b"NEXT")


@settings(max_examples=40, deadline=None)
@given(chunks, extensions, fields)
def test_least_that_is_missing_is_never_more_than_what_is(
    pieces: list[bytes], extension: bytes, trailers: list[tuple[bytes, bytes]]
) -> None:
    """Wherever a chunked body is cut; where it is told exactly, it is: before a line end, in a chunk, and before the last one."""
    raw = b"".join(b"%x" % len(piece) + extension + b"\r\n" + piece + b"\r\n" for piece in pieces)
    last = len(raw)
    raw += b"0\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in trailers) + b"\r\n"
    for cut in range(len(raw)):
        body = reader(CHUNKED)
        _, held = read(body, raw[:cut], [])
        assert 0 < body.least() <= len(raw) - cut + len(held)
        if cut == last and not trailers:
            assert body.least() == len(raw) - cut


def test_least_that_is_missing_is_told_for_each_framing() -> None:
    """Nothing where only the end of the connection tells."""
    chunk = reader(CHUNKED)
    chunk.read(b"100\r\nabc", 0, [])
    assert chunk.least() == 0x100 - 3 + len(b"\r\n0\r\n\r\n")
    assert [reader(mode, 9).least() for mode in (NONE, LENGTH, CHUNKED, TO_EOF, TUNNEL)] == [0, 9, 5, 0, 0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"0", b"1", b"a", b"\r", b"\n", b"\r\n", b";", b" ", b"x: y", b"\0", b"5\r\nhello\r\n"]))
)
def test_any_bytes_are_read_the_same_however_they_are_cut(tokens: list[bytes]) -> None:
    """Whole or byte by byte: the same data, the same end, the same refusal."""
    raw = b"".join(tokens)
    one, two = reader(CHUNKED), reader(CHUNKED)
    first, _ = read(one, raw, [])
    second, _ = read(two, raw, list(range(1, len(raw))))

    assert (one.done, one.failed, one.counter) == (two.done, two.failed, two.counter)

    def data(events: list[Event]) -> bytes:
        return b"".join(e.data for e in events if isinstance(e, Data))

    assert data(first) == data(second)


@pytest.mark.parametrize("limit", [0, 10])
def test_extensions_are_counted_over_the_whole_body(limit: int) -> None:
    """Not by chunk: a million short ones cost as much as one long."""
    body = reader(CHUNKED, limits=Limits(chunk_extension_bytes=limit))
    read(body, b"1;abcd\r\na\r\n" * 3, [])
    assert (body.failed, body.counter) == (True, "http1_chunk_extensions")


def test_extension_is_counted_once_though_its_line_is_cut_anywhere() -> None:
    """Also between CR and LF, where the line is read again from its start."""
    raw = b"1;abcdefgh\r\na\r\n0\r\n\r\n"
    for cut in range(len(raw)):
        body = reader(CHUNKED, limits=Limits(chunk_extension_bytes=9))
        read(body, raw, [cut])
        assert (body.done, body.failed) == (True, False), cut
