"""What becomes of an open connection when the tables change: it follows, ends calmly, or ends now."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import (
    Authorization,
    ChainMatch,
    FilterChain,
    HttpFilter,
    Listener,
    RouteTable,
    Rules,
    SidecarConfig,
    Target,
    TcpFilter,
    VirtualHost,
)
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.protocol.events import Goaway, RequestHead, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits
from dataplane.proxy.arrive import standing
from dataplane.proxy.relay.relay import Relay
from dataplane.proxy.worker.runtime import CLOSE_IDLE_AFTER
from dataplane.tables.compile import compile_tables
from meshapi import records, xds
from tests.dataplane.proxy.rig import MESH_TLS, Peer, Rig, Speaker, cluster, everything
from tests.support.relays import inbound, proxy

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
HEAD = (0, b"GET", b"http", b"a", b"/", [], True, 20)
DENY_ALL = Authorization(rules=Rules(deny=False, policies=()))


def http(*, name: str = "http", authorization: tuple[Authorization, ...] = (), **match: Any) -> FilterChain:
    """A chain whose routes come with it."""
    table = RouteTable(name="r", hosts=(VirtualHost(domains=("*",), routes=(everything(),)),))
    return FilterChain(
        name=name, match=ChainMatch(**match), filter=HttpFilter(routes=table, authorization=authorization)
    )


def tcp(*, name: str = "tcp", authorization: tuple[Authorization, ...] = (), **match: Any) -> FilterChain:
    filter_ = TcpFilter(targets=(Target(cluster="c"),))
    return FilterChain(name=name, match=ChainMatch(**match), filter=filter_, authorization=authorization)


def world(*chains: FilterChain, clusters: bool = True, **more: Any) -> SidecarConfig:
    """A listener of these chains; none of them, no listener."""
    noun = Listener(name="l", address="10.0.0.1", port=80, chains=chains, **more)
    known = (cluster("10.1.0.1"),) if clusters else ()
    return SidecarConfig(listeners={"l": noun} if chains else {}, clusters={c.name: c for c in known})


def install(r: Rig, noun: SidecarConfig) -> None:
    """Put tables in force, and wait until all connections have looked at them, however slow the machine."""
    r.runtime.install(compile_tables(noun, r.runtime.tables))
    r.turn()
    while r.runtime.reviewing:
        r.run(0.01)


def served(r: Rig, client: Peer) -> bytes:
    """Ask, let a server answer, and return what the client got."""
    client.send(GET)
    for server in r.servers:
        if server.read():
            server.send(OK)
    return client.read()


def relay(r: Rig, *, known: bool = True) -> Peer:
    """An opaque connection of a client, on the only chain or to a destination nobody knows, with bytes gone through."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(r.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
    stream.target = ("10.0.0.1", 80)
    chain = r.runtime.tables.listeners["l"].chains[0] if known else None
    opaque = Relay(r.runtime, chain, stream.target)
    stream.start()
    opaque.start(stream, b"")
    client = Peer(r, theirs, ("10.9.9.9", 4000))
    r.clients.append(client)
    r.turn()
    client.send(b"there")
    assert r.servers[-1].read() == b"there"
    return client


# --- what went away, or speaks otherwise ------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [world(), world(tcp())], ids=["the Service went", "appProtocol became tcp"])
def test_idle_connections_end_soon_when_their_chain_is_gone(rig: MakeRig, now: SidecarConfig) -> None:
    """Else their clients would use them for as long as they like, and never meet what is there now."""
    r = rig(world(http()))
    r.runtime.dice = lambda: 0.005
    first, second = r.client(), Speaker(r.client(http2=True), Http2Client(Limits()))
    assert served(r, first) == OK
    second.pump()
    install(r, now)
    assert not first.ended
    r.run(0.2)

    assert first.ended
    assert second.events(Goaway)
    assert second.peer.ended


def test_request_before_its_connections_turn_is_served_by_what_it_had(rig: MakeRig) -> None:
    """A connection that is to end is no reason to fail what still can be done."""
    r = rig(world(http()))
    r.runtime.dice = lambda: 0.02
    client = r.client()
    served(r, client)
    install(r, world(tcp()))
    assert served(r, client) == OK
    client.send(GET)
    r.servers[0].read()
    r.run(0.4)
    r.servers[0].send(OK)

    assert b"connection: close" in client.read()
    assert client.ended


def test_request_before_its_connections_turn_is_served_though_the_service_went(rig: MakeRig) -> None:
    """Its cluster goes with the listener; Kubernetes as well serves what is connected when a Service is deleted."""
    r = rig(world(http()))
    r.runtime.dice = lambda: 0.02
    client = r.client()
    served(r, client)
    install(r, world(clusters=False))
    assert served(r, client) == OK
    client.send(GET)
    answer_all(r)
    r.run(0.4)
    client.read()

    assert client.ended


def test_request_of_the_own_app_that_meets_its_connections_turn_is_served(rig: MakeRig) -> None:
    """An idle connection that is closed under a request loses it: the app hears of the end with its next answer, and is shut out later."""
    r = rig(world(http()))
    r.runtime.captures = True
    r.runtime.dice = lambda: 0.005
    client, quiet = r.client(), r.client()
    served(r, client)
    install(r, world(tcp()))
    r.run(0.2)
    assert not client.ended
    assert b"connection: close" in served(r, client)
    assert client.ended
    r.run(CLOSE_IDLE_AFTER)

    assert quiet.ended


def answer_all(r: Rig) -> None:
    for server in r.servers:
        if server.read():
            server.send(OK)


def test_own_app_is_told_with_an_answer_before_its_idle_connection_ends(rig: MakeRig) -> None:
    """It may ask in this very moment, so that a look at what is idle, just then, closes nothing it was not told of."""
    r = rig(world(http()))
    r.runtime.captures = True
    r.runtime.dice = lambda: 0.005
    client = r.client()
    served(r, client)
    install(r, world(tcp()))
    r.run(0.1)
    r.runtime._sweep()
    r.turn()
    client.send(GET)
    assert r.servers[0].read().startswith(b"GET")
    r.servers[0].send(OK)

    assert b"connection: close" in client.read()


def test_opaque_bytes_go_on_where_their_port_is_declared_http(rig: MakeRig) -> None:
    """Nobody can be told within them, and to end them loses what is under way."""
    r = rig(world(tcp()))
    r.runtime.dice = lambda: 0.005
    client = relay(r)
    install(r, world(http()))
    r.run(0.2)
    client.send(b"more")

    assert r.servers[-1].read() == b"more"
    assert not client.ended


def test_opaque_bytes_do_not_go_on_where_requests_are_judged_now(rig: MakeRig) -> None:
    """A rule that looks at requests cannot look at them."""
    r = rig(world(tcp()))
    client = relay(r)
    install(r, world(http(authorization=(DENY_ALL,))))

    assert client.ended


def test_what_a_request_lacks_ends_its_connection(rig: MakeRig) -> None:
    """The client comes anew and may find it; a new connection that finds nothing is kept, or its client would loop."""
    r = rig(world(http()))
    client, fresh = r.client(), None
    served(r, client)
    install(r, world(http(), clusters=False))
    answer = served(r, client)
    assert b"cluster_not_found" in answer
    assert b"connection: close" in answer
    assert client.ended
    fresh = r.client()

    assert b"connection: close" not in served(r, fresh)
    assert not fresh.ended


def test_missing_route_table_ends_an_older_connection(rig: MakeRig) -> None:
    """That routes have not arrived yet is no answer to give for ever."""
    by_name = records.replace(http(), filter=HttpFilter(route_name="r"))
    r = rig(world(http()))
    client = r.client()
    served(r, client)
    install(r, world(by_name))
    answer = served(r, client)

    assert b"route_table_missing" in answer
    assert client.ended


def test_destination_that_is_back_keeps_its_connections(rig: MakeRig) -> None:
    """Deleted and made again within the time: the turn passes."""
    r = rig(world(http()))
    r.runtime.dice = lambda: 0.01
    client = r.client()
    served(r, client)
    install(r, world())
    install(r, world(http(name="another")))
    r.run(0.2)

    assert served(r, client) == OK
    assert not client.ended


def test_ends_of_many_are_spread(rig: MakeRig) -> None:
    """A listener that vanished under a thousand connections must not make a thousand clients come at once."""
    r = rig(world(http()))
    shares = iter([one / 100 for one in range(100)])
    r.runtime.dice = lambda: next(shares)
    for _ in range(100):
        r.client()
    began = r.runtime.timers.pending()
    install(r, world())

    assert r.runtime.timers.pending() - began == 100
    r.run(0.35)
    left = sum(not client.ended for client in r.clients)
    assert 95 <= left <= 97, "three or four shares of a hundredth of ten seconds are over"


def test_opaque_bytes_are_reset_when_their_destination_went(rig: MakeRig) -> None:
    """Nobody can be told within them."""
    r = rig(world(tcp()))
    r.runtime.dice = lambda: 0.005
    client = relay(r)
    install(r, world())
    assert not client.ended
    r.run(0.2)

    assert client.ended
    assert r.servers[-1].ended


# --- what would be refused --------------------------------------------------------------------------------------------

STRICT = world(records.replace(http(transport="tls"), tls=MESH_TLS), inbound=True)


def test_plaintext_ends_at_once_when_strict_comes(rig: MakeRig) -> None:
    """HTTP/1, HTTP/2 and opaque connections alike; what is under way is finished and no more is taken."""
    r = rig(world(http(transport="raw_buffer"), inbound=True))
    idle, busy = r.client(), r.client()
    streams = Speaker(r.client(http2=True), Http2Client(Limits()))
    served(r, idle)
    streams.do("send_request", RequestHead(*HEAD), True)
    r.servers[-1].read()
    busy.send(GET)
    install(r, STRICT)
    assert idle.ended
    streams.do("send_request", RequestHead(*HEAD), True)
    for server in r.servers:
        if server.read():
            server.send(OK)

    assert b"200 OK" in busy.read()
    assert busy.ended
    r.servers[0].send(OK)
    assert sum(isinstance(one, ResponseHead) for one in streams.events()) <= 1


def test_opaque_connection_is_cut_when_strict_comes(rig: MakeRig) -> None:
    """At both ends, at once."""
    r = rig(world(tcp(transport="raw_buffer"), inbound=True))
    client = relay(r)
    install(r, STRICT)

    assert client.ended
    assert r.servers[-1].ended


def test_rule_that_denies_all_answers_once_and_ends(rig: MakeRig) -> None:
    """The answer a new connection would get, then the end; opaque bytes get none."""
    r = rig(world(http(), inbound=True))
    client = r.client()
    served(r, client)
    install(r, world(http(authorization=(DENY_ALL,)), inbound=True))
    answer = served(r, client)
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"connection: close" in answer
    assert client.ended

    second = rig(world(tcp(), inbound=True))
    opaque = relay(second)
    install(second, world(tcp(authorization=(DENY_ALL,)), inbound=True))
    assert opaque.ended


def denied_under_an_answer(r: Rig) -> Peer:
    """All is denied while a client has the first part of its answer."""
    client = r.client().send(GET)
    r.servers[0].read()
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nwait for it")
    install(r, world(http(authorization=(DENY_ALL,)), inbound=True))
    return client


def test_long_answer_is_cut_in_the_end_when_all_is_denied(rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream nobody may open any more does not go on for as long as it likes."""
    monkeypatch.setattr(standing, "CUT_SECONDS", 0.1)
    r = rig(world(http(), inbound=True))
    client = denied_under_an_answer(r)
    assert not client.ended
    r.run(0.3)

    assert client.ended


def test_long_answer_goes_on_when_the_deny_is_taken_back(rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deny-all that came a moment before its allow, or by mistake, cuts nothing once it is gone."""
    monkeypatch.setattr(standing, "CUT_SECONDS", 0.1)
    r = rig(world(http(), inbound=True))
    client = denied_under_an_answer(r)
    install(r, world(http(authorization=(DENY_ALL,), name="other"), http(), inbound=True))
    install(r, world(http(), inbound=True))
    r.run(0.3)

    assert not client.ended


def test_who_is_told_to_go_again_and_again_has_no_longer_for_it(rig: MakeRig) -> None:
    """A client that ignores it does not put off the end by what it asks for."""
    r = rig(world(http(), inbound=True))
    r.client()
    (connection,) = r.runtime.downstreams
    connection.drain()
    r.run(0.3)
    connection.drain()
    r.run(0.3)
    connection.shut_late(r.runtime.clock())
    r.run(0.1)

    assert not r.runtime.downstreams


@pytest.mark.parametrize("known", [True, False])
def test_connection_to_no_destination_is_cut_when_the_policy_becomes_deny(rig: MakeRig, known: bool) -> None:
    """The mesh's outbound policy is a rule like any other, whether the destination was known before or not."""
    r = rig(world(tcp()))
    client = relay(r, known=known)
    denied = Listener(
        name="in", address="", port=0, chains=(http(),), inbound=True, metadata=(("outbound_policy", "deny"),)
    )
    install(r, SidecarConfig(listeners={"in": denied}))

    assert client.ended


@pytest.mark.parametrize(("chain", "ends"), [(tcp(), False), (http(authorization=(DENY_ALL,)), True)])
def test_bytes_passed_through_end_only_where_they_would_be_refused(
    rig: MakeRig, chain: FilterChain, ends: bool
) -> None:
    """A connection made while no control plane could be asked outlives its return; not where rules could refuse what it sends."""
    r = rig(world(tcp()))
    r.runtime.dice = lambda: 0.005
    name = xds.outbound_listener("10.0.0.1", 80)
    client = relay(r, known=False)
    install(r, SidecarConfig(listeners={name: Listener(name=name, address="", port=80, chains=(chain,))}))
    r.run(0.2)

    assert client.ended is ends


# --- a pod that ends --------------------------------------------------------------------------------------------------


def test_app_is_served_after_its_pods_object_went(rig: MakeRig) -> None:
    """The API server forgets a pod before its processes end; what arrives until then is the app's, old connection or new."""
    r = rig(world(http(), inbound=True))
    r.runtime.dice = lambda: 0.0
    client = r.client()
    served(r, client)
    install(r, SidecarConfig())
    r.run(0.1)

    assert served(r, client) == OK
    assert served(r, r.client()) == OK


def test_app_is_served_after_its_services_port_went(rig: MakeRig) -> None:
    """By the chains of all ports; and while only the cluster went, by the one that was there."""
    r = rig(world(http(destination_port=80), http(name="*/http"), inbound=True))
    client = r.client(target=("10.0.0.1", 80))
    served(r, client)
    install(r, world(http(destination_port=80), http(name="*/http"), inbound=True, clusters=False))
    assert served(r, client) == OK
    install(r, world(http(name="*/http"), inbound=True))

    assert served(r, client) == OK
    assert not client.ended


async def test_rules_of_the_moment_count_for_bytes_that_come_late() -> None:
    """A connection that was silent while STRICT came is not let in by what held when it was made."""
    async with proxy() as p:
        loop = asyncio.get_running_loop()
        p.install(inbound(None))
        p.target = ("127.0.0.1", 8080)
        client = p.net.connect(p.listen("inbound"))
        await p.net.settle(lambda: p.net.poller.connections > 0)
        p.install(inbound(None, strict=True))
        await loop.sock_sendall(client, GET)

        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(loop.sock_recv(client, 1), 5) == b""
        assert not p.https
