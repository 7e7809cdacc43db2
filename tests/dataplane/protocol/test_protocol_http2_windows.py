"""Both directions of flow control alone: no byte beyond a window, none lost from one, nobody starved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.protocol.http2 import states
from dataplane.protocol.http2.flood import Flood
from dataplane.protocol.http2.inflow import Inflow
from dataplane.protocol.http2.outflow import Outflow
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.streams import Streams
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol import wire

WINDOW = 65535
LIMITS = Limits(connection_window=WINDOW, stream_window=WINDOW, low_watermark=1000)
FIELD = [(b"x", b"y", b"x")]


def updates(writer: FrameWriter) -> dict[int, int]:
    """What WINDOW_UPDATE gave back, by stream."""
    given_back: dict[int, int] = {}
    for kind, _, stream, payload in wire.frames(writer.output()):
        if kind == 8:
            given_back[stream] = given_back.get(stream, 0) + int.from_bytes(payload, "big")
    return given_back


# --- in ---------------------------------------------------------------------------------------------------------------

arrivals = st.lists(
    st.tuples(
        st.sampled_from(["body", "padded", "unwanted", "hand on", "close"]), st.integers(0, 2), st.integers(1, 9000)
    ),
    max_size=60,
)


@given(arrivals)
def test_every_byte_comes_back_to_the_connection_once(steps: list[tuple[str, int, int]]) -> None:
    """However it was used; and no stream or connection is given more than it had."""
    writer = FrameWriter(LIMITS)
    inflow = Inflow(LIMITS, writer)
    entries = [Http2Stream(2 * n + 1, WINDOW, WINDOW) for n in range(3)]
    peer = {0: WINDOW, 1: WINDOW, 3: WINDOW, 5: WINDOW}
    for what, at, size in steps:
        entry = entries[at]
        if what == "hand on":
            inflow.handed_on(entry, size)
        elif what == "close":
            inflow.closed(entry)
        elif min(peer[0], peer[entry.id]) >= size:
            peer[0] -= size
            assert inflow.arrived(size)
            if what == "unwanted":
                inflow.unwanted(size)
            else:
                peer[entry.id] -= size
                body = size if what == "body" else size // 2
                assert inflow.arrived_on(entry, size, body)
                inflow.kept(entry, body)
        for stream, step in updates(writer).items():
            peer[stream] += step
        assert all(0 <= left <= WINDOW for left in peer.values())
    for entry in entries:
        inflow.closed(entry)
    for stream, step in updates(writer).items():
        peer[stream] += step
    left = peer[0]
    assert inflow.arrived(left)
    assert updates(writer).get(0, 0) == WINDOW - left, "with nothing left, all that is owed is given"


def test_bytes_beyond_a_window_are_told() -> None:
    """Of the connection, and of a stream with room on the connection."""
    inflow = Inflow(Limits(), FrameWriter(Limits()))
    entry = Http2Stream(1, WINDOW, 100)
    assert inflow.arrived(101)
    assert not inflow.arrived_on(entry, 101, 101)
    assert not inflow.arrived(Limits().connection_window)


def test_a_stream_whose_peer_has_ended_is_given_no_window() -> None:
    """Its connection is."""
    writer = FrameWriter(LIMITS)
    inflow = Inflow(LIMITS, writer)
    entry = Http2Stream(1, WINDOW, WINDOW)
    assert inflow.arrived(60_000)
    assert inflow.arrived_on(entry, 60_000, 60_000)
    inflow.kept(entry, 60_000)
    entry.state = states.after(entry.state, states.THEIR_END)
    inflow.handed_on(entry, 60_000)
    assert updates(writer) == {0: 60_000}


def test_streams_nobody_reads_leave_the_others_a_window() -> None:
    """Small steps, where large ones would wait for bytes that cannot come."""
    writer = FrameWriter(LIMITS)
    inflow = Inflow(LIMITS, writer)
    unread, read = Http2Stream(1, WINDOW, WINDOW), Http2Stream(3, WINDOW, WINDOW)
    for entry, size in ((unread, 60_000), (read, 5_000)):
        assert inflow.arrived(size)
        assert inflow.arrived_on(entry, size, size)
        inflow.kept(entry, size)
    inflow.handed_on(read, 5_000)
    assert updates(writer)[0] == 5_000


# --- out --------------------------------------------------------------------------------------------------------------


class Out:
    """An outflow with its streams, and what left it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.writer = FrameWriter(limits)
        self.streams = Streams(ours=True)
        self.flow = Outflow(limits, self.writer, Flood(limits), self.streams)
        self.left: dict[int, bytes] = {}
        self.ends: list[int] = []
        self.order: list[int] = []

    def open(self, number: int) -> Http2Stream:
        """A new stream."""
        return self.streams.open(number, self.flow.stream_window, WINDOW)

    def collect(self) -> None:
        """Take what was written."""
        for kind, flags, stream, payload in wire.frames(self.writer.output()):
            assert len(payload) <= 16384
            if kind == 0:
                self.left[stream] = self.left.get(stream, b"") + payload
                self.order.append(stream)
            if flags & 1:
                assert stream not in self.ends
                self.ends.append(stream)


sends = st.lists(
    st.tuples(
        st.sampled_from(["send", "end", "trailers", "open one", "open all", "resize"]),
        st.integers(0, 2),
        st.integers(0, 50_000),
    ),
    max_size=50,
)


@given(sends)
def test_bytes_leave_in_order_within_every_window_and_ends_after_them(steps: list[tuple[str, int, int]]) -> None:
    """Whatever opens when."""
    out = Out()
    entries = [out.open(2 * n + 1) for n in range(3)]
    peer = {0: WINDOW, 1: WINDOW, 3: WINDOW, 5: WINDOW}
    sent = dict.fromkeys((1, 3, 5), b"")
    over: set[int] = set()
    initial = WINDOW
    for what, at, size in steps:
        entry = entries[at]
        ended = False
        if what in {"send", "end"} and entry.id not in over:
            data = bytes([at + len(sent[entry.id]) % 251]) * size
            sent[entry.id] += data
            over |= {entry.id} if what == "end" else set()
            ended = out.flow.send(entry, data, what == "end")
        elif what == "trailers" and entry.id not in over:
            over.add(entry.id)
            ended = out.flow.send_trailers(entry, FIELD)
        elif what == "open one" and size:
            assert out.flow.opened_on(entry, size)
            peer[entry.id] += size
        elif what == "open all" and size:
            assert out.flow.opened(size)
            peer[0] += size
        elif what == "resize":
            for number in (1, 3, 5):
                peer[number] += size - initial
            initial = size
            assert out.flow.resize(size)
        told = {entry.id} if ended else set()
        for waiting in out.flow.blocked():
            told |= {waiting.id} if out.flow.drain(waiting) else set()
            out.flow.to_the_end(waiting)
        before = set(out.ends)
        out.collect()
        assert set(out.ends) - before == told
        for number in (1, 3, 5):
            gone = out.left.get(number, b"")
            assert sent[number].startswith(gone)
            assert len(gone) + entries[number // 2].pending == len(sent[number])
            assert number not in out.ends or (gone == sent[number] and number in over)
            stuck = entries[number // 2].pending
            assert not stuck or entries[number // 2].send_window <= 0 or out.flow.window <= 0
        assert out.flow.window == peer[0] - sum(map(len, out.left.values())) >= 0


def test_streams_take_turns_when_the_connections_window_opens_a_little() -> None:
    """One with much to send cannot keep it to itself."""
    out = Out()
    entries = [out.open(number) for number in (1, 3, 5)]
    for entry in entries:
        out.flow.opened_on(entry, 1_000_000)
        out.flow.send(entry, b"x" * 100_000, False)
    out.collect()
    out.order.clear()
    for _ in range(6):
        out.flow.opened(1_000)
        for waiting in out.flow.blocked():
            if out.flow.window <= 0:
                break
            out.flow.drain(waiting)
            out.flow.to_the_end(waiting)
    out.collect()
    assert sorted(out.order) == [1, 1, 3, 3, 5, 5]


@pytest.mark.parametrize("step", [0, 2**31 - WINDOW])
def test_a_window_opened_by_nothing_or_too_far_is_told(step: int) -> None:
    """Of a stream, and of the connection."""
    out = Out()
    entry = out.open(1)
    assert not out.flow.opened_on(entry, step)
    assert not out.flow.opened(step)


def test_a_stream_that_is_over_leaves_nothing_waiting() -> None:
    """And counts no more where the connection has its most."""
    out = Out(Limits(connection_window=WINDOW, low_watermark=100))
    first, second = out.open(1), out.open(3)
    out.flow.send(first, b"x" * 300_000, False)
    out.flow.send(second, b"x" * 1_000, False)
    assert out.flow.full(second, 200_000), "all that waits on the connection is more than its most"
    out.flow.closed(first)
    assert not out.flow.full(second, 200_000)
    assert [entry.id for entry in out.flow.blocked()] == [3]


def test_room_is_told_once_when_what_waits_falls_to_the_low_mark() -> None:
    """The driver stopped its source and waits for that."""
    out = Out()
    entry = out.open(1)
    out.flow.send(entry, b"x" * (WINDOW + 5_000), False)
    assert entry.blocked
    out.flow.opened(10_000)
    for step, told in ((3_000, False), (1_000, True), (500, False)):
        out.flow.opened_on(entry, step)
        out.flow.drain(entry)
        assert out.flow.unblocked(entry) == told
