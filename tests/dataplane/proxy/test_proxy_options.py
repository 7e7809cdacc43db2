"""What is pushed of a cluster's options reaches the pools and connections that are there, and drops none that is still good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol, CircuitLimits, TlsContext
from dataplane.protocol.events import RequestHead
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.dataplane.proxy.rig import Peer, Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
WELL = b"HTTP/1.1 200"


def one(rig: MakeRig, protocol: AppProtocol = AppProtocol.HTTP1, **more: Any) -> Rig:
    """A rig with one endpoint, and one answered request on a connection to it."""
    r = rig(config(clusters=(replace(cluster("10.1.0.1", protocol=protocol), **more),)), sweep=0.02)
    r.runtime.start()
    return r


def push(r: Rig, **more: Any) -> None:
    noun = r.runtime.tables.config
    new = replace(noun, clusters={"c": replace(noun.clusters["c"], **more)})
    r.runtime.install(compile_tables(new, r.runtime.tables))
    r.turn()


def served(r: Rig, client: Peer | None = None) -> Peer:
    """Have a request answered by whichever server got it; return the client."""
    client = client or r.client()
    client.send(GET)
    for server in r.servers:
        if not server.over and server.read():
            server.send(OK)
    assert client.read() == OK
    return client


def test_connect_timeout_reaches_the_pool(rig: MakeRig) -> None:
    """The next connection has the new one; the one that is there serves on."""
    r = one(rig)
    seen: list[float] = []
    dial = r.dialer.dial

    def watched(*args: Any, timeout: float, **named: Any) -> Any:
        seen.append(timeout)
        return dial(*args, timeout=timeout, **named)

    r.dialer.dial = watched
    served(r)
    push(r, connect_timeout=0.123)
    served(r)
    assert len(seen) == 1
    r.client().send(GET), r.client().send(GET)

    assert seen[1:] == [0.123]


def test_idle_time_reaches_connections_that_rest(rig: MakeRig) -> None:
    """They close when the new time is over; without it in the next push they have the default again."""
    r = one(rig)
    served(r)
    push(r, idle=0.05)
    r.run(0.2)
    assert r.servers[0].ended
    served(r)
    push(r, idle=None)
    r.run(0.2)

    assert not r.servers[1].ended


def test_life_reaches_connections_that_are_open(rig: MakeRig) -> None:
    """Too old by the new measure, they take no more requests."""
    r = one(rig)
    served(r)
    push(r, life=0.05)
    r.run(0.2)

    assert r.servers[0].ended


def test_keepalive_reaches_connections_that_are_open(rig: MakeRig) -> None:
    """A silent server is asked from now on, and given up."""
    r = one(rig, AppProtocol.HTTP2)
    client = r.client().send(GET)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    assert server.events(RequestHead)
    push(r, keepalive=(0.03, 0.03))
    r.run(0.25)

    assert client.read().startswith(b"HTTP/1.1 503")
    assert r.runtime.metrics.events.of("keepalive_timeouts").value == 1


def test_requests_a_connection_carries_reach_connections_that_rest(rig: MakeRig) -> None:
    """Who has carried as many goes, and the next request has another connection."""
    r = one(rig)
    client = served(r)
    served(r, client)
    push(r, max_requests=2)
    assert r.servers[0].ended
    served(r, client)

    assert len(r.dialer.dials) == 2


def test_streams_a_connection_carries_reach_requests_that_wait(rig: MakeRig) -> None:
    """More are let through at once, and not with the next end of a request."""
    r = one(rig, AppProtocol.HTTP2, max_streams=1, limits=CircuitLimits(max_connections=1))
    for _ in range(3):
        r.client().send(GET)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    assert len(server.events(RequestHead)) == 1
    push(r, max_streams=2)

    assert len(server.events(RequestHead)) == 1
    assert len(r.dialer.dials) == 1


def test_connections_a_cluster_may_have_reach_requests_that_wait(rig: MakeRig) -> None:
    """They are dialled for at once."""
    r = one(rig, limits=CircuitLimits(max_connections=1))
    for _ in range(3):
        r.client().send(GET)
    assert len(r.servers) == 1
    push(r, limits=CircuitLimits(max_connections=2))

    assert len(r.servers) == 2


@pytest.mark.parametrize(
    "change",
    [{"tls": TlsContext(sni="other", alpn=("http/1.1",))}, {"protocol": AppProtocol.HTTP2}],
    ids=["tls", "protocol"],
)
def test_other_tls_or_protocol_ends_connections_when_they_have_answered(rig: MakeRig, change: dict[str, Any]) -> None:
    """What rests goes at once, what is busy finishes."""
    r = one(rig)
    clients = [r.client().send(GET) for _ in range(2)]
    r.servers[0].send(OK)
    assert clients[0].read() == OK
    push(r, **change)

    assert (r.servers[0].ended, r.servers[1].ended) == (True, False)
    r.servers[1].send(OK)
    assert clients[1].read() == OK
    assert r.servers[1].ended
    assert not any(pool.connections for slot in r.runtime.tables.clusters["c"].slots for pool in (slot.http1,) if pool)


def test_push_that_changes_nothing_of_it_leaves_the_connection_alone(rig: MakeRig) -> None:
    """Other endpoints, another policy: the same connection."""
    r = one(rig)
    client = served(r)
    push(r, policy="random", idle=7.0, max_requests=100, connect_timeout=1.0)
    served(r, client)

    assert len(r.dialer.dials) == 1


def test_repeated_request_goes_by_the_tables_in_force(rig: MakeRig) -> None:
    """An endpoint a push took away is not dialled for what waits to be tried again."""
    r = rig(config(clusters=(cluster("10.1.0.1", "10.1.0.2"),)))
    r.dialer.held = True
    client = r.client().send(GET)
    first = r.dialer.dials[0][0]
    noun = r.runtime.tables.config
    new = replace(noun, clusters={"c": cluster("10.1.0.3")})
    r.runtime.install(compile_tables(new, r.runtime.tables))
    receiver, peer = r.waiting.pop(0)
    r.dialer.held = False
    peer.sock.close()
    receiver.stream.abort()
    r.turn()
    r.servers[-1].send(OK)

    assert client.read() == OK
    assert [one[0] for one in r.dialer.dials] == [first, "10.1.0.3"]
