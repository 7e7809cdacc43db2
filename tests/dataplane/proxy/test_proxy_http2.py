"""HTTP/2 on either side, and the four ways to bridge the versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol
from dataplane.protocol import codes
from dataplane.protocol.events import Data, Goaway, RequestHead, Reset, ResponseHead, Trailers
from dataplane.protocol.fields import get
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
GRPC = (b"content-type", b"application/grpc", b"content-type")


def head(method: bytes = b"GET", *headers: tuple[bytes, bytes, bytes], end: bool = True) -> RequestHead:
    return RequestHead(0, method, b"http", b"web", b"/x", list(headers), end, 20)


def h2_config(mesh: bool = True, *addresses: str) -> Any:
    return config(clusters=(cluster(*(addresses or ("10.1.0.1",)), mesh=mesh, protocol=AppProtocol.HTTP2),))


def client(rig: Rig, **how: Any) -> Speaker:
    speaker = Speaker(rig.client(http2=True, **how), Http2Client(Limits()))
    speaker.pump()
    return speaker


def server(rig: Rig, number: int = 0) -> Speaker:
    speaker = Speaker(rig.servers[number], Http2Server(Limits()))
    speaker.pump()
    return speaker


def test_http2_request_reaches_an_http2_server(rig: MakeRig) -> None:
    """Head, body and trailers pass in both directions."""
    r = rig(h2_config())
    c = client(r)
    stream = c.do("send_request", head(b"POST", end=False), False)
    c.do("send_data", stream, b"abc", False)
    c.do("send_trailers", stream, [(b"x-t", b"1", b"x-t")])
    s = server(r)
    request, body, trailers = s.events()

    assert (request.method, request.path, request.authority) == (b"POST", b"/x", b"web")
    assert (body.data, trailers.headers) == (b"abc", [(b"x-t", b"1", b"x-t")])
    s.do("send_response", 1, 200, b"", [(b"a", b"b", b"a")], False)
    s.do("send_data", 1, b"hi", False)
    s.do("send_trailers", 1, [(b"y-t", b"2", b"y-t")])
    answer, body, trailers = c.events()
    assert (answer.status, body.data, trailers.headers) == (200, b"hi", [(b"y-t", b"2", b"y-t")])
    assert r.counted(200) == 1


def test_http1_client_rides_on_http2_between_sidecars(rig: MakeRig) -> None:
    """Requests of several connections share one, marked with the version they came in."""
    r = rig(h2_config())
    clients = [r.client().send(b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n") for _ in range(3)]
    s = server(r)
    requests = s.events(RequestHead)

    assert len(r.servers) == 1
    assert [get(one.headers, b"x-tulle-original-protocol") for one in requests] == [b"HTTP/1.1"] * 3
    for number, request in enumerate(requests):
        s.do("send_response", request.stream, 200, b"", [], False)
        s.do("send_data", request.stream, b"%d" % number, True)
    assert [one.read()[-8:] for one in clients] == [b"%d\r\n0\r\n\r\n" % number for number in range(3)]
    assert r.dialer.dials[0][2][1:] == (("tulle-h2",), "spiffe://t/ns/n/sa/10.1.0.1")


@pytest.mark.parametrize(("marked", "first"), [(b"HTTP/1.1", b"GET /x HTTP/1.1"), (b"", b"PRI * HTTP/2.0")])
def test_inbound_hands_over_in_the_version_the_app_spoke(rig: MakeRig, marked: bytes, first: bytes) -> None:
    """Decision 0004: the header says it on mesh connections, and never reaches the app."""
    r = rig(config(inbound=True))
    c = client(r, mesh="spiffe://t/ns/n/sa/caller")
    headers = [(b"x-tulle-original-protocol", marked, b"x-tulle-original-protocol")] if marked else []
    c.do("send_request", head(b"GET", *headers), True)
    came = r.servers[0].read()

    assert came.startswith(first)
    assert b"x-tulle" not in came


def test_head_an_app_may_send_passes_the_next_sidecar_too(rig: MakeRig) -> None:
    """What we add is not counted against the app: a thousand lines, and 64 KiB in all."""
    lines = b"".join(b"x-%03d: %s\r\n" % (n, b"v" * 56) for n in range(999))
    raw = b"GET /x HTTP/1.1\r\nHost: web\r\n" + lines + b"\r\n"
    assert 64_900 < len(raw) <= 65_536
    r = rig(h2_config())
    r.runtime.introduction = b"web|shop|web|v1"
    r.client().send(raw)
    speaker = Speaker(r.servers[0], Http2Server(Limits().between_sidecars()))
    (request,) = speaker.events(RequestHead)
    assert len(request.headers) > 1000

    far = rig(config(inbound=True))
    c = client(far, mesh="spiffe://t/ns/n/sa/caller")
    c.do("send_request", RequestHead(0, b"GET", b"http", b"web", b"/x", request.headers, True), True)
    assert far.servers[0].read().startswith(b"GET /x HTTP/1.1\r\n")


def test_answer_with_many_cookies_passes(rig: MakeRig) -> None:
    """Frameworks send one line a cookie."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client_ = r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    r.servers[0].send(b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b\r\n" * 900 + b"content-length: 0\r\n\r\n")

    assert client_.read().count(b"Set-Cookie") == 900


def test_answer_with_too_large_a_head_is_502_that_names_the_setting(rig: MakeRig) -> None:
    """The app's developer reads it in the client."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client_ = r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    r.servers[0].send(b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b\r\n" * 1001 + b"content-length: 0\r\n\r\n")
    told = client_.read()

    assert told.startswith(b"HTTP/1.1 502 ")
    assert b"more than 1000 header lines (TULLE_MAX_HEADER_COUNT)" in told


def test_absolute_target_passes_two_sidecars(rig: MakeRig) -> None:
    """HTTP/2 has no form for it, so the header of decision 0004 says it."""
    r = rig(h2_config())
    r.client().send(b"GET http://other/x HTTP/1.1\r\nHost: other\r\n\r\n")
    (request,) = server(r).events(RequestHead)
    told = get(request.headers, b"x-tulle-original-protocol")
    assert (request.authority, request.path, told) == (b"other", b"/x", b"HTTP/1.1 absolute")

    far = rig(config(inbound=True))
    c = client(far, mesh="spiffe://t/ns/n/sa/caller")
    c.do("send_request", head(b"GET", (b"x-tulle-original-protocol", told, b"x-tulle-original-protocol")), True)
    assert far.servers[0].read().startswith(b"GET http://web/x HTTP/1.1\r\nHost: web\r\n")


def test_app_cannot_set_the_mesh_headers(rig: MakeRig) -> None:
    """Without mesh TLS the header means nothing and is taken out."""
    r = rig()
    r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\nx-tulle-original-protocol: HTTP/2\r\nx-tulle-peer: a|b|c|d\r\n\r\n")

    assert b"x-tulle" not in r.servers[0].read()


def test_sidecars_introduce_themselves_once_a_connection(rig: MakeRig) -> None:
    """The first request carries the labels, the others do not; the receiver counts under them."""
    r = rig(h2_config())
    r.runtime.introduction = b"web|shop|web|v1"
    r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    told = [get(one.headers, b"x-tulle-peer") for one in server(r).events(RequestHead)]
    other = rig(config(inbound=True))
    c = client(other, mesh="spiffe://t/ns/proven/sa/caller")
    c.do("send_request", head(b"GET", (b"x-tulle-peer", b"web|shop|web|v1", b"x-tulle-peer")), True)

    assert told == [b"web|shop|web|v1", None]
    other.clients[0].close()
    peers = [g.prefix for g in other.runtime.metrics.groups.values()]
    assert any(b'source_workload="web",source_workload_namespace="proven"' in one for one in peers)


def test_grpc_status_is_read_from_trailers(rig: MakeRig) -> None:
    """The series of gRPC calls are apart by status."""
    r = rig(h2_config())
    c = client(r)
    stream = c.do("send_request", head(b"POST", GRPC, end=False), False)
    c.do("send_data", stream, b"\0\0\0\0\0", True)
    s = server(r)
    s.do("send_response", 1, 200, b"", [GRPC], False)
    s.do("send_trailers", 1, [(b"grpc-status", b"5", b"grpc-status")])

    assert c.events(Trailers)[0].headers == [(b"grpc-status", b"5", b"grpc-status")]
    series = [one.labels for g in r.runtime.metrics.groups.values() for one in g.series.values()]
    assert b'request_protocol="grpc",response_code="200",grpc_response_status="5"' in series[0]


def test_grpc_refusal_is_trailers_only(rig: MakeRig) -> None:
    """A gRPC client gets a status it understands."""
    r = rig(config(clusters=(cluster(),)))
    c = client(r)
    c.do("send_request", head(b"POST", GRPC, end=False), False)
    answer = c.events(ResponseHead)[0]

    assert (answer.status, answer.end, get(answer.headers, b"grpc-status")) == (200, True, b"14")
    assert get(answer.headers, b"x-tulle-error") == b"no_healthy_upstream"


def test_client_that_cancels_cancels_at_the_server(rig: MakeRig) -> None:
    """RST_STREAM passes through as CANCEL, and the connections go on."""
    r = rig(h2_config())
    c = client(r)
    stream = c.do("send_request", head(), True)
    s = server(r)
    assert s.events(RequestHead)
    c.do("reset", stream, codes.CANCEL)

    assert [(one.stream, one.code) for one in s.events(Reset)] == [(1, codes.CANCEL)]
    c.do("send_request", head(), True)
    assert s.events(RequestHead)


def test_reset_by_the_server_before_its_answer_is_503(rig: MakeRig) -> None:
    """The client is told, in a response."""
    r = rig(h2_config())
    c = client(r)
    c.do("send_request", head(), True)
    server(r).do("reset", 1, codes.INTERNAL_ERROR)
    answer = c.events(ResponseHead)[0]

    assert (answer.status, get(answer.headers, b"x-tulle-error")) == (503, b"upstream_reset")


def test_reset_by_the_server_within_its_answer_is_a_reset(rig: MakeRig) -> None:
    """Half an answer is never passed off as a whole one."""
    r = rig(h2_config())
    c, h1 = client(r), r.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    c.do("send_request", head(), True)
    s = server(r)
    for stream in (1, 3):
        s.do("send_response", stream, 200, b"", [], False)
        s.do("send_data", stream, b"half", False)
        s.do("reset", stream, codes.INTERNAL_ERROR)

    assert [one.code for one in c.events(Reset)] == [codes.INTERNAL_ERROR]
    assert h1.read().endswith(b"4\r\nhalf\r\n")
    assert h1.ended


def test_refused_stream_is_tried_again_with_its_body(rig: MakeRig) -> None:
    """The server did nothing with it, so nobody need know."""
    r = rig(h2_config(True, "10.1.0.1", "10.1.0.2"))
    c = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc")
    first = server(r)
    first.events()
    first.do("reset", 1, codes.REFUSED_STREAM)
    second = server(r, 1)

    assert [one.data for one in second.events(Data)] == [b"abc"]
    second.do("send_response", 1, 204, b"", [], True)
    assert c.read().startswith(b"HTTP/1.1 204")


def test_next_endpoint_is_connected_to_ahead(rig: MakeRig) -> None:
    """One request dials its own endpoint and the one whose turn is next; the following ones find a connection."""
    ahead = replace(cluster("10.1.0.1", "10.1.0.2", "10.1.0.3", mesh=True), ahead=True)
    r = rig(config(clusters=(ahead,)))
    c = client(r)
    dials = []
    for _ in range(4):
        c.do("send_request", head(), True)
        dials.append(len(r.dialer.dials))

    assert dials == [2, 3, 3, 3]
    assert len({address for address, _, _ in r.dialer.dials}) == 3


def test_connection_ahead_that_fails_fails_no_request(rig: MakeRig) -> None:
    """Nobody waits for it."""
    ahead = replace(cluster("10.1.0.1", "10.1.0.2", mesh=True), ahead=True)
    r = rig(config(clusters=(ahead,)))
    r.dialer.refused = {"10.1.0.1"}
    c = client(r)
    c.do("send_request", head(), True)
    s = server(r)
    (request,) = s.events(RequestHead)
    s.do("send_response", request.stream, 200, b"", [], True)

    assert c.events(ResponseHead)[0].status == 200


def test_goaway_of_a_server_moves_requests_to_a_new_connection(rig: MakeRig) -> None:
    """What is on the way is finished, what comes after goes elsewhere."""
    r = rig(h2_config())
    c = client(r)
    c.do("send_request", head(), True)
    old = server(r)
    old.do("shutdown")
    c.do("send_request", head(), True)
    assert len(r.servers) == 2
    old.do("send_response", 1, 200, b"", [], True)
    server(r, 1).do("send_response", 1, 201, b"", [], True)

    assert sorted(one.status for one in c.events(ResponseHead)) == [200, 201]
    assert r.servers[0].ended


def test_stream_limit_of_a_server_opens_another_connection(rig: MakeRig) -> None:
    """Two streams allowed, three requests: the third gets a connection of its own."""
    r = rig(h2_config())
    c = client(r)
    c.do("send_request", head(), True)
    s = Speaker(r.servers[0], Http2Server(Limits(concurrent_streams=2)))
    s.pump()
    for _ in range(2):
        c.do("send_request", head(), True)

    assert len(s.events(RequestHead)) == 2
    assert len(server(r, 1).events(RequestHead)) == 1


@pytest.mark.parametrize("bound", [0, 1000, 32 * 1024, 256 * 1024])
def test_slow_reader_slows_the_server(rig: MakeRig, bound: int) -> None:
    """The windows are not opened beyond what the client took: memory stays bounded, and all arrives however small the bound is."""
    r = rig(h2_config(), pending_bytes=bound)
    slow = Speaker(r.client(http2=True), Http2Client(Limits(stream_window=65535)))
    slow.pump()
    slow.codec.send_request(head(), True)
    slow.peer.send(slow.codec.output())
    s = server(r)
    s.do("send_response", 1, 200, b"", [], False)
    for _ in range(200):
        s.do("send_data", 1, b"x" * 16384, False)

    assert s.codec.pending(1) > 2_000_000
    sent = 200 * 16384 - s.codec.pending(1)
    assert sent < 1_000_000
    got = 0
    for _ in range(1000):
        for event in slow.events(Data):
            got += len(event.data)
            slow.do("consumed", 1, len(event.data))
        s.pump()
        if got == 200 * 16384:
            break
    assert got == 200 * 16384


@pytest.mark.parametrize("bound", [0, 1000, 256 * 1024])
def test_slow_server_slows_the_client(rig: MakeRig, bound: int) -> None:
    """The same the other way: the client's window stays shut while the server does not read."""
    r = rig(h2_config(), pending_bytes=bound)
    c = client(r)
    stream = c.do("send_request", head(b"POST", end=False), False)
    s = server(r)
    s.events()
    for _ in range(200):
        c.do("send_data", stream, b"x" * 16384, False)
        s.peer.rig.turn()
    s_got = sum(len(one.data) for one in s.events(Data))

    assert s_got < 1_000_000
    assert c.codec.pending(stream) > 1_500_000


def test_drain_tells_clients_and_finishes_what_is_on_the_way(rig: MakeRig) -> None:
    """GOAWAY at once, the stream in hand is still answered, then the connection closes."""
    r = rig(h2_config())
    c = client(r)
    c.do("send_request", head(), True)
    s = server(r)
    r.runtime.drain()
    assert c.events(Goaway)
    s.do("send_response", 1, 200, b"", [], True)
    assert [one.status for one in c.events(ResponseHead)] == [200]
    r.run(1.1)

    assert c.peer.ended


def test_mesh_connection_to_a_gone_endpoint_ends_when_idle(rig: MakeRig) -> None:
    """A push that removes an endpoint retires its connections without failing a request."""
    r = rig(h2_config(True, "10.1.0.1"))
    c = client(r)
    c.do("send_request", head(), True)
    old = server(r)
    r.runtime.install(compile_tables(h2_config(True, "10.1.0.2"), r.runtime.tables))
    c.do("send_request", head(), True)
    old.do("send_response", 1, 200, b"", [], True)
    server(r, 1).do("send_response", 1, 200, b"", [], True)

    assert [one.status for one in c.events(ResponseHead)] == [200, 200]
    assert r.servers[0].ended
    assert r.dialer.dials[1][0] == "10.1.0.2"


def test_extended_connect_becomes_an_upgrade_and_back(rig: MakeRig) -> None:
    """WebSocket over HTTP/2 reaches an HTTP/1 server."""
    r = rig()
    c = client(r)
    asked = RequestHead(0, b"CONNECT", b"http", b"web", b"/chat", [], False, 20, b"websocket")
    stream = c.do("send_request", asked, False)
    came = r.servers[0].read()
    assert came.startswith(b"GET /chat HTTP/1.1\r\n")
    assert b"Upgrade: websocket" in came
    assert b"Sec-WebSocket-Key: " in came
    r.servers[0].send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    answer, data = c.events()
    assert (answer.status, data.data) == (200, b"hello")
    c.do("send_data", stream, b"there", True)

    assert r.servers[0].read() == b"there"
    r.servers[0].close()
    assert c.events(Data)[-1].end


def test_upgrade_with_a_length_becomes_an_extended_connect_without(rig: MakeRig) -> None:
    """A tunnel in HTTP/2 has no body whose bytes could be counted against `content-length: 0`."""
    r = rig(h2_config(False))
    asker = r.client().send(
        b"GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: k\r\nContent-Length: 0\r\n\r\n"
    )
    s = server(r)
    (asked,) = s.events(RequestHead)
    assert (asked.method, get(asked.headers, b"content-length")) == (b"CONNECT", None)
    s.do("send_response", asked.stream, 200, b"", [], False)
    assert asker.read().startswith(b"HTTP/1.1 101 ")
    asker.send(b"hello")
    s.do("send_data", asked.stream, b"there", False)

    assert [data.data for data in s.events(Data)] == [b"hello"]
    assert asker.read() == b"there"


def test_length_goes_with_neither_half_of_an_upgrade_from_http2(rig: MakeRig) -> None:
    """Neither the server's 101 nor the client's CONNECT has a body."""
    r = rig()
    c = client(r)
    length = (b"content-length", b"0", b"content-length")
    asked = RequestHead(0, b"CONNECT", b"http", b"web", b"/chat", [length], False, 20, b"websocket")
    c.do("send_request", asked, False)
    assert b"content-length" not in r.servers[0].read().lower()
    r.servers[0].send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\nhi"
    )
    answer, data = c.events()

    assert (answer.status, get(answer.headers, b"content-length"), data.data) == (200, None, b"hi")


@pytest.mark.parametrize("protocol", [AppProtocol.HTTP1, AppProtocol.HTTP2])
def test_connection_to_a_gone_endpoint_that_opens_for_nobody_is_closed(rig: MakeRig, protocol: AppProtocol) -> None:
    """Who asked for it left while it was dialled."""

    def at(address: str) -> Any:
        return config(clusters=(cluster(address, protocol=protocol),))

    r = rig(at("10.1.0.1"))
    r.dialer.held = True
    r.client().send(b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n")
    r.accepted[0].abort()
    r.turn()
    r.runtime.install(compile_tables(at("10.1.0.2"), r.runtime.tables))
    r.dialer.held = False
    r.turn()

    assert r.servers[0].ended
    assert not r.runtime.upstreams
