"""Servers that fail, time-outs, retries and overload."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable

import pytest

from dataplane.config import CircuitLimits, Cluster, Endpoint, Endpoints, HttpTimeouts, RetryPolicy
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.proxy.relay.relay import Relay
from dataplane.telemetry import flags
from tests.dataplane.proxy.rig import Peer, Rig, cluster, config, everything, forward
from tests.support.net import connected_pair

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def test_refused_connection_moves_on_to_the_next_endpoint(rig: MakeRig) -> None:
    """The request never reached an app, so it is nobody's retry."""
    r = rig()
    r.dialer.refused.add("10.1.0.2")
    for _ in range(2):
        client = r.client().send(POST)
        r.servers[-1].send(OK)
        assert client.read() == OK

    assert {peer.address[0] for peer in r.servers} == {"10.1.0.1"}


def test_service_that_cannot_be_connected_is_503_after_a_few_tries(rig: MakeRig) -> None:
    """Bounded, then told."""
    r = rig()
    r.dialer.refused |= {"10.1.0.1", "10.1.0.2"}
    answer = r.client().send(GET).read()

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"x-tulle-error: upstream_connect_failed" in answer
    assert len(r.dialer.dials) == 3
    assert r.counted(503, flags.CONNECT_FAILED) == 1


@pytest.mark.parametrize(("request_bytes", "again"), [(GET, True), (POST, False)], ids=["safe", "unsafe"])
def test_kept_connection_that_was_dead_is_tried_again_for_safe_requests(
    rig: MakeRig, request_bytes: bytes, again: bool
) -> None:
    """A server may close an idle connection at any moment; only what is safe is repeated unasked."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client = r.client().send(GET)
    r.servers[0].send(OK)
    client.read()
    client.send(request_bytes)
    r.servers[0].close()

    assert len(r.servers) == (2 if again else 1)
    if again:
        r.servers[1].send(OK)
        assert client.read() == OK
    else:
        assert b"x-tulle-error: upstream_connection_ended" in client.read()


def test_new_connection_that_dies_is_not_tried_again(rig: MakeRig) -> None:
    """The app may have begun to work on it."""
    r = rig()
    client = r.client().send(GET)
    r.servers[0].close()

    assert b"HTTP/1.1 503" in client.read()
    assert len(r.servers) == 1
    assert r.counted(503, flags.CONNECTION_ENDED) == 1


def test_idle_server_that_closes_is_forgotten(rig: MakeRig) -> None:
    """The next request dials anew."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client = r.client().send(GET)
    r.servers[0].send(OK)
    client.read()
    r.servers[0].close()
    client.send(GET)
    r.servers[1].send(OK)

    assert client.read() == OK


def test_answer_to_half_an_upload_is_passed_on(rig: MakeRig) -> None:
    """A server that refuses a large body answers, closes without reading it, and so resets: the answer was there before."""
    r = rig()
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 8000000\r\n\r\n" + b"u" * 8_000_000)
    server = r.servers[0].sock
    server.recv(1000)
    server.send(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 7\r\n\r\ntoo big")
    server.close()

    assert client.read().startswith(b"HTTP/1.1 413 ")
    assert r.counted(413) == 1


def test_garbage_from_a_server_is_502(rig: MakeRig) -> None:
    """It is never passed on."""
    r = rig()
    client = r.client().send(GET)
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n")
    answer = client.read()

    assert answer.startswith(b"HTTP/1.1 502")
    assert b"x-tulle-error: upstream_protocol_error" in answer
    assert r.servers[0].ended


def test_body_that_ends_early_breaks_the_clients_connection(rig: MakeRig) -> None:
    """A truncated answer must not look whole."""
    r = rig()
    client = r.client().send(GET)
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    r.servers[0].close()

    assert client.read().endswith(b"half")
    assert client.ended
    assert r.counted(200, flags.CONNECTION_ENDED) == 1


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"GET /x HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        (
            b"GET /x HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhalf",
        ),
    ],
    ids=["HTTP/1.0", "a tunnel"],
)
def test_what_only_the_connections_end_would_end_is_broken_off_by_a_reset(
    rig: MakeRig, request_: bytes, answer: bytes
) -> None:
    """It has no length and no chunks: behind a proper end it would look whole."""
    r = rig()
    ours, theirs = connected_pair()
    stream = Stream(r.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
    HttpDownstream(r.runtime, stream, r.runtime.tables.listeners["l"].chains[0], False, False)
    stream.start()
    client = Peer(r, theirs, ("10.9.9.9", 4000)).send(request_)
    r.clients.append(client)
    r.servers[0].read()
    r.servers[0].send(answer)
    theirs.settimeout(5)
    assert theirs.recv(1 << 16).endswith(b"half")
    (upstream,) = r.runtime.upstreams
    upstream.stream.abort()
    r.turn()

    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


def test_route_timeout_is_504_and_cancels_at_the_server(rig: MakeRig) -> None:
    """The server is not asked to go on."""
    r = rig(config(everything(forward(timeout=0.05))))
    client = r.client().send(GET)
    r.run(0.1)
    answer = client.read()

    assert answer.startswith(b"HTTP/1.1 504")
    assert b"x-tulle-error: request_timeout" in answer
    assert r.servers[0].ended


def test_request_that_comes_too_slowly_is_408(rig: MakeRig) -> None:
    """The whole of it has to be there in time."""
    r = rig(config(http={"timeouts": HttpTimeouts(request=0.05)}))
    client = r.client().send(POST[:-1])
    r.run(0.1)

    assert client.read().startswith(b"HTTP/1.1 408")
    assert client.ended


def test_retry_policy_repeats_answers_it_names(rig: MakeRig) -> None:
    """Two bad answers are swallowed, the third is the client's, with its body sent each time."""
    policy = RetryPolicy(on=frozenset({"5xx"}), attempts=2, backoff=(0.0, 0.0))
    r = rig(config(everything(forward(retry=policy))))
    client = r.client().send(POST)
    for number in range(2):
        assert r.servers[number].read().endswith(b"abc")
        r.servers[number].send(BAD)
        r.run(0.05)
    assert r.servers[0].read().endswith(b"abc")
    r.servers[0].send(BAD)

    assert client.read() == BAD
    assert r.counted(503, flags.RETRIES_EXCEEDED) == 1


def test_per_try_timeout_moves_on(rig: MakeRig) -> None:
    """A silent server is left for the next one."""
    policy = RetryPolicy(on=frozenset({"reset"}), attempts=1, per_try_timeout=0.03, backoff=(0.0, 0.0))
    r = rig(config(everything(forward(retry=policy))))
    client = r.client().send(GET)
    r.run(0.1)
    r.servers[1].send(OK)

    assert client.read() == OK
    assert r.servers[0].ended


def test_silent_stream_is_given_up(rig: MakeRig) -> None:
    """Stream idle time-out, by the sweep."""
    r = rig(config(http={"timeouts": HttpTimeouts(stream_idle=0.05)}), sweep=0.05)
    r.runtime.start()
    client = r.client().send(GET)
    r.run(0.25)

    assert b"x-tulle-error: stream_idle_timeout" in client.read()


def test_idle_connections_are_closed(rig: MakeRig) -> None:
    """On both sides."""
    r = rig(config(http={"timeouts": HttpTimeouts(idle=0.05)}), sweep=0.05, upstream_idle=0.05)
    r.runtime.start()
    client = r.client().send(GET)
    r.servers[0].send(OK)
    assert client.read() == OK
    r.run(0.25)

    assert client.ended
    assert r.servers[0].ended


def test_slow_request_head_is_408(rig: MakeRig) -> None:
    """A head has to be whole some seconds after its first byte."""
    r = rig(head_timeout=0.05)
    client = r.client().send(b"GET / HTTP/1.1\r\n")
    r.run(0.15)

    assert client.read().startswith(b"HTTP/1.1 408")
    assert client.ended


def test_requests_beyond_the_bound_are_shed(rig: MakeRig) -> None:
    """503 with a reason, before memory runs out."""
    r = rig(active_requests=1)
    r.client().send(GET)
    answer = r.client().send(GET).read()

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"x-tulle-error: overloaded" in answer


def test_clusters_bounds_are_kept(rig: MakeRig) -> None:
    """One connection, one waiting: the third request overflows."""
    static = Endpoints(name="c", endpoints=(Endpoint(address="10.1.0.1", port=80),))
    limits = CircuitLimits(max_connections=1, max_pending=1)
    r = rig(config(clusters=(Cluster(name="c", kind="static", static=static, limits=limits),)))
    first, second, third = (r.client().send(GET) for _ in range(3))

    assert b"x-tulle-error: pending_overflow" in third.read()
    r.servers[0].send(OK)
    r.servers[0].send(OK)
    assert (first.read(), second.read(), len(r.dialer.dials)) == (OK, OK, 1)


def test_drain_says_close_with_the_next_answer(rig: MakeRig) -> None:
    """HTTP/1 clients hear of it in a header, idle ones by the end."""
    r = rig()
    busy, idle = r.client().send(GET), r.client()
    r.runtime.drain()
    r.servers[0].send(OK)

    assert b"connection: close" in busy.read()
    assert busy.ended
    r.run(1.1)
    assert idle.ended


def test_slow_client_slows_an_http1_server(rig: MakeRig) -> None:
    """Memory stays bounded however much the server has to say."""
    r = rig()
    client = r.client().send(GET)
    body = b"x" * 8_000_000
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n" + body)

    held = next(iter(r.runtime.downstreams)).stream.waiting
    assert held < 1_000_000
    assert len(r.servers[0].backlog) > 4_000_000
    got = b""
    for _ in range(200):
        got += client.read()
        r.servers[0].send(b"")
    assert len(got.partition(b"\r\n\r\n")[2]) == len(body)


def test_slow_server_slows_an_http1_client(rig: MakeRig) -> None:
    """The other way round, from before the connection is there."""
    r = rig()
    r.dialer.held = True
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 8000000\r\n\r\n" + b"x" * 8_000_000)
    assert len(client.backlog) > 4_000_000
    server = r.open()
    got = b""
    for _ in range(400):
        got += server.read()
        client.send(b"")

    assert len(got.partition(b"\r\n\r\n")[2]) == 8_000_000
    server.send(OK)
    assert client.read() == OK


def test_websocket_passes_as_a_tunnel(rig: MakeRig) -> None:
    """After 101 bytes pass both ways, and either side may end."""
    r = rig()
    client = r.client().send(
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
    )
    assert b"Upgrade: websocket" in r.servers[0].read()
    r.servers[0].send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    assert client.read().endswith(b"\r\n\r\nhi")
    client.send(b"there")
    assert r.servers[0].read() == b"there"
    r.servers[0].end()
    assert client.ended
    client.end()

    assert r.servers[0].ended
    assert r.counted(101) == 1


def test_upgrade_a_server_declines_is_an_ordinary_answer(rig: MakeRig) -> None:
    """And the connection serves the next request."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client = r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    r.servers[0].send(OK)
    assert client.read() == OK
    client.send(GET)
    r.servers[-1].send(OK)

    assert client.read() == OK


def test_connections_are_freed_without_the_garbage_collector(rig: MakeRig) -> None:
    """No cycle is left behind, however a connection ends."""
    names = {"HttpDownstream", "HttpUpstream", "Exchange", "Flusher"}

    def alive() -> list[str]:
        return [type(one).__name__ for one in gc.get_objects() if type(one).__name__ in names]

    gc.collect()
    gc.disable()
    try:
        r = rig(config(everything(forward(timeout=5.0))))
        for how in range(4):
            client = r.client(http2=how == 3).send(GET)
            if how == 0:
                r.servers[-1].send(OK)
            elif how == 1:
                r.servers[-1].close()
            if how == 2:
                next(iter(r.runtime.downstreams)).stream.abort()
            client.close()
            r.turn()
        r.runtime.stop()
        r.turn()
        assert alive() == []
    finally:
        gc.enable()


class Waiting:
    """Who wants to know whether the server speaks first."""

    def server_spoke(self) -> None: ...
    def server_failed(self) -> None: ...


@pytest.mark.parametrize("how", ["client", "server", "unreached", "unheard", "unwanted"])
def test_relays_are_freed_without_the_garbage_collector(rig: MakeRig, how: str) -> None:
    """The same of bytes nobody looks into, whichever end goes first, and of a server dialled before its client spoke."""

    def alive() -> int:
        return sum(type(one).__name__ in {"Relay", "Side"} for one in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        r = rig()
        r.dialer.refused |= {"10.1.0.1"} if how in {"unreached", "unheard"} else set()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = Stream(r.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
        stream.start()
        relay = Relay(r.runtime, None, ("10.1.0.1", 80))
        if how in {"unheard", "unwanted"}:
            relay.listen_first(Waiting())
            r.turn()
            relay.drop()
            stream.abort()
        else:
            relay.start(stream, b"")
            theirs.send(b"x")
            r.turn()
        del relay
        if how == "server":
            r.servers[0].close()
        theirs.close()
        r.turn()
        if how == "client":
            r.servers[0].close()

        assert alive() == before
    finally:
        gc.enable()
