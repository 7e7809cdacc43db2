"""What the exchange machine found, or has to find again when a repair is taken out, each as one short story."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol, RetryPolicy
from dataplane.protocol import codes
from dataplane.protocol.events import Data, RequestHead, Reset, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config, everything, forward

MakeRig = Callable[..., Rig]
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nabc"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def connect(protocol: bytes = b"echo") -> RequestHead:
    return RequestHead(0, b"CONNECT", b"http", b"web", b"/chat", [], False, 20, protocol)


def retried(*words: str, seconds: float = 0.001, **more: Any) -> Any:
    policy = RetryPolicy(on=frozenset(words), attempts=1, backoff=(seconds, seconds), **more)
    return config(everything(forward(retry=policy)))


@pytest.mark.parametrize("together", [True, False], ids=["with-the-head", "before-the-101"])
def test_bytes_behind_an_upgrade_reach_the_server_once_it_agrees(rig: MakeRig, together: bool) -> None:
    """A client that does not wait for the 101 is not stuck for ever, and nothing is sent before the server agreed."""
    r = rig()
    client = r.client().send(UPGRADE + b"EARLY" if together else UPGRADE)
    if not together:
        client.send(b"EARLY")
    server = r.servers[0]
    assert b"EARLY" not in server.read()
    server.send(SWITCHED)

    assert server.read() == b"EARLY"
    client.send(b"MORE")
    assert server.read() == b"MORE"
    assert client.read().startswith(b"HTTP/1.1 101")


def test_upgrade_to_an_http2_server_stays_open(rig: MakeRig) -> None:
    """It becomes an extended CONNECT whose stream the client has not ended."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP2),)))
    client = r.client().send(UPGRADE)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    asked = server.events(RequestHead)[0]
    server.do("send_response", asked.stream, 200, b"", [], False)

    assert client.read().startswith(b"HTTP/1.1 101")
    client.send(b"hello")
    assert server.events(Data) == [Data(asked.stream, b"hello", False)]


def test_tunnel_whose_server_ends_first_goes_on_until_its_client_ends(rig: MakeRig) -> None:
    """A half-close of an extended CONNECT is one: the other half works, and its end ends the request."""
    r = rig()
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    stream = client.do("send_request", connect(), False)
    server = r.servers[0]
    server.read()
    server.send(SWITCHED)
    server.send(b"bye").end()
    assert [event for event in client.events() if isinstance(event, Data)] == [Data(stream, b"bye", True)]
    client.do("send_data", stream, b"last words", True)

    assert server.read() == b"last words"
    assert server.ended
    assert client.events(Reset) == []
    assert r.runtime.active == 0


def test_tunnel_its_client_ended_before_it_was_open_ends_with_its_server(rig: MakeRig) -> None:
    """Over HTTP/2 on both sides the end has left already when the server agrees."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP2),)))
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    stream = client.do("send_request", connect(), False)
    client.do("send_data", stream, b"all", True)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    asked = server.events(RequestHead)[0]
    server.do("send_response", asked.stream, 200, b"", [], False)
    server.do("send_data", asked.stream, b"bye", True)

    assert client.events(Data) == [Data(stream, b"bye", True)]
    assert r.runtime.active == 0


def test_extended_connect_that_is_refused_ends_its_stream(rig: MakeRig) -> None:
    """The answer's end is the request's, as with any answer that comes before the end of its request."""
    r = rig()
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    client.do("send_request", connect(), False)
    r.servers[0].read()
    r.servers[0].send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    assert [type(event) for event in client.events()] == [ResponseHead, Reset]
    assert r.runtime.active == 0


def test_server_that_ignores_an_upgrade_opens_no_tunnel(rig: MakeRig) -> None:
    """Its 200 is an answer on HTTP/1; to an HTTP/2 client any 2xx would say that the tunnel is open."""
    r = rig()
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    client.do("send_request", connect(), False)
    r.servers[0].read()
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")

    assert [event.status for event in client.events(ResponseHead)] == [502]
    assert r.runtime.active == 0


def mirrored(r: MakeRig, **limits: Any) -> Rig:
    to = forward(mirrors=(("m", 1.0),))
    return r(config(everything(to), clusters=(cluster("10.1.0.1"), cluster("10.2.0.1", name="m"))), **limits)


def copies(r: Rig) -> tuple[int, int]:
    circuit = r.runtime.tables.clusters["m"].circuit
    return circuit.requests, circuit.pending


def test_copy_of_a_request_its_client_gave_up_ends_with_it(rig: MakeRig) -> None:
    """Half a request is nothing to wait with."""
    r = mirrored(rig)
    client = r.client().send(POST[:-1])
    assert copies(r) == (1, 0)
    r.accepted[0].abort()
    r.turn()

    assert client.ended
    assert copies(r) == (0, 0)


def test_copy_that_is_not_answered_is_given_up_in_time(rig: MakeRig) -> None:
    """Nobody waits for it, so nobody else would ever end it."""
    r = mirrored(rig, copy_seconds=0.05)
    r.client().send(POST)
    next(peer for peer in r.servers if peer.address[0] == "10.1.0.1").send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (r.runtime.active, copies(r)) == (0, (1, 0))
    r.run(0.1)

    assert copies(r) == (0, 0)


def test_upload_is_not_read_while_its_retry_waits(rig: MakeRig) -> None:
    """What is kept to be sent again stays within its bound, however much the client has."""
    r = rig(retried("5xx", seconds=5.0))
    r.runtime.dice = lambda: 0.99
    client = r.client().send(b"POST /up HTTP/1.1\r\nHost: web\r\ncontent-length: 99999999\r\n\r\nabc")
    r.servers[0].read()
    r.servers[0].send(BAD)
    for _ in range(100):
        client.send(b"x" * 65536)

    assert len(client.backlog) > 5_000_000
    r.accepted[0].abort()
    r.turn()


@pytest.mark.parametrize(("size", "again"), [(5_000, True), (20_000, False)], ids=["within", "beyond"])
def test_upload_goes_on_while_little_of_it_is_kept(rig: MakeRig, size: int, again: bool) -> None:
    """What came before there was a server is kept within the bound, or each try would let the client send a window more of it."""
    r = rig(retried("5xx"), replay_bytes=8192)
    r.dialer.held = True
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    client.pump()
    stream = client.do("send_request", RequestHead(0, b"POST", b"http", b"web", b"/up", [], False, 20), False)
    client.do("send_data", stream, bytes(size), False)
    r.dialer.held = False
    r.turn()
    asking = next(iter(r.runtime.downstreams)).calls[stream].asking
    assert (asking.kept is not None) == again
    server = Speaker(r.servers[0], Http2Server(Limits()))
    server.do("send_response", server.events(RequestHead)[0].stream, 503, b"", [], True)
    r.run(0.05)

    assert len(r.servers) == 1 + again
    assert [one.status for one in client.events(ResponseHead)] == ([] if again else [503])


def test_time_of_a_try_ends_with_the_try(rig: MakeRig) -> None:
    """A try begun anew without a policy's doing has all of its time, and no clock of the one before."""
    to = retried("5xx", per_try_timeout=0.3)
    r = rig(replace(to, clusters={"c": cluster("10.1.0.1", protocol=AppProtocol.HTTP2)}))
    client = r.client().send(b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n")
    server = Speaker(r.servers[0], Http2Server(Limits()))
    waiting = r.runtime.timers.pending()
    server.do("reset", server.events(RequestHead)[0].stream, codes.REFUSED_STREAM)

    assert r.runtime.timers.pending() == waiting
    server.do("send_response", server.events(RequestHead)[0].stream, 204, b"", [], True)
    assert client.read().startswith(b"HTTP/1.1 204")
    assert r.runtime.timers.pending() == waiting - 1


def test_reset_before_request_repeats_nothing_a_server_has(rig: MakeRig) -> None:
    """It is for requests whose head never left (as in Envoy); those are tried elsewhere without any policy."""
    r = rig(retried("reset-before-request"))
    client = r.client().send(POST)
    assert r.servers[0].read().endswith(b"abc")
    r.servers[0].close()
    r.run(0.05)

    assert len(r.servers) == 1
    assert b"x-tulle-error: upstream_connection_ended" in client.read()
