"""Windows that grow with what is read, within the one number of bytes a connection may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.protocol.events import Data, RequestHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.inflow import Inflow
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.http2.stream import Http2Stream
from dataplane.protocol.http2.writer import FrameWriter
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol import wire

PLAIN = Limits(concurrent_streams=1024)
SIDECAR = Limits()
BODY = 20_000_000


def round_trips(limits: Limits, size: int) -> int:
    """Exchanges an upload takes on a link where bytes are long under way: each side hears all the other said, then speaks."""
    client, server = Http2Client(Limits()), Http2Server(limits)
    server.receive(client.output())
    client.receive(server.output())
    stream = client.send_request(RequestHead(0, b"POST", b"http", b"a", b"/", [], False), False)
    client.send_data(stream, b"x" * size, True)
    trips = got = 0
    while got < size:
        trips += 1
        for event in server.receive(client.output()):
            if isinstance(event, Data):
                got += len(event.data)
                server.consumed(event.stream, len(event.data))
        client.receive(server.output())
    return trips


@pytest.mark.parametrize("limits", [PLAIN, SIDECAR], ids=["plain", "sidecar"])
def test_an_upload_on_a_link_with_delay_is_not_kept_to_the_window_it_began_with(limits: Limits) -> None:
    """At 64 KiB a round trip 20 MB would take over 300 of them."""
    assert round_trips(limits, BODY) <= 16


def grow(inflow: Inflow, entry: Http2Stream, size: int) -> None:
    """A reader takes so many bytes as they come."""
    while size > 0:
        step = min(size, 16_384, entry.receive_window)
        assert inflow.arrived(step)
        assert inflow.arrived_on(entry, step, step)
        inflow.kept(entry, step)
        inflow.handed_on(entry, step)
        size -= step


def test_a_window_grows_no_wider_than_its_bound() -> None:
    """Whatever is read."""
    inflow = Inflow(SIDECAR, FrameWriter(SIDECAR))
    entry = Http2Stream(1, 0, inflow.stream_window)
    grow(inflow, entry, 100_000_000)
    assert entry.window == SIDECAR.widest_window == 4 * 1024 * 1024
    assert entry.receive_window <= entry.window


def test_the_window_of_a_reader_that_is_behind_stays() -> None:
    """It would only hold more."""
    inflow = Inflow(SIDECAR, FrameWriter(SIDECAR))
    entry = Http2Stream(1, 0, inflow.stream_window)
    for _ in range(1_000):
        step = min(16_384, entry.receive_window)
        assert inflow.arrived(step)
        assert inflow.arrived_on(entry, step, step)
        inflow.kept(entry, step)
        if entry.unconsumed > inflow.stream_window * 3 // 4:
            inflow.handed_on(entry, 16_384)
    assert entry.window == inflow.stream_window


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 9_000_000), st.booleans()), max_size=30))
def test_all_streams_together_hold_what_the_connection_may_however_some_have_grown(
    steps: list[tuple[int, int, bool]],
) -> None:
    """So that streams nobody reads leave the others their turn; and what a stream had grown by is there for the next."""
    inflow = Inflow(SIDECAR, FrameWriter(SIDECAR))
    entries = {at: Http2Stream(2 * at + 1, 0, inflow.stream_window) for at in range(SIDECAR.concurrent_streams)}
    for at, size, ends in steps:
        grow(inflow, entries[at], size)
        if ends:
            inflow.closed(entries[at])
            entries[at] = Http2Stream(entries[at].id, 0, inflow.stream_window)
        assert sum(entry.window for entry in entries.values()) <= SIDECAR.connection_window
        assert all(entry.receive_window <= entry.window for entry in entries.values())
    for entry in entries.values():
        inflow.closed(entry)
    last = Http2Stream(999, 0, inflow.stream_window)
    grow(inflow, last, 100_000_000)
    assert last.window == SIDECAR.widest_window


@pytest.mark.parametrize("grown", [0, 1, 5, 20])
def test_streams_that_grew_and_are_read_no_more_do_not_stall_one_that_is(grown: int) -> None:
    """On the wire, against a server that every client fills as far as it may."""
    server = wire.greeted(SIDECAR)
    left = {0: SIDECAR.connection_window}
    streams = [2 * at + 1 for at in range(SIDECAR.concurrent_streams)]

    def heard() -> None:
        for kind, _, stream, payload in wire.frames(server.output()):
            if kind == 8:
                left[stream] += int.from_bytes(payload, "big")

    def send(stream: int, *, read: bool) -> int:
        size = min(16_384, left[0], left[stream])
        left[0] -= size
        left[stream] -= size
        for event in server.receive(wire.data(stream, b"x" * size)):
            assert isinstance(event, Data)
            if read:
                server.consumed(stream, size)
        heard()
        return size

    for stream in streams:
        server.receive(wire.headers(stream, wire.POST, wire.END_HEADERS))
        left[stream] = SIDECAR.window
    for stream in streams[:grown]:
        for _ in range(600):
            assert send(stream, read=True)
    for stream in streams[:-1]:
        while send(stream, read=False):
            pass
    assert all(send(streams[-1], read=True) for _ in range(200))


def test_a_connection_of_little_has_windows_that_stay() -> None:
    """No stream may be wider than half of what the connection may hold."""
    limits = Limits(connection_window=65_535, stream_window=65_535)
    assert round_trips(limits, 10 * 65_535) >= 10
