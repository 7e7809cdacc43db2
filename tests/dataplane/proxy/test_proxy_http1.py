"""HTTP/1 in and HTTP/1 out, byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.net.tls import TlsContexts
from dataplane.net.tls_stream import TlsStream
from dataplane.protocol.limits import Limits
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.telemetry import flags
from tests.dataplane.proxy.rig import Rig, cluster, config
from tests.dataplane.proxy.test_proxy_carriers import client_context
from tests.support.certs import Authority
from tests.support.flowing import Wire

GET = b"GET /x HTTP/1.1\r\nHost: web\r\nx-request-id: 1\r\nx-forwarded-proto: http\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_request_goes_to_an_endpoint_and_its_answer_back(rig: Callable[..., Rig]) -> None:
    """The shortest exchange."""
    r = rig()
    client = r.client().send(GET)

    assert r.servers[0].read() == GET
    r.servers[0].send(OK)
    assert client.read() == OK
    assert r.counted(200) == 1


def test_kept_alive_connection_is_used_again(rig: Callable[..., Rig]) -> None:
    """Two requests, each to the next endpoint, then a third on the first connection."""
    r = rig()
    client = r.client()
    for number in (0, 1, 0):
        client.send(GET)
        assert r.servers[number].read() == GET
        r.servers[number].send(OK)
        assert client.read() == OK

    assert len(r.dialer.dials) == 2


def test_pipelined_requests_are_answered_in_order(rig: Callable[..., Rig]) -> None:
    """The second is taken up when the first is answered."""
    r = rig()
    client = r.client().send(GET + GET)
    assert len(r.servers) == 1
    r.servers[0].send(OK)

    assert len(r.servers) == 2
    r.servers[1].send(OK)
    assert client.read() == OK + OK


def test_body_sent_while_connecting_arrives_whole(rig: Callable[..., Rig]) -> None:
    """Pieces wait for the connection and go in order."""
    r = rig()
    r.dialer.held = True
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\nx-request-id: 1\r\ncontent-length: 10\r\n\r\nhello")
    client.send(b"world")
    server = r.open()

    assert server.read().endswith(b"\r\n\r\nhelloworld")
    server.send(OK)
    assert client.read() == OK


def test_chunked_body_and_trailers_pass_both_ways(rig: Callable[..., Rig]) -> None:
    """Framing is the hop's, content and trailers are the peers'."""
    r = rig()
    client = r.client().send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"
    )
    assert r.servers[0].read().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
    r.servers[0].send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ny-t: 2\r\n\r\n")

    assert client.read() == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ny-t: 2\r\n\r\n"


def test_chunked_body_goes_on_wherever_a_read_ends(rig: Callable[..., Rig]) -> None:
    """A read that ends inside a chunk's size line, or inside the line end after a chunk, stops nothing."""
    body = b"6;a=b\r\nchunk1\r\n6\r\nchunk2\r\n0\r\n\r\n"
    for cut in range(1, len(body)):
        r = rig()
        client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        got = r.servers[0].read()
        client.send(body[:cut])
        got += r.servers[0].read()
        client.send(body[cut:])
        got += r.servers[0].read()

        assert got.endswith(b"\r\n0\r\n\r\n"), cut
        r.servers[0].send(OK)
        assert client.read() == OK


def test_informational_answers_are_passed_on(rig: Callable[..., Rig]) -> None:
    """100 Continue comes from the server, and the body follows."""
    r = rig()
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert b"Expect: 100-continue" in r.servers[0].read()
    r.servers[0].send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"ab")
    assert r.servers[0].read() == b"ab"
    r.servers[0].send(OK)
    assert client.read() == OK


def test_server_of_endless_informational_answers_is_given_up(rig: Callable[..., Rig]) -> None:
    """No window holds them back, so their number is bounded."""
    r = rig()
    client = r.client().send(GET)
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    r.servers[0].send(hints * 100)
    assert client.read() == hints * 100

    r.servers[0].send(hints)
    assert client.read().startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert r.servers[0].ended


def test_client_that_is_lost_ends_its_request_at_the_server(rig: Callable[..., Rig]) -> None:
    """HTTP/1 cancels by breaking the connection."""
    r = rig()
    r.client().send(GET)
    next(iter(r.runtime.downstreams)).stream.abort()

    assert r.servers[0].ended
    assert r.counted(0, 8) == 1


def test_client_that_ends_while_it_waits_cancels_at_the_server(rig: Callable[..., Rig]) -> None:
    """An HTTP/1 client has no other way to say so than to close, and that begins with a FIN."""
    r = rig()
    client = r.client().send(GET).end()

    assert client.ended
    assert r.servers[0].read() == GET
    assert r.servers[0].ended
    assert r.counted(0, flags.CLIENT_GONE) == 1


def test_client_that_ends_inside_an_answer_cancels_it(rig: Callable[..., Rig]) -> None:
    """The rest of a download nobody reads is not fetched."""
    r = rig()
    client = r.client().send(GET)
    r.servers[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhi")
    client.end()

    assert client.read().endswith(b"hi")
    assert r.servers[0].ended


def test_client_that_ends_with_its_last_request_gets_its_answer(rig: Callable[..., Rig]) -> None:
    """`connection: close` says that the end of sending is none of the request; scripts with `nc -N` do so."""
    r = rig()
    client = r.client().send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).end()
    r.servers[0].send(OK)

    assert client.read().startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
    assert client.ended


def test_end_after_pipelined_requests_cancels_the_last(rig: Callable[..., Rig]) -> None:
    """What was asked before it is answered."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    client = r.client().send(GET + GET).end()
    assert not client.ended
    r.servers[0].send(OK)

    assert client.read() == OK
    assert client.ended
    assert (r.counted(200), r.counted(0, flags.CLIENT_GONE)) == (1, 1)


@pytest.mark.parametrize("closes", [False, True], ids=["ends", "closes"])
@pytest.mark.parametrize("early", [False, True], ids=["while paused", "before"])
@pytest.mark.parametrize(
    "framing",
    [b"content-length: 50000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n2faf080\r\n"],
    ids=["length", "chunk"],
)
def test_client_that_leaves_an_upload_nobody_reads_is_noticed_at_once(
    rig: Callable[..., Rig], *, closes: bool, early: bool, framing: bytes
) -> None:
    """Its end waits behind bytes that are read when the server takes more, which may be never; the kernel tells of it all the same."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    r.dialer.held = early
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
    for _ in range(4 if early else 100):
        client.send(b"u" * 20_000)
    assert client.backlog or early
    assert r.counted(0, flags.CLIENT_GONE) == 0
    client.close() if closes else client.end()

    assert r.counted(0, flags.CLIENT_GONE) == 1
    r.dialer.held = False
    r.turn()
    assert r.servers[0].read() == b"" if early else r.servers[0].ended


def test_end_behind_a_whole_upload_nobody_reads_yet_is_none_of_the_request(rig: Callable[..., Rig]) -> None:
    """Only what cannot become whole is given up."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    r.dialer.held = True
    body = b"u" * 90_000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nconnection: close\r\ncontent-length: 90000\r\n\r\n"
    client = r.client().send(head).send(body).end()
    r.dialer.held = False
    r.turn()
    assert r.servers[0].read().endswith(b"\r\n\r\n" + body)
    r.servers[0].send(OK)

    assert client.read().startswith(b"HTTP/1.1 200 OK")


def test_client_that_leaves_chunks_through_tls_is_noticed_at_once(rig: Callable[..., Rig]) -> None:
    """All it sent is read, and the end that TLS announces is no part of a body that could make it whole."""
    r = rig(config(clusters=(cluster("10.1.0.1"),)))
    r.dialer.held = True
    authority, contexts = Authority(), TlsContexts()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    plain = Stream(r.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
    plain.start()
    stream = TlsStream(r.poller, plain.fd, Receiver(), plain.peer, contexts.server(authority.context()))
    HttpDownstream(r.runtime, stream, r.runtime.tables.listeners["l"].chains[0], http2=False, secure=True)
    stream.take_over(plain, b"")
    client = Wire(theirs, client_context(authority, *authority.issue("spiffe://test/ns/a/sa/client")))
    while not client.shake():
        r.turn()
    client.put(CHUNKED + b"5\r\nhello\r\n")
    client.push()
    r.turn()
    assert r.runtime.active == 1
    client.end()
    client.push()
    r.turn()

    assert r.counted(0, flags.CLIENT_GONE) == 1
    theirs.close()


TOO_BIG = b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\n\r\nbig"


def test_answer_before_the_whole_body_leaves_the_connection_open(rig: Callable[..., Rig]) -> None:
    """The rest of the upload is read and dropped; the next request on the connection is served."""
    r = rig()
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1000000\r\n\r\nabc")
    r.servers[0].send(TOO_BIG)
    assert client.read() == TOO_BIG
    assert r.servers[0].ended

    client.send(b"u" * 999_997 + GET)
    assert not client.ended
    r.servers[1].send(OK)

    assert client.read() == OK
    assert r.servers[1].sock.fileno() >= 0


def test_refusal_of_an_upload_leaves_the_connection_open(rig: Callable[..., Rig]) -> None:
    """Our own answers are early ones too."""
    r = rig(config(clusters=(cluster(),)))
    client = r.client().send(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 6\r\n\r\nabc")
    assert b"x-tulle-error: no_healthy_upstream" in client.read()
    client.send(b"def" + GET)

    assert b"x-tulle-error: no_healthy_upstream" in client.read()
    assert not client.ended


def test_upload_that_goes_on_past_its_answer_is_bounded_in_bytes(rig: Callable[..., Rig]) -> None:
    """Where nothing said how much is to come, nothing could be announced; the connection ends."""
    r = rig(protocol=Limits(drain_bytes=1000))
    client = r.client().send(CHUNKED)
    r.servers[0].send(TOO_BIG)
    assert client.read() == TOO_BIG
    client.send(b"3e8\r\n" + b"u" * 1000 + b"\r\n")
    assert not client.ended
    client.send(b"1\r\nu\r\n")

    assert client.ended
    assert r.runtime.metrics.events.of("drain_given_up").value == 1


def test_upload_that_goes_on_past_its_answer_is_bounded_in_time(rig: Callable[..., Rig]) -> None:
    """A client that never finishes its body does not keep its connection."""
    r = rig(drain_seconds=0.05)
    client = r.client().send(CHUNKED)
    r.servers[0].send(TOO_BIG)
    assert not client.ended
    r.run(0.1)

    assert client.ended
    assert r.runtime.metrics.events.of("drain_given_up").value == 1


def test_upload_that_ended_in_time_is_not_counted_against_the_next_request(rig: Callable[..., Rig]) -> None:
    """The bound ends with the body."""
    r = rig(drain_seconds=0.05)
    client = r.client().send(CHUNKED)
    r.servers[0].send(TOO_BIG)
    client.send(b"0\r\n\r\n")
    r.run(0.1)
    client.send(GET)
    r.servers[1].send(OK)

    assert client.read().endswith(OK)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"G@T\x00\r\n\r\n", b"400"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"405"),
    ],
    ids=["no host", "garbage", "connect"],
)
def test_refused_request_is_answered_and_not_forwarded(rig: Callable[..., Rig], data: bytes, status: bytes) -> None:
    """The refusal says why and no server hears of it."""
    r = rig()
    answer = r.client().send(data).read()

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"x-tulle-error: " in answer
    assert r.dialer.dials == []


def test_connect_is_refused_with_what_to_do_about_it(rig: Callable[..., Rig]) -> None:
    """An app that is a forward proxy can be had, on a port that says it speaks bytes."""
    answer = rig().client().send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").read()

    assert b"appProtocol: tcp" in answer


@pytest.mark.parametrize(
    "target", [b"http://other/x?y=1", b"http://other/", b"https://other/z"], ids=["path", "root", "https"]
)
def test_absolute_target_is_carried_as_it_came(rig: Callable[..., Rig], target: bytes) -> None:
    """Who sends one takes the app for a forward proxy, and without a mesh the app would see it (RFC 9112, section 3.2.2)."""
    r = rig()
    r.client().send(b"GET " + target + b" HTTP/1.1\r\nHost: web\r\n\r\n")

    assert r.servers[0].read().startswith(b"GET " + target + b" HTTP/1.1\r\nHost: other\r\n")


@pytest.mark.parametrize("mesh", ["", "spiffe://t/ns/n/sa/a"], ids=["from outside", "from a sidecar"])
def test_client_certificate_a_client_claims_is_removed(rig: Callable[..., Rig], mesh: str) -> None:
    """Envoy's SANITIZE, its default: nobody can name another as the peer that showed a certificate."""
    r = rig(config(inbound=True))
    r.client(mesh=mesh).send(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n"
        b"X-Forwarded-Client-Cert: URI=spiffe://t/ns/pay/sa/admin\r\nX-Forwarded-Client-Cert: b\r\nX-Last: 1\r\n\r\n"
    )
    seen = r.servers[0].read()

    assert b"client-cert" not in seen.lower()
    assert b"X-Last: 1\r\n" in seen
    assert b"X-Forwarded-For: 1.2.3.4" in seen
