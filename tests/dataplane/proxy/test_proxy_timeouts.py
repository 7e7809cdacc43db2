"""Time-outs and lifetimes: each from its xDS field, each with its word or counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol, HttpTimeouts, RetryPolicy
from dataplane.protocol import codes
from dataplane.protocol.events import Goaway, RequestHead, Reset, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.telemetry import flags
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config, everything, forward

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nab"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
SOON = 0.05


def head(end: bool = True) -> RequestHead:
    return RequestHead(0, b"POST", b"http", b"web", b"/x", [], end, 20)


def events(r: Rig, kind: str) -> int:
    return r.runtime.metrics.events.of(kind).value


def timed(*routes: Any, **timeouts: float) -> Any:
    return config(*routes, http={"timeouts": HttpTimeouts(**timeouts)})


def test_route_timeout_begins_when_the_request_is_whole(rig: MakeRig) -> None:
    """A slow upload has time-outs of its own; the server's time counts from its end."""
    r = rig(config(everything(forward(timeout=SOON))))
    client = r.client().send(POST)
    r.run(0.1)
    assert client.read() == b""
    client.send(b"c")
    r.run(0.1)

    assert b"x-tulle-error: request_timeout" in client.read()
    assert r.counted(504, flags.TIMEOUT) == 1


def test_body_that_stops_coming_is_408_by_the_stream_idle_timeout(rig: MakeRig) -> None:
    """The client is to blame, not the server."""
    r = rig(timed(stream_idle=SOON))
    client = r.client().send(POST)
    r.runtime.start()
    r.run(0.2)
    answer = client.read()

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"x-tulle-error: slow_request_body" in answer


@pytest.mark.parametrize(("chain", "route", "over"), [(300.0, SOON, True), (SOON, 0.0, False)], ids=["less", "none"])
def test_route_has_its_own_idle_timeout(rig: MakeRig, chain: float, route: float, over: bool) -> None:
    """Shorter or none at all, whatever the connection manager says."""
    r = rig(timed(everything(forward(idle=route)), stream_idle=chain))
    client = r.client().send(GET)
    r.runtime.start()
    r.run(0.2)

    assert (b"x-tulle-error: stream_idle_timeout" in client.read()) == over


def test_bytes_keep_a_stream_from_being_idle(rig: MakeRig) -> None:
    """In either direction."""
    r = rig(timed(stream_idle=0.15))
    client = r.client().send(GET)
    r.runtime.start()
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
    for _ in range(6):
        r.servers[0].send(b"x")
        r.run(0.08)

    assert client.read().endswith(b"xxxxxx")


@pytest.mark.parametrize(("chain", "route"), [(SOON, None), (0.0, SOON)], ids=["manager", "route"])
def test_stream_may_only_last_so_long(rig: MakeRig, chain: float, route: float | None) -> None:
    """However much moves on it; after the head only a reset is left."""
    r = rig(timed(everything(forward(duration=route)), duration=chain))
    silent, answered = r.client().send(GET), r.client().send(GET)
    r.servers[1].send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
    r.run(0.1)

    assert b"x-tulle-error: max_stream_duration" in silent.read()
    assert answered.read().endswith(b"abc")
    assert answered.ended
    assert (r.counted(504, flags.DURATION), r.counted(200, flags.DURATION)) == (1, 1)


def test_connection_of_age_ends_with_its_next_answer(rig: MakeRig) -> None:
    """Or at once when nothing is on the way; HTTP/2 clients get a GOAWAY."""
    r = rig(timed(life=SOON))
    busy, idle = r.client().send(GET), r.client()
    second = Speaker(r.client(http2=True), Http2Client(Limits()))
    r.runtime.start()
    r.run(0.2)
    r.servers[0].send(OK)

    assert b"connection: close" in busy.read()
    assert busy.ended
    assert idle.ended
    assert second.events(Goaway)
    assert second.peer.ended
    assert events(r, "connection_life_ended") == 3


def test_connection_carries_so_many_requests(rig: MakeRig) -> None:
    """The last one says so."""
    r = rig(config(clusters=(cluster("10.1.0.1"),), http={"max_requests": 2}))
    client = r.client()
    answers = []
    for _ in range(2):
        client.send(GET)
        r.servers[0].send(OK)
        answers.append(client.read())

    assert [b"connection: close" in answer for answer in answers] == [False, True]
    assert client.ended
    assert events(r, "connection_requests_ended") == 1


def test_idle_time_begins_with_the_end_of_the_last_answer(rig: MakeRig) -> None:
    """Not with the last byte of the client."""
    r = rig(timed(idle=0.15))
    client = r.client().send(GET)
    r.runtime.start()
    r.run(0.3)
    r.servers[0].send(OK)
    assert client.read() == OK
    r.run(0.05)
    assert not client.ended
    r.run(0.3)

    assert client.ended
    assert events(r, "connection_idle_closed") == 1


@pytest.mark.parametrize(
    "begun",
    [
        b"PRI * HTTP/2.0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\x40\1\0\0\0\0\1",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\1\1\0\0\0\0\1\x82",
    ],
    ids=["preface", "partial frame", "no continuation"],
)
def test_http2_field_section_has_to_come_in_time(rig: MakeRig, begun: bytes) -> None:
    """As an HTTP/1 head has to."""
    r = rig(timed(request_headers=SOON))
    client = r.client(http2=True).send(begun)
    r.run(0.1)

    assert client.ended
    assert r.runtime.metrics.refused.of("slow_request_head").value == 1


def test_http2_head_that_comes_in_pieces_in_time_is_served(rig: MakeRig) -> None:
    """The watch ends with the section."""
    r = rig(timed(request_headers=SOON))
    client = r.client(http2=True)
    codec = Http2Client(Limits())
    codec.send_request(head(), True)
    data = codec.output()
    client.send(data[:-3])
    client.send(data[-3:])
    r.run(0.1)

    assert not client.ended
    assert len(r.servers) == 1


def test_slow_head_is_told_why(rig: MakeRig) -> None:
    """In words, and on a connection that ends."""
    r = rig(timed(request_headers=SOON))
    client = r.client().send(GET[:-2])
    r.run(0.1)
    answer = client.read()

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert answer.endswith(b"\r\n\r\nThe request head was not whole within the time allowed.\n")


# --- towards servers --------------------------------------------------------------------------------------------------


def one(**more: Any) -> Any:
    return config(clusters=(replace(cluster("10.1.0.1"), **more),))


def test_cluster_says_how_long_an_unused_connection_is_kept(rig: MakeRig) -> None:
    """In place of the sidecar's own bound."""
    r = rig(one(idle=SOON), sweep=0.02)
    r.client().send(GET)
    r.servers[0].send(OK)
    r.runtime.start()
    r.run(0.15)

    assert r.servers[0].ended
    assert events(r, "upstream_idle_closed") == 1


def test_cluster_says_how_old_a_connection_may_become(rig: MakeRig) -> None:
    """It ends with the request it carries."""
    r = rig(one(life=SOON), sweep=0.02)
    client = r.client().send(GET)
    r.runtime.start()
    r.run(0.15)
    r.servers[0].send(OK)

    assert client.read() == OK
    assert r.servers[0].ended
    assert events(r, "upstream_life_ended") == 1


@pytest.mark.parametrize("http2", [False, True])
def test_cluster_says_how_many_requests_a_connection_carries(rig: MakeRig, http2: bool) -> None:
    """The next one goes by another connection."""
    r = rig(one(max_requests=2, protocol=AppProtocol.HTTP2 if http2 else AppProtocol.HTTP1))
    codecs = [Http2Server(Limits()), Http2Server(Limits())]
    for number in range(3):
        client = r.client().send(GET)
        if http2:
            server = Speaker(r.servers[-1], codecs[number // 2])
            server.do("send_response", server.events(RequestHead)[0].stream, 200, b"", [], True)
        else:
            r.servers[-1].send(OK)
        assert client.read().startswith(b"HTTP/1.1 200")

    assert len(r.servers) == 2
    assert r.servers[0].ended


def test_server_that_answers_no_ping_is_given_up(rig: MakeRig) -> None:
    """Silence with a request open: first a PING, then the end, and the client learns of it."""
    r = rig(one(protocol=AppProtocol.HTTP2, keepalive=(SOON, SOON)), sweep=0.02)
    client = r.client().send(GET)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    assert server.events(RequestHead)
    r.runtime.start()
    r.run(0.3)

    assert client.read().startswith(b"HTTP/1.1 503")
    assert r.servers[0].ended
    assert events(r, "keepalive_timeouts") == 1


def test_server_that_answers_pings_may_take_its_time(rig: MakeRig) -> None:
    """The codec of any HTTP/2 server answers while the application thinks."""
    r = rig(one(protocol=AppProtocol.HTTP2, keepalive=(SOON, 1.0)), sweep=0.02)
    client = r.client().send(GET)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    (request,) = server.events(RequestHead)
    r.runtime.start()
    for _ in range(5):
        r.run(0.1)
        server.pump()
    server.do("send_response", request.stream, 200, b"", [], True)

    assert client.read().startswith(b"HTTP/1.1 200")
    assert events(r, "keepalive_timeouts") == 0


def test_client_that_answers_no_ping_is_given_up(rig: MakeRig) -> None:
    """Its request is cancelled at the server."""
    r = rig(
        config(clusters=(cluster("10.1.0.1"),), http={"timeouts": HttpTimeouts(keepalive=(SOON, SOON))}), sweep=0.02
    )
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    client.do("send_request", RequestHead(0, b"GET", b"http", b"web", b"/x", [], True, 20), True)
    r.runtime.start()
    r.run(0.3)

    assert r.clients[0].ended
    assert [e.code for e in Speaker(r.servers[0], Http2Server(Limits())).events(Reset)] == [codes.CANCEL]
    assert events(r, "keepalive_timeouts") == 1


def test_sidecars_ask_each_other_without_being_told_to(rig: MakeRig) -> None:
    """Between sidecars there is a default; towards apps there is none, as a busy one may not answer."""
    silent = []
    for mesh in (True, False):
        r = rig(
            config(clusters=(cluster("10.1.0.1", mesh=mesh, protocol=AppProtocol.HTTP2),)),
            sweep=0.02,
            keepalive=(SOON, SOON),
        )
        r.client().send(GET)
        r.runtime.start()
        r.run(0.3)
        silent.append(events(r, "keepalive_timeouts"))

    assert silent == [1, 0]


def test_reset_of_a_stream_that_took_too_long_reaches_both_ends(rig: MakeRig) -> None:
    """The server need not go on."""
    r = rig(config(everything(forward(duration=SOON)), clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP2),)))
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    client.do("send_request", head(), True)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    server.events()
    r.run(0.1)

    assert [one.status for one in client.events(ResponseHead)] == [504]
    assert server.events(Reset)


def retried(**more: float) -> Any:
    policy = RetryPolicy(on=frozenset({"reset"}), attempts=1, backoff=(0.0, 0.0), **more)
    return config(everything(forward(retry=policy)))


def test_try_in_which_nothing_moves_is_given_up() -> None:
    """`per_try_idle_timeout`: the next endpoint is tried, and when that is silent too there is an answer."""
    r = Rig(retried(per_try_idle=SOON))
    client = r.client().send(GET)
    r.run(2 * SOON)
    assert [server.ended for server in r.servers] == [True, False]
    r.run(2 * SOON)

    assert b"x-tulle-error: request_timeout" in client.read()
    r.close()


def test_try_that_moves_is_not_idle() -> None:
    """Each byte of the answer counts; so does silence in its middle, which ends it."""
    r = Rig(retried(per_try_idle=4 * SOON))
    client = r.client().send(GET)
    server = r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
    for _ in range(3):
        r.run(2 * SOON)
        server.send(b"x")
    assert client.read().endswith(b"xxx")
    assert not client.ended
    r.run(6 * SOON)

    assert client.ended
    assert len(r.servers) == 1
    r.close()


def test_time_of_a_try_is_over_when_its_answer_begins() -> None:
    """Then only silence counts."""
    r = Rig(retried(per_try_idle=9.0, per_try_timeout=SOON))
    client = r.client().send(GET)
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx")
    r.run(2 * SOON)
    r.servers[0].send(b"y")

    assert client.read().endswith(b"xy")
    r.close()


CALL = b"POST /s/M HTTP/1.1\r\nHost: web\r\ncontent-type: application/grpc\r\n%scontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("limits", "said", "ends"),
    [
        ((0.0, 0.0), b"grpc-timeout: 50m\r\n", True),
        ((SOON, 0.0), b"grpc-timeout: 1H\r\n", True),
        ((9.0, 8.95), b"grpc-timeout: 9S\r\n", True),
        ((9.0, 10.0), b"grpc-timeout: 1S\r\n", True),
        ((SOON, 0.0), b"", False),
        ((SOON, 0.0), b"grpc-timeout: soon\r\n", False),
        (None, b"grpc-timeout: 1m\r\n", False),
    ],
)
def test_call_has_the_time_it_says_within_what_the_route_allows(
    limits: tuple[float, float] | None, said: bytes, *, ends: bool
) -> None:
    """`grpc_timeout_header_max` caps it, the offset shortens it; a call that says nothing has the route's time."""
    r = Rig(config(everything(forward(grpc_duration=limits))))
    client = r.client().send(CALL % said)
    r.run(3 * SOON)

    assert (b"grpc-status: 4" in client.read()) is ends
    r.close()


def test_grpc_timeout_means_nothing_in_a_request_that_is_no_call() -> None:
    """It is gRPC's word."""
    r = Rig(config(everything(forward(grpc_duration=(SOON, 0.0)))))
    client = r.client().send(GET.replace(b"web", b"web\r\ngrpc-timeout: 1m"))
    r.run(3 * SOON)

    assert client.read() == b""
    r.close()
