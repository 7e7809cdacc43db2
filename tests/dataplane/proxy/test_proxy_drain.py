"""A graceful end: say so, finish what is on the way, take who comes meanwhile once, cut the rest at the deadline."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from dataplane.config import AppProtocol, ChainMatch, FilterChain, Target, TcpFilter
from dataplane.drain import Drain
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.protocol.events import Goaway, RequestHead, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.relay.relay import Relay
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"


def test_pipelined_request_is_answered_before_the_end(rig: MakeRig) -> None:
    """What was sent before the client could know is served, and the last answer says close."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client = r.client().send(GET + GET)
    r.runtime.drain()
    r.servers[0].send(OK)
    answer = client.read()

    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer
    assert client.ended


def test_client_that_comes_while_draining_is_served_once(rig: MakeRig) -> None:
    """It may not have heard yet that this pod goes away."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),)))
    r.runtime.drain()
    client = r.client().send(GET)
    r.servers[0].send(OK)
    second = Speaker(r.client(http2=True), Http2Client(Limits()))
    second.do("send_request", RequestHead(0, b"GET", b"http", b"a", b"/", [], True, 20), True)
    assert second.events(Goaway)
    r.servers[0].send(OK)
    assert [one.status for one in second.events(ResponseHead)] == [200]
    r.run(1.1)

    assert b"connection: close" in client.read()
    assert client.ended
    assert second.peer.ended


def test_client_that_comes_while_draining_is_told_with_its_first_request(rig: MakeRig) -> None:
    """Not before: a client told on arrival has nothing it could do but come again, and would get nothing done anywhere."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),)))
    r.runtime.drain()
    r.run(0.8)
    client, silent = Speaker(r.client(http2=True), Http2Client(Limits())), r.client()
    assert not client.events(Goaway)
    r.run(0.4)
    assert not client.peer.ended
    assert not silent.ended
    client.codec.send_request(RequestHead(0, b"GET", b"http", b"a", b"/", [], True, 20), True)
    client.do("send_request", RequestHead(0, b"GET", b"http", b"a", b"/", [], True, 20), True)
    for server in r.servers:
        server.send(OK)
    seen = client.events()

    assert [one.last_stream for one in seen if isinstance(one, Goaway)] == [(1 << 31) - 1]
    assert [one.status for one in seen if isinstance(one, ResponseHead)] == [200, 200]
    r.run(2.1)
    assert client.events(Goaway)[0].last_stream == 3
    assert client.peer.ended
    assert silent.ended


def test_streams_in_flight_are_finished_and_late_ones_refused_for_retry(rig: MakeRig) -> None:
    """GOAWAY with the last stream: what is above it is safe to send elsewhere."""
    r = rig(config(clusters=(cluster("10.1.0.1", mesh=True),)))
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    head = RequestHead(0, b"GET", b"http", b"a", b"/", [], True, 20)
    client.do("send_request", head, True)
    r.runtime.drain()
    r.run(1.1)
    ends = client.events(Goaway)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    server.do("send_response", server.events(RequestHead)[0].stream, 200, b"", [], True)

    assert ends[-1].last_stream == 1
    assert [one.status for one in client.events(ResponseHead)] == [200]
    assert client.peer.ended


def test_websocket_goes_on_until_the_deadline(rig: MakeRig) -> None:
    """Nobody can be told within it; then it is cut at both ends."""
    r = rig()
    client = r.client().send(UPGRADE)
    r.servers[0].send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.read()
    r.runtime.drain()
    r.run(1.1)
    client.send(b"there")
    r.servers[0].read()
    r.servers[0].send(b"and back")
    assert client.read() == b"and back"
    r.runtime.stop()
    r.turn()

    assert client.ended
    assert r.servers[0].ended


def test_drain_taken_back_keeps_connections_again(rig: MakeRig) -> None:
    """The app was only restarted; who comes from now on stays."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    r.runtime.drain()
    r.runtime.draining = False
    client = r.client().send(GET)
    r.run(1.1)
    r.servers[0].send(OK)

    assert client.read() == OK
    assert not client.ended


# --- the pod's own app ------------------------------------------------------------------------------------------------


def test_app_that_opens_connections_while_its_pod_drains_is_told_nothing(rig: MakeRig) -> None:
    """A GOAWAY on each new connection is a loop: a gRPC client opens the next one at once, for as long as the app lives."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),)))
    r.runtime.captures = True
    before = Speaker(r.client(http2=True), Http2Client(Limits()))
    r.runtime.drain()
    after = Speaker(r.client(http2=True), Http2Client(Limits()))
    plain = r.client().send(GET)
    r.servers[0].send(OK)
    r.run(1.1)
    for app in (before, after):
        app.do("send_request", RequestHead(0, b"GET", b"http", b"a", b"/", [], True, 20), True)
        r.servers[0].send(OK)

        assert not app.events(Goaway)
        assert not app.peer.ended
    assert plain.read() == OK
    assert not plain.ended


def test_callers_are_told_whoever_else_is_not(rig: MakeRig) -> None:
    """What others opened to this pod ends; that is what draining is for."""
    r = rig(config(clusters=(cluster("10.1.0.1"),), inbound=True))
    r.runtime.captures = True
    caller = Speaker(r.client(http2=True), Http2Client(Limits()))
    idle = r.client()
    caller.pump()
    r.runtime.drain()

    assert caller.events(Goaway)
    r.run(1.1)
    assert caller.peer.ended
    assert idle.ended


def test_app_is_told_when_the_sidecar_itself_goes(rig: MakeRig) -> None:
    """At the last, with the ports closed: what waits is closed, what is under way is the last."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    r.runtime.captures = True
    r.runtime.drain()
    idle, busy = r.client(), r.client().send(GET)
    r.turn()
    r.runtime.drain_rest()
    assert idle.ended
    r.servers[0].send(OK)

    assert b"connection: close" in busy.read()
    assert busy.ended


def test_quiet_is_when_no_caller_waits(rig: MakeRig) -> None:
    """The hook that asks for it must not wait for what the app itself calls."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    r.client().send(GET)
    assert r.runtime.serving == 1
    r.runtime.captures = True
    r.client().send(GET)
    assert (r.runtime.serving, r.runtime.active) == (1, 2)


def test_callers_have_moved_on_when_none_comes_any_more(rig: MakeRig) -> None:
    """One that cannot hear of this pod's successor comes again and again: the app is not to end under it. One that was told and finishes has moved on."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),)))
    told = r.client().send(GET)
    r.servers[0].send(OK)
    r.runtime.drain()
    told.send(GET)
    assert r.runtime.wanted
    r.servers[0].send(OK)
    assert not r.runtime.wanted
    late = r.client().send(GET)
    r.servers[0].send(OK)
    assert b"connection: close" in late.read()
    assert (r.runtime.serving, r.runtime.wanted) == (0, True)
    r.run(0.6)

    assert not r.runtime.wanted


def test_caller_whose_first_request_is_its_last_has_not_heard_either(rig: MakeRig) -> None:
    """A bound of one request a connection ends it before the drain does: that its caller came is noted all the same."""
    noun = config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),))
    chain = noun.listeners["l"].chains[0]
    only = replace(chain, filter=replace(chain.filter, max_requests=1))
    r = rig(replace(noun, listeners={"l": replace(noun.listeners["l"], chains=(only,))}))
    r.runtime.drain()
    late = r.client().send(GET)
    r.servers[0].send(OK)

    assert b"connection: close" in late.read()
    assert (r.runtime.serving, r.runtime.wanted) == (0, True)


@pytest.mark.parametrize("inbound", [False, True])
def test_opaque_connection_to_an_ending_pod_is_of_a_caller_that_has_not_heard(rig: MakeRig, *, inbound: bool) -> None:
    """What the pod's own app opens is none."""
    opaque = FilterChain(name="tcp", match=ChainMatch(), filter=TcpFilter(targets=(Target(cluster="c"),)))
    noun = config(clusters=(cluster("10.1.0.1"),), inbound=inbound)
    r = rig(replace(noun, listeners={"l": replace(noun.listeners["l"], chains=(opaque,))}))
    r.runtime.captures = True
    r.runtime.drain()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        stream = Stream(r.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
        relay = Relay(r.runtime, r.runtime.tables.listeners["l"].chains[0], ("10.0.0.1", 80))
        relay.start(stream, b"")
        stream.start()
        r.turn()

        assert r.runtime.relaying
        assert r.runtime.wanted == inbound


# --- the order of the end ---------------------------------------------------------------------------------------------


class Place:
    """A sidecar as its end sees it."""

    def __init__(self, connections: int, queued: int, seconds: float) -> None:
        self.connections = connections
        self.queued = queued
        self.said: list[str] = []
        self.closed = asyncio.Event()
        self.drain = Drain(
            begin=lambda: self.said.append("begin"),
            wanted=lambda: self.connections > 0,
            open=lambda: self.connections,
            back=lambda: self.said.append("back"),
            seconds=seconds,
            shut=self.shut,
        )

    def shut(self) -> None:
        self.said.append(f"shut with {self.connections}")
        self.connections += self.queued
        self.closed.set()


async def test_ports_close_when_nobody_is_left_and_who_waited_is_served() -> None:
    """Connections the kernel had taken already are not reset."""
    place = Place(connections=1, queued=1, seconds=5.0)
    ending = asyncio.ensure_future(place.drain.end())
    await asyncio.sleep(0.12)
    assert place.said == ["begin"]
    place.connections = 0
    await asyncio.sleep(0.12)
    assert place.said == ["begin", "shut with 0"]
    assert not ending.done()
    place.connections = 0

    assert await ending


@pytest.mark.parametrize("queued", [0, 1])
async def test_deadline_ends_it_whoever_is_left(queued: int) -> None:
    """And it says so; the deadline is one for both steps."""
    place = Place(connections=1 - queued, queued=queued, seconds=0.2)
    began = time.monotonic()

    assert not await place.drain.end()
    assert 0.15 < time.monotonic() - began < 1.0
    assert place.said[-1].startswith("shut")


async def test_last_part_of_the_time_is_for_who_was_not_told_before() -> None:
    """The app's own connections are served until then, and hear of the end before they are cut."""
    place = Place(connections=1, queued=0, seconds=0.5)
    ending = asyncio.ensure_future(place.drain.end())
    await asyncio.sleep(0.3)
    assert place.said == ["begin"]
    await place.closed.wait()
    assert not ending.done()
    place.connections = 0

    assert await ending
