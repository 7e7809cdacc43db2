"""Stages that want to see a request's body before a server does: no more than they asked for, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol
from dataplane.protocol.events import RequestHead, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits
from dataplane.proxy.request import errors
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, WAIT, Stage
from tests.dataplane.proxy.rig import Peer, Rig, Speaker, cluster, config, everything, forward

MakeRig = Callable[..., Rig]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Scan(Stage):
    """Refuses bodies with a word in them, or has them wait."""

    def __init__(self, body_bytes: int = 16, says: int = CONTINUE) -> None:
        super().__init__(body_bytes=body_bytes)
        self.says = says
        self.saw: list[tuple[bytes, bool]] = []
        self.held: list[Any] = []
        self.gone: list[Any] = []

    def on_body(self, exchange: Any, data: bytes, whole: bool) -> int:
        self.saw.append((data, whole))
        if b"evil" in data:
            exchange.refuse(errors.RBAC_DENIED)
            return ANSWERED
        if self.says == WAIT:
            self.held.append(exchange)
        return self.says

    def cancelled(self, exchange: Any) -> None:
        self.gone.append(exchange)


def post(size: int) -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: %d\r\n\r\n" % size


def staged(r: Rig, *stages: Stage) -> None:
    row = r.runtime.tables.routes["r"].only.rows[0]
    row.stages = stages
    row.answering = ()
    row.gathering = stages


def client(r: Rig, *stages: Stage) -> Peer:
    staged(r, *stages)
    return r.client()


def test_short_body_is_seen_whole_and_goes_on(rig: MakeRig) -> None:
    """However many pieces it came in; no server is asked before."""
    r = rig()
    scan = Scan()
    one = client(r, scan).send(post(6) + b"abc")
    assert (scan.saw, r.servers) == ([], [])
    one.send(b"def")

    assert scan.saw == [(b"abcdef", True)]
    assert r.servers[0].read().endswith(b"\r\n\r\nabcdef")
    r.servers[0].send(OK)
    assert one.read() == OK


def test_long_body_is_seen_as_far_as_wanted_and_streams(rig: MakeRig) -> None:
    """Each stage sees what it wants; the rest passes as it comes."""
    r = rig()
    short, long = Scan(4), Scan(8)
    one = client(r, short, long).send(post(100_000) + b"0123456")
    assert (short.saw, r.servers) == ([], [])
    one.send(b"789")
    assert (short.saw, long.saw) == ([(b"0123", False)], [(b"01234567", False)])
    assert r.servers[0].read().endswith(b"0123456789")
    one.send(b"x" * 99_990)

    assert len(r.servers[0].read()) == 99_990
    r.servers[0].send(OK)
    assert one.read() == OK


@pytest.mark.parametrize("sent", [b"the evil one", b""], ids=["refused", "empty"])
def test_stage_may_answer_for_what_it_saw(rig: MakeRig, sent: bytes) -> None:
    """No server hears of it; of a request without a body it sees none."""
    r = rig()
    scan = Scan()
    one = client(r, scan).send(post(len(sent)) + sent)

    assert scan.saw == [(sent, True)]
    if sent:
        assert one.read().startswith(b"HTTP/1.1 403")
        assert r.servers == []
    else:
        r.servers[0].send(OK)
        assert one.read() == OK
    assert r.runtime.active == 0


def test_stage_may_have_it_wait_and_nothing_more_is_read(rig: MakeRig) -> None:
    """Once it has seen what it wanted, what is kept does not grow until it knows."""
    r = rig()
    scan = Scan(4, WAIT)
    one = client(r, scan).send(post(3_000_000) + b"abcd")
    assert scan.saw == [(b"abcd", False)]
    one.send(b"x" * 2_999_996)
    assert one.backlog, "all of it was read"
    assert scan.held[0].asking.kept.size < 200_000
    scan.held[0].resume()
    got = b""
    for _ in range(200):
        one.send(b"")
        got += r.servers[0].read()
    assert len(got.partition(b"\r\n\r\n")[2]) == 3_000_000
    assert (len(scan.saw), scan.gone) == (1, [])


def test_request_that_ends_while_a_stage_looks_is_cancelled(rig: MakeRig) -> None:
    """Once, and it leaves nothing."""
    r = rig()
    scan = Scan(4, WAIT)
    client(r, scan).send(post(4) + b"abcd")
    r.accepted[0].abort()
    r.turn()

    assert scan.gone == scan.held
    assert r.runtime.active == 0


def test_more_than_a_window_is_gathered_over_http2(rig: MakeRig) -> None:
    """The client is given window for it, or it would wait for ever; trailers are an end as well."""
    r = rig(config(clusters=(cluster("10.1.0.1", mesh=True),)), protocol=Limits(stream_window=65_535))
    scan = Scan(150_000)
    staged(r, scan)
    speaker = Speaker(r.client(http2=True), Http2Client(Limits()))
    stream = speaker.do("send_request", RequestHead(0, b"POST", b"http", b"web", b"/", [], False, 20), False)
    for _ in range(10):
        speaker.do("send_data", stream, b"x" * 10_000, False)
    assert (scan.saw, r.servers) == ([], [])
    speaker.do("send_trailers", stream, [(b"a", b"b", b"a")])

    assert [(len(data), whole) for data, whole in scan.saw] == [(100_000, True)]
    assert speaker.events(ResponseHead) == []
    assert len(r.servers) == 1


@pytest.mark.parametrize("evil", [False, True], ids=["goes-on", "refused"])
def test_client_that_waits_for_100_is_told_to_send_what_a_stage_wants(rig: MakeRig, evil: bool) -> None:
    """Once, by us: the server is not asked before the stage, and then not asked to expect what is here already (RFC 9110, section 10.1.1)."""
    r = rig()
    scan = Scan()
    expecting = post(8).replace(b"\r\n\r\n", b"\r\nExpect: 100-Continue\r\nX-Last: 1\r\n\r\n")
    one = client(r, scan).send(expecting)
    assert one.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (scan.saw, r.servers) == ([], [])
    one.send(b"abcd")
    assert one.read() == b""
    one.send(b"evil" if evil else b"efgh")

    if evil:
        assert one.read().startswith(b"HTTP/1.1 403")
        assert r.servers == []
        return
    head, _, body = r.servers[0].read().partition(b"\r\n\r\n")
    assert (body, b"expect" in head.lower(), b"X-Last: 1" in head) == (b"abcdefgh", False, True)
    r.servers[0].send(OK)
    assert one.read() == OK


def test_client_over_http2_is_told_to_send_what_a_stage_wants(rig: MakeRig) -> None:
    """The same in frames."""
    r = rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),)))
    scan = Scan(4)
    staged(r, scan)
    speaker = Speaker(r.client(http2=True), Http2Client(Limits()))
    expects = (b"expect", b"100-continue", b"expect")
    stream = speaker.do("send_request", RequestHead(0, b"POST", b"http", b"web", b"/", [expects], False, 20), False)
    assert [head.status for head in speaker.events(ResponseHead)] == [100]
    speaker.do("send_data", stream, b"abcd", True)

    assert b"expect" not in r.servers[0].read().lower()
    r.servers[0].send(OK)
    assert [head.status for head in speaker.events(ResponseHead)][-1] == 200


@pytest.mark.parametrize("head", ["Expect: a-miracle\r\n", ""], ids=["something-else", "nothing"])
def test_client_that_waits_for_nothing_hears_nothing_early(rig: MakeRig, head: str) -> None:
    """What a server is to decide on stays for it."""
    r = rig()
    request = post(4).replace(b"\r\n\r\n", b"\r\n" + head.encode() + b"\r\n")
    one = client(r, Scan()).send(request)
    assert one.read() == b""
    one.send(b"abcd")
    assert head.encode() in r.servers[0].read()


def test_server_decides_on_100_where_no_stage_looks(rig: MakeRig) -> None:
    """The expectation is the server's without such a stage."""
    r = rig()
    one = client(r, Stage()).send(post(4).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert one.read() == b""
    assert b"Expect: 100-continue\r\n" in r.servers[0].read()


def test_copies_get_what_came_while_a_stage_looked(rig: MakeRig) -> None:
    """All of the body and its end."""
    to = forward(mirrors=(("m", 1.0),))
    r = rig(config(everything(to), clusters=(cluster("10.1.0.1"), cluster("10.2.0.1", name="m"))))
    client(r, Scan()).send(post(6) + b"abc").send(b"def")

    assert [server.read().partition(b"\r\n\r\n")[2] for server in r.servers] == [b"abcdef", b"abcdef"]


def test_without_such_a_stage_nothing_is_gathered(rig: MakeRig) -> None:
    """The first piece is at the server before the second came."""
    r = rig()
    one = client(r, Stage()).send(post(6) + b"abc")

    assert r.servers[0].read().endswith(b"abc")
    one.send(b"def")
    assert r.servers[0].read() == b"def"
