"""What two HTTP/2 codecs hold for each other: windows run dry, are given back, and no stream starves another."""

from __future__ import annotations

import pytest

from dataplane.protocol import codes
from dataplane.protocol.events import Data, Event, Reset, Writable
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2 import settings as http2_settings
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.codecs import exchange, head, pair


def test_body_beyond_the_window_waits_and_goes_on_as_it_is_consumed() -> None:
    """A megabyte goes through a window of 64 KB; the sender is told when it may go on."""
    client, server = pair(Limits(stream_window=65535, connection_window=65535))
    stream = client.send_request(head(b"POST"), False)
    client.send_data(stream, b"x" * 1_000_000, True)
    assert client.pending(stream) == 1_000_000 - 65535
    total, writable = 0, 0
    while not total or client.pending(stream) or total < 1_000_000:
        told, seen = exchange(client, server)
        writable += sum(isinstance(e, Writable) for e in told)
        for event in seen:
            if isinstance(event, Data):
                total += len(event.data)
                server.consumed(stream, len(event.data))

    assert total == 1_000_000
    assert writable == 1


def test_streams_share_the_connection_window() -> None:
    """A stream with much to send does not keep another from sending."""
    client, server = pair(Limits(stream_window=65535, connection_window=65535))
    big = client.send_request(head(b"POST"), False)
    small = client.send_request(head(b"POST"), False)
    client.send_data(big, b"x" * 500_000, True)
    client.send_data(small, b"y" * 10, True)
    got: dict[int, int] = {}
    order: list[int] = []
    while client.active and not (got.get(big) == 500_000 and got.get(small) == 10):
        _, seen = exchange(client, server)
        for event in seen:
            if isinstance(event, Data):
                got[event.stream] = got.get(event.stream, 0) + len(event.data)
                order.append(event.stream)
                server.consumed(event.stream, len(event.data))

    assert got == {big: 500_000, small: 10}
    assert order.index(small) < len(order) - 1


def test_streams_nobody_reads_never_stall_another() -> None:
    """With the default windows, all other streams may be full of unread bytes."""
    client, server = pair()
    unread = [client.send_request(head(b"POST"), False) for _ in range(99)]
    for stream in unread:
        client.send_data(stream, b"x" * 1_000_000, False)
        exchange(client, server)
    last = client.send_request(head(b"POST"), False)
    client.send_data(last, b"y" * 1000, True)
    _, seen = exchange(client, server)

    assert sum(len(e.data) for e in seen if isinstance(e, Data) and e.stream == last) == 1000
    assert all(client.pending(stream) for stream in unread)


@pytest.mark.parametrize("streams", [100, 300])
def test_streams_nobody_reads_never_stall_one_that_is_read(streams: int) -> None:
    """Nor do they when it needs many windows: the connection's is opened again while there is room, however little."""
    client, server = pair(Limits(concurrent_streams=streams))
    for _ in range(streams - 1):
        client.send_data(client.send_request(head(b"POST"), False), b"x" * 1_000_000, False)
        exchange(client, server)
    last = client.send_request(head(b"POST"), False)
    client.send_data(last, b"y" * 5_000_000, True)
    got, moved = 0, True
    while moved:
        _, seen = exchange(client, server)
        moved = False
        for event in seen:
            if isinstance(event, Data) and event.stream == last:
                got += len(event.data)
                moved = True
                server.consumed(last, len(event.data))

    assert got == 5_000_000


def test_bytes_a_connection_holds_do_not_grow_with_its_streams() -> None:
    """Three times the streams have a third of the window each, and never less than the protocol begins with.

    Together they begin with half of what the connection may hold; the other half is what those that are read grow by.
    """
    held = []
    for streams in (100, 300, 1000):
        client, server = pair(Limits(concurrent_streams=streams, connection_window=100 << 18))
        for _ in range(streams):
            client.send_data(client.send_request(head(b"POST"), False), b"x" * 1_000_000, False)
        _, seen = exchange(client, server)
        held.append(sum(len(event.data) for event in seen if isinstance(event, Data)))

    assert max(held) <= 100 << 18
    assert min(held) == 50 << 18


def test_stream_is_full_earlier_on_a_connection_that_is() -> None:
    """What waits for a peer is bounded over all of its streams; whoever is stopped is told when to go on."""
    client = Http2Client(Limits(connection_window=1 << 20))
    client.receive(http2_settings.frame([]))
    streams = [client.send_request(head(b"POST"), False) for _ in range(10)]
    written = 0
    for stream in streams * 10:
        if not client.full(stream, 1 << 18):
            client.send_data(stream, b"x" * 60_000, False)
            written += 60_000
    assert not client.full(streams[0] + 2_000, 1 << 18)
    assert 1 << 20 <= written <= (1 << 20) + 10 * 92_000
    told: list[Event] = []
    for stream in streams:
        told += client.receive(frames.window_update(0, 1_000_000) + frames.window_update(stream, 1_000_000))
    assert {event.stream for event in told if isinstance(event, Writable)} == set(streams)
    assert not any(client.full(stream, 1 << 18) for stream in streams)


def test_reset_stream_gives_its_bytes_back_to_the_connection() -> None:
    """What a dead stream held does not shrink the connection's window for good."""
    client, server = pair(Limits(stream_window=65535, connection_window=65535))
    for _ in range(20):
        stream = client.send_request(head(b"POST"), False)
        client.send_data(stream, b"x" * 30_000, False)
        exchange(client, server)
        server.reset(stream, codes.CANCEL)
        told, _ = exchange(client, server)
        assert any(isinstance(e, Reset) and e.code == codes.CANCEL for e in told)

    assert client.active == server.active == 0
