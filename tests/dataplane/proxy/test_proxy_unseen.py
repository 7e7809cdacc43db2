"""A request that did not reach the app is answered by another endpoint: between sidecars REFUSED_STREAM says so, and nothing else does."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol, CircuitLimits, Cluster
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.protocol import codes
from dataplane.protocol.events import Data, RequestHead, Reset, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.proxy.server import conduct
from dataplane.tables.health import REFUSED
from dataplane.telemetry import flags
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
ALICE = "spiffe://t/ns/n/sa/alice"
APP = "10.1.0.9"
ENDS = ("10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4")
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def callee(rig: MakeRig, protocol: AppProtocol = AppProtocol.HTTP1) -> Rig:
    """A sidecar before one app."""
    return rig(config(clusters=(cluster(APP, protocol=protocol),), inbound=True, metadata=(("mode", "strict"),)))


def caller(rig: MakeRig, *ends: str, **more: Any) -> Rig:
    """A sidecar with some endpoints that have sidecars."""
    return rig(config(clusters=(replace(cluster(*ends, mesh=True), **more),), metadata=(("kind", "service"),)))


def head(method: bytes = b"POST", *, end: bool = True) -> RequestHead:
    return RequestHead(0, method, b"http", b"web", b"/x", [], end, 20)


def errors(r: Rig, word: str) -> int:
    return int(r.runtime.metrics.errors.of(word).value)


def refuse(r: Rig, at: int) -> None:
    """The sidecar of the endpoint dialled as number `at` refuses what it was sent."""
    server = Speaker(r.servers[at], Http2Server(Limits()))
    for one in server.events(RequestHead):
        server.do("reset", one.stream, codes.REFUSED_STREAM)


# --- the callee's side ------------------------------------------------------------------------------------------------


def test_request_that_cannot_reach_the_app_is_refused_unseen(rig: MakeRig) -> None:
    """No status, no header: a reset, which no app can write; counted and recorded as what it is."""
    r = callee(rig)
    r.dialer.refused.add(APP)
    client = Speaker(r.client(http2=True, mesh=ALICE), Http2Client(Limits()))
    client.do("send_request", head(), True)

    assert [(type(one), one.code) for one in client.events()] == [(Reset, codes.REFUSED_STREAM)]
    assert errors(r, "upstream_connect_failed") == 1
    assert r.counted(503, flags.CONNECT_FAILED) == 1


def test_app_is_dialled_once_where_its_address_is_the_only_one(rig: MakeRig) -> None:
    """What waits for a time-out waits for one, before somebody else is asked."""
    only = (Cluster(name="c", kind="original_dst", protocol=AppProtocol.HTTP1),)
    r = rig(config(clusters=only, inbound=True, metadata=(("mode", "strict"),)))
    r.dialer.refused.add(APP)
    client = Speaker(r.client(http2=True, mesh=ALICE, target=(APP, 80)), Http2Client(Limits()))
    client.do("send_request", head(), True)

    assert [one.code for one in client.events(Reset)] == [codes.REFUSED_STREAM]
    assert len(r.dialer.dials) == 1
    assert r.runtime.metrics.events.of("endpoint_set_aside").value == 0, "nobody can stand in for it"


@pytest.mark.parametrize("how", [{"http2": True}, {"http2": False, "mesh": ALICE, "alpn": "tulle-http/1.1"}])
def test_who_is_no_sidecar_on_http2_gets_the_503(rig: MakeRig, how: dict[str, Any]) -> None:
    """A plain caller would have to guess what a reset means."""
    r = callee(rig)
    r.dialer.refused.add(APP)
    if how["http2"]:
        client = Speaker(r.client(**how), Http2Client(Limits()))
        client.do("send_request", head(), True)
        assert [one.status for one in client.events(ResponseHead)] == [503]
    else:
        assert b"x-tulle-error: upstream_connect_failed" in r.client(**how).send(GET).read()


def test_request_the_app_may_have_seen_is_never_refused(rig: MakeRig) -> None:
    """It had the head and broke off; that nobody listens any more does not undo it."""
    r = callee(rig)
    client = Speaker(r.client(http2=True, mesh=ALICE), Http2Client(Limits()))
    client.do("send_request", head(b"GET"), True)
    r.servers[0].send(OK)
    client.events()
    client.do("send_request", head(b"GET"), True)
    r.dialer.refused.add(APP)
    r.servers[0].close()

    assert [one.status for one in client.events(ResponseHead)] == [503]
    assert errors(r, "upstream_connect_failed") == 1


def test_refusal_of_the_app_itself_goes_no_further(rig: MakeRig) -> None:
    """It keeps its meaning between app and sidecar (once more, there); that the app never saw a request is not for it to say."""
    r = callee(rig, AppProtocol.HTTP2)
    client = Speaker(r.client(http2=True, mesh=ALICE), Http2Client(Limits()))
    client.do("send_request", head(), True)
    app = Speaker(r.servers[0], Http2Server(Limits()))
    for _ in range(2):
        (asked,) = app.events(RequestHead)
        app.do("reset", asked.stream, codes.REFUSED_STREAM)

    assert [one.status for one in client.events(ResponseHead)] == [503]
    assert errors(r, "upstream_reset") == 1


# --- the caller's side ------------------------------------------------------------------------------------------------


def test_refused_request_goes_to_another_endpoint_with_its_body(rig: MakeRig) -> None:
    """Whatever the method; the endpoint is passed over from now on."""
    r = caller(rig, *ENDS)
    client = r.client().send(POST)
    refuse(r, 0)
    second = Speaker(r.servers[1], Http2Server(Limits()))
    assert [one.data for one in second.events(Data)] == [b"abc"]
    second.do("send_response", 1, 204, b"", [], True)

    assert client.read().startswith(b"HTTP/1.1 204")
    first = r.servers[0].address[0]
    assert [slot.address for slot in r.runtime.tables.clusters["c"].slots if slot.health.failures] == [first]
    assert r.runtime.metrics.events.of("unseen_retries").value == 1
    assert r.runtime.tables.clusters["c"].circuit.retries == 0


@pytest.mark.parametrize(("ends", "tried"), [(1, 1), (2, 2), (4, 3)])
def test_each_endpoint_is_asked_once_and_three_at_most(rig: MakeRig, ends: int, tried: int) -> None:
    """Then the client learns the reason it always learnt."""
    r = caller(rig, *ENDS[:ends])
    client = r.client().send(GET)
    for at in range(tried):
        refuse(r, at)
    answer = client.read()

    assert len(r.servers) == tried
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"x-tulle-error: upstream_connect_failed" in answer
    assert len({server.address for server in r.servers}) == tried


def test_endpoint_of_which_nobody_heard_ill_is_the_first_one_asked_instead(rig: MakeRig) -> None:
    """Of many whose sidecars refused before, no more than half are passed over: a second and third refusal would be the last."""
    ends = [f"10.1.0.{number}" for number in range(1, 17)]
    r = caller(rig, *ends)
    table = r.runtime.tables.clusters["c"]
    for slot in table.slots[1:]:
        conduct.failed(r.runtime, slot, REFUSED, "its sidecar could not reach the app")
    for _ in range(16):
        client = r.client().send(POST)
        for server in (one for _ in range(3) for one in list(r.servers)):
            talk = server.speaker = getattr(server, "speaker", None) or Speaker(server, Http2Server(Limits()))
            for one in talk.events(RequestHead):
                if server.address[0] == ends[0]:
                    talk.do("send_response", one.stream, 204, b"", [], True)
                else:
                    talk.do("reset", one.stream, codes.REFUSED_STREAM)
        assert client.read().startswith(b"HTTP/1.1 204")


def test_going_elsewhere_is_under_the_retry_budget(rig: MakeRig) -> None:
    """A service that is down as a whole does not get three times its load."""
    r = caller(rig, *ENDS, limits=CircuitLimits(max_retries=0))
    client = r.client().send(GET)
    refuse(r, 0)

    assert b"x-tulle-error: upstream_connect_failed" in client.read()
    assert r.runtime.metrics.events.of("retries_overflow").value == 1


def test_body_beyond_the_replay_bound_is_not_sent_elsewhere(rig: MakeRig) -> None:
    """What is not kept cannot be sent again."""
    r = rig(config(clusters=(cluster(*ENDS, mesh=True),), metadata=(("kind", "service"),)), replay_bytes=2)
    client = r.client().send(POST[:-2])
    client.send(POST[-2:])
    refuse(r, 0)

    assert b"x-tulle-error: upstream_connect_failed" in client.read()
    assert len(r.servers) == 1


def test_refusals_without_end_do_not_end_the_connection(rig: MakeRig) -> None:
    """A sidecar refuses for as long as its app is down; that is no flood."""
    r = caller(rig, ENDS[0])
    client = r.client()
    for _ in range(2 * Limits().premature_resets):
        client.send(GET)
        if not r.servers[0].over:
            server = getattr(r.servers[0], "speaker", None) or Speaker(r.servers[0], Http2Server(Limits()))
            r.servers[0].speaker = server
            for one in server.events(RequestHead):
                server.do("reset", one.stream, codes.REFUSED_STREAM)
        assert b"x-tulle-error: upstream_connect_failed" in client.read()

    assert len(r.dialer.dials) == 1


# --- both -------------------------------------------------------------------------------------------------------------


def link(near: Rig, far: Rig) -> None:
    """Have the oldest dial of one sidecar accepted by another."""
    receiver, peer = near.waiting.pop(0)
    chain = far.runtime.tables.listeners["l"].chains[0]
    stream = Stream(far.poller, socket.socket.detach(peer.sock), Receiver(), ("10.9.9.9", 4000))
    stream.identity, stream.alpn = ALICE, "tulle-h2"
    HttpDownstream(far.runtime, stream, chain, True, True)
    stream.start()
    receiver.opened()


def settle(*rigs: Rig) -> None:
    for _ in range(8):
        for one in rigs:
            one.turn()


def test_killed_app_costs_what_was_in_flight_and_no_more(rig: MakeRig) -> None:
    """Two pods, one app killed under its living sidecar: every request after that is answered, each by one app, once."""
    near, *far = caller(rig, *ENDS[:2]), callee(rig), callee(rig)
    near.dialer.held = True
    pods: dict[str, Rig] = {}

    def run() -> None:
        for _ in range(4):
            settle(near, *far)
            while near.waiting:
                address = near.waiting[0][1].address[0]
                pods.setdefault(address, far[len(pods)])
                link(near, pods[address])

    def ask() -> bytes:
        client = near.client().send(POST)
        run()
        for pod in far:
            for app in pod.servers:
                if not app.over and app.read():
                    app.send(OK)
        run()
        return client.read()

    assert [ask()[:15] for _ in range(4)] == [OK[:15]] * 4
    for pod in far[:1]:
        pod.dialer.refused.add(APP)
        for app in pod.servers:
            app.close()
            app.over = True
    before = len(far[1].servers)

    assert [ask()[:15] for _ in range(20)] == [OK[:15]] * 20
    assert errors(near, "upstream_connect_failed") == 0
    assert near.runtime.metrics.events.of("unseen_retries").value == 1
    assert len(far[1].servers) - before <= 1


def leave_out(r: Rig, at: int) -> None:
    """The sidecar dialled as number `at` goes, and its GOAWAY leaves out what it was sent."""
    server = Speaker(r.servers[at], Http2Server(Limits()))
    server.do("shutdown")
    assert not server.events(RequestHead)


@pytest.mark.parametrize("ends", [1, 3])
def test_request_that_two_going_sidecars_left_out_is_asked_once_more(rig: MakeRig, ends: int) -> None:
    """While pods end one after the other it may come to each as it goes; nobody has looked at it. The third is its last."""
    r = caller(rig, *ENDS[:ends])
    client = r.client().send(POST)
    leave_out(r, 0)
    leave_out(r, 1)
    third = Speaker(r.servers[2], Http2Server(Limits()))
    assert [one.data for one in third.events(Data)] == [b"abc"]
    third.do("send_response", 1, 204, b"", [], True)
    assert client.read().startswith(b"HTTP/1.1 204")

    client = r.client().send(POST)
    for at in (2, 3, 4):
        leave_out(r, at)
    assert b"x-tulle-error: upstream_reset" in client.read()
    assert len(r.servers) == 5


def test_sidecar_that_left_a_request_out_has_not_refused_it(rig: MakeRig) -> None:
    """It had no turn: each endpoint is asked whether it can hand the request on, whatever went before."""
    r = caller(rig, *ENDS[:2])
    client = r.client().send(POST)
    leave_out(r, 0)
    refuse(r, 1)
    third = Speaker(r.servers[2], Http2Server(Limits()))
    third.do("send_response", third.events(RequestHead)[0].stream, 204, b"", [], True)

    assert client.read().startswith(b"HTTP/1.1 204")
    assert r.servers[1].address != r.servers[2].address
