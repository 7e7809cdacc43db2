"""Which way a captured connection goes, and how soon that is known."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from dataplane.config import HttpFilter, TlsContext
from dataplane.finding import ABSENT, KNOWN, Finding, Found
from tests.support.certs import Authority
from tests.support.net import Echo, Heard
from tests.support.relays import Proxy, Questions, chain, inbound, listener, proxy, tcp

SERVER, CLIENT = "spiffe://test/ns/a/sa/server", "spiffe://test/ns/a/sa/client"
HELLO_OF_AN_APP = bytes.fromhex(
    "16030100360100003203030000000000000000000000000000000000000000000000000000000000000000"
    "000002130101000007000000030000" + "00"
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def mesh(authority: Authority) -> TlsContext:
    return authority.context(SERVER, alpn=("tulle-h2", "tulle-http/1.1", "tulle-tcp"))


class Greeting(Heard):
    """A server that speaks first, then echoes."""

    def begin(self) -> None:
        assert self.stream
        self.stream.write(b"220 hello\r\n")

    def received(self, data: bytes) -> None:
        super().received(data)
        assert self.stream
        self.stream.write(data)

    def ended(self) -> None:
        assert self.stream
        self.stream.close()


async def say(p: Proxy, data: bytes, direction: str = "inbound") -> socket.socket:
    """Connect to a captured direction and say something."""
    client = p.net.connect(p.listen(direction))
    if data:
        await asyncio.get_running_loop().sock_sendall(client, data)
    return client


async def hear(client: socket.socket, size: int) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, size), 5)


async def is_reset(client: socket.socket) -> bool:
    try:
        return await hear(client, 1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("data", "http2"),
    [(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", False), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", True)],
    ids=["http/1.1", "h2c"],
)
async def test_plain_http_goes_to_its_chain_with_its_first_bytes(data: bytes, http2: bool) -> None:
    """Detection is by the bytes alone and gives every one of them on."""
    async with proxy() as p:
        p.install(inbound(None))
        p.target = ("127.0.0.1", 8080)
        client = await say(p, data)
        await p.net.settle(lambda: bool(p.https))
        http = p.https[0]

        assert (http.chain, http.http2, http.secure) == ("*/plain-http", http2, False)
        assert bytes(http.data) == data
        client.close()
        await http.hear("ended")
        assert http.stream
        http.stream.close()


async def test_request_line_in_single_bytes_is_still_detected() -> None:
    """However the network cuts it."""
    async with proxy() as p:
        p.install(inbound(None))
        p.target = ("127.0.0.1", 8080)
        client = await say(p, b"")
        for byte in b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n":
            await asyncio.get_running_loop().sock_sendall(client, bytes([byte]))
            await asyncio.sleep(0)
        await p.net.settle(lambda: bool(p.https))

        assert p.https[0].stream
        p.https[0].stream.close()


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02 binary", b"SELECT 1;\n", b"GET key\r\n"], ids=["binary", "sql", "redis"]
)
async def test_other_bytes_are_relayed(data: bytes) -> None:
    """What is no HTTP goes to the app untouched, at its own port."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install(inbound(None))
        client = await say(p, data)

        assert await hear(client, 100) == data


async def test_the_apps_own_tls_is_relayed_untouched(mesh: TlsContext) -> None:
    """A ClientHello that offers no mesh protocol is the app's business."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install(inbound(mesh))
        client = await say(p, HELLO_OF_AN_APP)

        assert await hear(client, 200) == HELLO_OF_AN_APP


@pytest.mark.parametrize(
    ("alpn", "chain_name", "http2"),
    [("tulle-h2", "*/mesh-http", True), ("tulle-http/1.1", "*/mesh-http", False)],
)
async def test_mesh_tls_is_terminated_by_its_alpn(
    authority: Authority, mesh: TlsContext, alpn: str, chain_name: str, http2: bool
) -> None:
    """HTTP of another sidecar: peer known, protocol agreed."""
    async with proxy() as p:
        p.install(inbound(mesh))
        p.target = ("127.0.0.1", 8080)
        caller = Heard()
        tls = p.runtime.tls.client(authority.context(CLIENT), (alpn,), SERVER)
        caller.stream = p.net.dialer.dial("127.0.0.1", p.listen("inbound"), caller, tls=tls, timeout=5)
        caller.stream.write(b"whatever is spoken")
        await p.net.settle(lambda: bool(p.https) and len(p.https[0].data) == 18)
        http = p.https[0]

        assert (http.chain, http.http2, http.secure) == (chain_name, http2, True)
        assert http.stream
        assert (http.stream.identity, http.stream.target) == (CLIENT, ("127.0.0.1", 8080))
        caller.stream.close()
        await http.hear("ended")
        http.stream.close()


async def test_mesh_tcp_is_terminated_and_relayed(authority: Authority, mesh: TlsContext) -> None:
    """`tulle-tcp` arrives at the app in plain."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install(inbound(mesh))
        caller = Heard()
        tls = p.runtime.tls.client(authority.context(CLIENT), ("tulle-tcp",), SERVER)
        caller.stream = p.net.dialer.dial("127.0.0.1", p.listen("inbound"), caller, tls=tls, timeout=5)
        caller.stream.write(b"through")

        assert await caller.get(7) == b"through"
        caller.stream.close()
        await p.quiet()
        assert [peers.source.principal for peers in p.runtime.metrics.tcps] == [CLIENT]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00binary", HELLO_OF_AN_APP], ids=["http", "tcp", "tls"]
)
async def test_strict_takes_nothing_but_mesh_tls(mesh: TlsContext, data: bytes) -> None:
    """No chain, so the connection is reset and counted."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install(inbound(mesh, strict=True))
        client = await say(p, data)

        assert await is_reset(client)
        assert p.refused == {"no_filter_chain": 1}
        assert not p.net.accepted


async def test_strict_lets_a_silent_client_go_after_the_detection_time(mesh: TlsContext) -> None:
    """It could only speak TLS, and did not."""
    async with proxy() as p:
        p.target = ("127.0.0.1", 8080)
        p.install(inbound(mesh, strict=True, detect_timeout=0.05))
        client = await say(p, b"")

        assert await is_reset(client)


async def test_server_that_speaks_first_is_heard_at_once(mesh: TlsContext) -> None:
    """No detection time-out is waited for: the greeting itself says what the protocol is."""
    async with proxy() as p:
        port = p.net.serve(Greeting)
        p.net.listeners[-1]._accepted = _greeting(p)
        p.target = ("127.0.0.1", port)
        p.install(inbound(mesh, detect_timeout=10))
        start = time.monotonic()
        client = await say(p, b"")

        assert await hear(client, 100) == b"220 hello\r\n"
        assert time.monotonic() - start < 2
        await asyncio.get_running_loop().sock_sendall(client, b"EHLO")
        assert await hear(client, 100) == b"EHLO"


def _greeting(p: Proxy):
    def accept(stream):
        greeting = Greeting()
        greeting.stream = stream
        stream.receiver = greeting
        p.net.accepted.append(greeting)
        greeting.begin()

    return accept


async def test_client_that_ends_without_a_byte_hears_a_server_that_speaks_first() -> None:
    """`nc -N host port </dev/null` asks for the banner: its end is silence, and reaches the server as an end."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Greeting))
        p.net.listeners[-1]._accepted = _greeting(p)
        p.install(inbound(None))
        client = await say(p, b"")
        client.shutdown(socket.SHUT_WR)

        assert await hear(client, 100) == b"220 hello\r\n"
        assert await hear(client, 100) == b""


async def test_client_that_hesitates_is_detected_all_the_same() -> None:
    """The server was dialled meanwhile; that connection is given up when the client turns out to speak HTTP."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install(inbound(None))
        client = await say(p, b"")
        await p.net.first()
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n")
        await p.net.settle(lambda: bool(p.https))
        await p.net.accepted[0].hear("ended")

        assert not p.net.accepted[0].data
        assert p.https[0].stream
        p.https[0].stream.close()


async def test_silence_of_both_is_relayed_after_the_detection_time() -> None:
    """A client that says nothing to a server that says nothing has its connection all the same."""
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install(inbound(None, detect_timeout=0.1))
        client = await say(p, b"")
        await p.net.settle(lambda: p.relayed[0] == 1)
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n")

        assert (await hear(client, 100)).startswith(b"GET /")
        assert not p.https


async def test_declared_tcp_is_connected_without_a_byte() -> None:
    """One chain and nothing to decide: no detection."""
    async with proxy() as p:
        port = p.net.serve(Greeting)
        p.net.listeners[-1]._accepted = _greeting(p)
        p.target = ("10.1.1.1", 25)
        p.install(listener("outbound/10.1.1.1:25", chain("tcp", tcp())), app=port)
        client = await say(p, b"", "outbound")

        assert await hear(client, 100) == b"220 hello\r\n"


@pytest.mark.parametrize(("first", "http2"), [(b"GET", False), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", True)])
async def test_declared_http_needs_only_its_version(first: bytes, http2: bool) -> None:
    """Half a request line on a declared port is HTTP/1 once it is whole or late; the preface is HTTP/2 at once."""
    async with proxy() as p:
        p.target = ("10.1.1.1", 80)
        p.install(listener("outbound/10.1.1.1:80", chain("http", HttpFilter()), detect_timeout=0.05))
        client = await say(p, first, "outbound")
        await p.net.settle(lambda: bool(p.https))

        assert p.https[0].http2 is http2
        assert bytes(p.https[0].data) == first
        client.close()
        await p.https[0].hear("ended")
        assert p.https[0].stream
        p.https[0].stream.close()


async def test_garbage_on_a_declared_http_port_is_the_codecs_to_refuse() -> None:
    """It gets a proper 400 there instead of a reset."""
    async with proxy() as p:
        p.target = ("10.1.1.1", 80)
        p.install(listener("outbound/10.1.1.1:80", chain("http", HttpFilter())))
        client = await say(p, b"\x00\xff\x00", "outbound")
        await p.net.settle(lambda: bool(p.https))

        assert bytes(p.https[0].data) == b"\x00\xff\x00"
        client.close()
        await p.https[0].hear("ended")
        assert p.https[0].stream
        p.https[0].stream.close()


async def test_unknown_destination_waits_for_the_control_plane_and_then_goes_its_way() -> None:
    """Nothing is read before the answer; the answer here is a listener."""
    async with proxy() as p:
        questions = p.runtime.discovery = Questions()
        port = p.net.serve(Echo)
        p.target = ("10.1.1.1", 25)
        p.install()
        client = await say(p, b"early", "outbound")
        await p.net.settle(lambda: bool(questions.asked))
        name, callback = questions.asked[0]
        assert name == "outbound/10.1.1.1:25"
        p.install(listener(name, chain("tcp", tcp())), app=port)
        callback(KNOWN)

        assert await hear(client, 100) == b"early"


@pytest.mark.parametrize("policy", ["allow", "deny"])
async def test_destination_outside_the_mesh_passes_unless_forbidden(policy: str) -> None:
    """Plain Kubernetes by default; a mesh may say no."""
    async with proxy() as p:
        questions = p.runtime.discovery = Questions()
        p.target = ("127.0.0.1", p.net.serve(Echo))
        own = listener("inbound/ns/pod", inbound=True, metadata=(("outbound_policy", policy),))
        p.install(own)
        client = await say(p, b"out", "outbound")
        await p.net.settle(lambda: bool(questions.asked))
        questions.asked[0][1](ABSENT)

        if policy == "allow":
            assert await hear(client, 100) == b"out"
        else:
            assert await is_reset(client)
            assert p.refused == {"unknown_destination": 1}


async def test_destination_whose_configuration_was_refused_is_reset_with_the_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is in the mesh, under rules this sidecar cannot read: plaintext would be a way around them."""
    caplog.set_level("INFO")
    async with proxy() as p:
        questions = p.runtime.discovery = Questions()
        p.target = ("127.0.0.1", p.net.serve(Echo))
        p.install()
        client = await say(p, b"out", "outbound")
        await p.net.settle(lambda: bool(questions.asked))
        questions.asked[0][1](Finding(Found.REFUSED, "no filter of that name"))

        assert await is_reset(client)
        assert p.refused == {"refused_configuration": 1}
        assert "no filter of that name" in caplog.text


async def test_client_that_leaves_during_the_question_is_forgotten() -> None:
    """The late answer finds nobody and does nothing."""
    async with proxy() as p:
        questions = p.runtime.discovery = Questions()
        p.target = ("127.0.0.1", 9)
        p.install()
        client = await say(p, b"", "outbound")
        await p.net.settle(lambda: bool(questions.asked))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()
        await p.quiet()
        questions.asked[0][1](ABSENT)

        assert p.net.poller.connections == 0


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_connection_to_the_sidecars_own_port_is_refused(direction: str) -> None:
    """It was not redirected; following it would be a loop."""
    async with proxy() as p:
        p.install(inbound(None))
        client = await say(p, b"x", direction)
        assert await is_reset(client)
        p.target = ("10.0.0.9", 15001)
        client = await say(p, b"x", direction)
        assert await is_reset(client)

        assert p.refused == {"not_redirected": 2}


async def test_without_configuration_nothing_comes_in() -> None:
    """Before the first push the pod takes no connection."""
    async with proxy() as p:
        p.target = ("127.0.0.1", 8080)
        client = await say(p, b"x")

        assert await is_reset(client)
        assert p.refused == {"no_configuration": 1}


async def test_missing_certificate_refuses_mesh_tls(authority: Authority) -> None:
    """The reason is counted, the client is reset."""
    async with proxy() as p:
        p.install(inbound(TlsContext(identity_secret="identity", alpn=("tulle-tcp",), require_client_certificate=True)))
        p.target = ("127.0.0.1", 8080)
        caller = Heard()
        tls = p.runtime.tls.client(authority.context(CLIENT), ("tulle-tcp",))
        p.net.dialer.dial("127.0.0.1", p.listen("inbound"), caller, tls=tls, timeout=5)
        await p.net.settle(lambda: caller.gone)

        assert p.refused == {"no_certificate": 1}


async def test_bound_listener_terminates_tls_without_alpn(authority: Authority) -> None:
    """A client of a file configuration that offers no ALPN: its first bytes say which HTTP it is."""
    async with proxy() as p:
        p.install(listener("web", chain("https", HttpFilter(), authority.context(SERVER, alpn=()))))
        for first, http2 in ((b"GET / HTTP/1.1\r\n\r\n", False), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", True)):
            caller = Heard()
            tls = p.runtime.tls.client(authority.context(CLIENT, alpn=()))
            caller.stream = p.net.dialer.dial("127.0.0.1", p.listen("web"), caller, tls=tls, timeout=5)
            caller.stream.write(first)
            await p.net.settle(lambda first=first: bool(p.https) and bytes(p.https[-1].data) == first)

            assert p.https[-1].http2 is http2
            caller.stream.close()
            await p.https[-1].hear("ended")
            assert p.https[-1].stream
            p.https[-1].stream.close()
