"""Streams at once: as many on one client's connection as it was told, over as many connections to servers as that takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from dataplane.config import AppProtocol, CircuitLimits
from dataplane.protocol.events import Data, RequestHead, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.dataplane.proxy import pair as pairs
from tests.dataplane.proxy.pair import Pair
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
STREAMS = 250
SIDECAR = "spiffe://t/ns/n/sa/a"


def client(r: Rig) -> Speaker:
    """A client that has read what it may do."""
    speaker = Speaker(r.client(http2=True), Http2Client(Limits()))
    speaker.pump()
    return speaker


def ask(speaker: Speaker, count: int) -> None:
    for _ in range(count):
        speaker.codec.send_request(RequestHead(0, b"GET", b"http", b"web", b"/x", [], True, 20), True)
    speaker.pump()


class Servers:
    """Every server the proxy dialled, with limits of their own."""

    def __init__(self, r: Rig, limits: Limits) -> None:
        self.r = r
        self.limits = limits
        self.speakers: list[Speaker] = []

    def heads(self) -> list[int]:
        """How many requests each of them has."""
        for _ in range(12):
            for peer in self.r.servers[len(self.speakers) :]:
                self.speakers.append(Speaker(peer, Http2Server(self.limits)))
            for one in self.speakers:
                one.pump()
        return [sum(isinstance(event, RequestHead) for event in one.seen) for one in self.speakers]

    def answer(self) -> None:
        for one in self.speakers:
            for event in one.events(RequestHead):
                one.do("send_response", event.stream, 204, b"", [], True)


@pytest.mark.parametrize(
    ("listener", "mesh", "told"),
    [(0, "", 1024), (0, SIDECAR, 100), (7, "", 7), (500, "", 500), (7, SIDECAR, 7), (500, SIDECAR, 200)],
)
def test_client_is_told_how_many_streams_it_may_have(rig: MakeRig, listener: int, mesh: str, told: int) -> None:
    """The listener's own number, else more than any client would wait for; sidecars have no more than have a window each."""
    r = rig(config(http={"max_streams": listener}))
    codec = Http2Client(Limits())
    Speaker(r.client(http2=True, mesh=mesh), codec).pump()

    assert codec.peer_streams == told


@pytest.mark.parametrize("mesh", [False, True], ids=["app", "sidecar"])
@pytest.mark.parametrize(
    ("server", "option", "spread"),
    [
        (Limits(concurrent_streams=100), 0, [100, 100, 50]),
        (Limits(concurrent_streams=500), 0, [100, 100, 50]),
        (Limits(concurrent_streams=500), 200, [200, 50]),
        (Limits(concurrent_streams=60), 0, [60, 60, 60, 60, 10]),
    ],
)
def test_another_connection_is_opened_where_one_carries_no_more(
    rig: MakeRig, mesh: bool, server: Limits, option: int, spread: list[int]
) -> None:
    """By the server's limit or the cluster's, whichever is less; nobody waits for a stream to end, and all are answered."""
    noun = replace(cluster("10.1.0.1", protocol=AppProtocol.HTTP2, mesh=mesh), max_streams=option)
    r = rig(config(clusters=(noun,)))
    servers = Servers(r, server)
    asking = client(r)
    ask(asking, 1)
    servers.heads()
    ask(asking, STREAMS - 1)

    assert servers.heads() == spread
    servers.answer()
    assert [head.status for head in asking.events(ResponseHead)] == [204] * STREAMS


@pytest.mark.parametrize("mesh", [False, True], ids=["app", "sidecar"])
def test_streams_sent_before_the_limit_was_known_are_sent_again(rig: MakeRig, mesh: bool) -> None:
    """The server refuses them for that alone: it is neither ill nor without its app."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP2, mesh=mesh),)))
    servers = Servers(r, Limits(concurrent_streams=60))
    asking = client(r)
    ask(asking, 100)

    assert servers.heads() == [60, 40]
    servers.answer()
    assert [head.status for head in asking.events(ResponseHead)] == [204] * 100
    assert r.runtime.metrics.events.of("endpoint_set_aside").value == 0


def test_server_that_takes_no_streams_is_waited_for_and_not_dialled_anew(rig: MakeRig) -> None:
    """Its limit of none holds until it says another, or until connecting would have taken too long."""
    only = replace(cluster("10.1.0.1", protocol=AppProtocol.HTTP2), connect_timeout=0.3)
    r = rig(config(clusters=(only,)))
    asking = client(r)
    ask(asking, 1)
    server = Speaker(r.servers[0], Http2Server(Limits(concurrent_streams=1)))
    server.pump()
    (first,) = server.events(RequestHead)
    server.peer.send(settings_of(0))
    ask(asking, 2)
    assert len(r.dialer.dials) == 1
    r.run(0.4)
    assert [head.status for head in asking.events(ResponseHead)] == [503, 503]
    ask(asking, 1)
    server.do("send_response", first.stream, 204, b"", [], True)
    assert server.events(RequestHead) == []
    server.peer.send(settings_of(1))
    (second,) = server.events(RequestHead)
    server.do("send_response", second.stream, 204, b"", [], True)

    assert [head.status for head in asking.events(ResponseHead)] == [204, 204]
    assert len(r.dialer.dials) == 1
    server.peer.send(settings_of(0))
    server.peer.close()
    ask(asking, 2)
    assert len(r.servers) == 2
    assert len(Speaker(r.servers[1], Http2Server(Limits())).events(RequestHead)) == 2


def test_streams_that_become_free_serve_who_waits_for_an_endpoint_that_is_gone(rig: MakeRig) -> None:
    """On the connection there is: no other one is begun to a pod that is on its way out, and it is told to go when nobody waits."""
    only = replace(cluster("10.1.0.1", protocol=AppProtocol.HTTP2), limits=CircuitLimits(max_connections=1))
    r = rig(config(clusters=(only,)))
    asking = client(r)
    ask(asking, 1)
    server = Speaker(r.servers[0], Http2Server(Limits(concurrent_streams=2)))
    server.pump()
    ask(asking, 4)
    assert len(server.events(RequestHead)) == 2
    elsewhere = replace(only, static=cluster("10.1.0.2").static)
    r.runtime.install(compile_tables(config(clusters=(elsewhere,)), r.runtime.tables))
    r.turn()
    assert not server.codec.closing
    for stream in (1, 3, 5, 7, 9):
        server.do("send_response", stream, 204, b"", [], True)

    assert [head.status for head in asking.events(ResponseHead)] == [204] * 5
    assert len(r.dialer.dials) == 1
    assert server.peer.ended
    assert r.runtime.tables.clusters["c"].circuit.connections == 0


@pytest.mark.parametrize("option", [0, 250, 5000], ids=["ours", "more", "more than its bytes are enough for"])
def test_answers_nobody_reads_leave_the_others_on_their_connection_a_window(rig: MakeRig, option: int) -> None:
    """However many streams a cluster asks for: they share one number of bytes, and are no more than have a window of it."""
    noun = replace(cluster("10.1.0.1", protocol=AppProtocol.HTTP2), max_streams=option)
    r = rig(config(clusters=(noun,)), protocol=Limits(connection_window=4 * 1024 * 1024))
    wide = Limits(concurrent_streams=1, connection_window=2**30)
    asking = Speaker(r.client(http2=True), Http2Client(Limits(concurrent_streams=2**14, connection_window=2**30)))
    servers = Servers(r, replace(wide, concurrent_streams=5000))
    ask(asking, 1)
    servers.heads()
    asking.seen.clear()
    ask(asking, 255)
    heads = servers.heads()
    assert max(heads) == {0: 100, 250: 250, 5000: 256}[option]
    first = servers.speakers[0]
    *unread, last = [event.stream for event in first.events(RequestHead)]
    for stream in unread:
        first.codec.send_response(stream, 200, b"", [], False)
        first.codec.send_data(stream, b"x" * 300_000, True)
    first.pump()
    asking.seen.clear()
    first.do("send_response", last, 200, b"", [], False)
    first.do("send_data", last, b"y" * 1000, True)

    assert sum(len(event.data) for event in asking.events(Data) if event.end) == 1000


def settings_of(streams: int) -> bytes:
    """SETTINGS_MAX_CONCURRENT_STREAMS alone, as a frame (RFC 9113, section 6.5)."""
    return b"\0\0\6\4\0\0\0\0\0" + b"\0\3" + streams.to_bytes(4, "big")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pairs.pair(tmp_path_factory.mktemp("pair"), threads=STREAMS + 8) as pair:
        yield pair


def test_hundreds_of_long_streams_on_one_channel_are_open_at_once(mesh: Pair) -> None:
    """What a client that watches many things does; each gets its answer while all stay open."""
    done = threading.Event()

    def one() -> Iterator[bytes]:
        yield b"x"
        done.wait(60)

    with grpc.insecure_channel(f"127.0.0.1:{mesh.grpc}") as channel:
        each = channel.stream_stream("/t.T/Each")
        calls = [each(one(), timeout=50) for _ in range(STREAMS)]
        try:
            assert [next(call) for call in calls] == [b"X"] * STREAMS
        finally:
            done.set()
        assert [list(call) for call in calls] == [[]] * STREAMS
