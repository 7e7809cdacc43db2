"""TLS between two streams of ours, and between ours and the ssl module's own."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
from contextlib import suppress

import pytest

from dataplane.config import Secret, StringMatch, TlsContext, TlsTrust
from dataplane.net import tls_stream
from dataplane.net.tls import ClientTls, ServerTls, TlsContexts, TlsUnavailableError, load_chain, matches
from tests.support.certs import Authority
from tests.support.net import Echo, Heard, Net, net
from tests.support.openssl import ask_for_new_keys

URI = "spiffe://test/ns/a/sa/server"
CLIENT = "spiffe://test/ns/a/sa/client"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def both(
    authority: Authority, *, identity: str = "", alpn: tuple[str, ...] = ("tulle-tcp",)
) -> tuple[ServerTls, ClientTls]:
    contexts = TlsContexts()
    server = contexts.server(authority.context(URI, alpn=("tulle-h2", "tulle-tcp")))
    return server, contexts.client(authority.context(CLIENT), alpn, identity)


def dial(n: Net, port: int, client: ClientTls, timeout: float = 5.0) -> Heard:
    heard = Heard()
    heard.stream = n.dialer.dial("127.0.0.1", port, heard, tls=client, timeout=timeout)
    return heard


async def test_mutual_tls_names_both_peers_and_the_protocol(authority: Authority) -> None:
    """After the handshake each side knows the other's URI and the agreed ALPN."""
    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        await heard.hear("opened")
        other = await n.first()
        await other.hear("opened")

        assert heard.stream
        assert other.stream
        assert (heard.stream.identity, heard.stream.alpn) == (URI, "tulle-tcp")
        assert (other.stream.identity, other.stream.alpn) == (CLIENT, "tulle-tcp")
        heard.stream.close()
        await heard.hear("lost closed")


async def test_bytes_written_before_the_handshake_arrive_after_it(authority: Authority) -> None:
    """Nobody has to wait for `opened` to write; megabytes come back whole, and both ends end properly."""
    server, client = both(authority)
    sent = bytes(range(251)) * 20_000
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        assert heard.stream
        heard.stream.write(sent)
        heard.stream.write_eof()
        await heard.hear("lost ended")

        assert bytes(heard.data) == sent
        assert [c for c in heard.calls if c != "drained"] == ["opened", "ended", "lost ended"]
        assert [c for c in n.accepted[0].calls if c != "drained"] == ["opened", "ended", "lost ended"]


async def test_half_close_through_tls_leaves_the_other_way_open(authority: Authority) -> None:
    """close_notify ends one direction (RFC 8446, section 6.1)."""
    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(tls=server), client)
        assert heard.stream
        heard.stream.write(b"question")
        heard.stream.write_eof()
        other = await n.first()
        await other.hear("ended")
        assert other.stream
        for _ in range(3):
            other.stream.write(b"a" * 100_000)
            await asyncio.sleep(0.01)
        other.stream.close()
        await heard.hear("ended")

        assert len(heard.data) == 300_000
        assert other.data == b"question"


@pytest.mark.parametrize(
    ("identity", "problem"),
    [(URI, ""), ("spiffe://test/ns/a/sa/other", "lost identity_mismatch")],
    ids=["expected", "another"],
)
async def test_client_insists_on_the_identity_it_was_given(authority: Authority, identity: str, problem: str) -> None:
    """A good certificate of somebody else is refused before a byte is sent."""
    server, client = both(authority, identity=identity)
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        assert heard.stream
        heard.stream.write(b"secret")
        if not problem:
            assert await heard.get(6) == b"secret"
            heard.stream.close()
            return
        await heard.hear(problem)
        other = await n.first()
        await n.settle(lambda: other.gone)

        assert not other.data
        assert "expected spiffe://test/ns/a/sa/other" in heard.stream.detail


def stranger_contexts(authority: Authority) -> dict[str, TlsContext]:
    foreign = Authority("foreign")
    good = authority.context(CLIENT)
    key_only = dataclasses.replace(good, certificate=b"", key=b"")
    return {
        "foreign root": foreign.context(CLIENT, trusting=authority),
        "expired": authority.context(CLIENT, days=-1),
        "no certificate": key_only,
        "foreign trust domain": authority.context("spiffe://elsewhere/ns/a/sa/b"),
        "two identities": dataclasses.replace(
            good, **dict(zip(("certificate", "key"), authority.issue(CLIENT, URI), strict=True))
        ),
    }


@pytest.mark.parametrize("who", ["foreign root", "expired", "no certificate", "foreign trust domain", "two identities"])
async def test_server_refuses_strangers(authority: Authority, who: str) -> None:
    """Mesh TLS wants a certificate of its own roots, in date, with exactly one URI of the trust domain."""
    contexts = TlsContexts()
    server = contexts.server(authority.context(URI))
    client = contexts.client(stranger_contexts(authority)[who])
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        assert heard.stream
        heard.stream.write(b"let me in")
        other = await n.first()
        await n.settle(lambda: other.gone and heard.gone)

        assert other.calls in (["lost tls_failed"], ["lost identity_mismatch"])
        assert not other.data
        assert not heard.data


async def test_client_refuses_a_server_of_a_foreign_root(authority: Authority) -> None:
    """The reason says that the certificate could not be verified."""
    contexts = TlsContexts()
    server = contexts.server(Authority("foreign").context(URI))
    client = contexts.client(authority.context(CLIENT))
    async with net() as n:
        heard = dial(n, n.serve(tls=server), client)
        await heard.hear("lost tls_failed")

        assert heard.stream
        assert "CERTIFICATE_VERIFY_FAILED" in heard.stream.detail


async def test_tls_before_1_3_is_refused(authority: Authority) -> None:
    """There is no older version to fall back to."""
    server, _ = both(authority)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    async with net() as n:
        port = n.serve(tls=server)
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)
        other = await n.first()
        await other.hear("lost tls_failed")


async def test_connection_cut_without_close_notify_is_truncated(authority: Authority) -> None:
    """An end anybody on the path could forge is not taken for the peer's."""
    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(tls=server), client)
        assert heard.stream
        heard.stream.write(b"begin")
        other = await n.first()
        await other.get(5)
        heard.stream.poller.kernel.end(heard.stream.fd)
        await other.hear("lost truncated")

        await n.settle(lambda: heard.gone)


async def test_silent_client_is_let_go_after_the_handshake_time(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake has a deadline."""
    monkeypatch.setattr(tls_stream, "HANDSHAKE_SECONDS", 0.05)
    server, _ = both(authority)
    async with net() as n:
        client = n.connect(n.serve(tls=server))
        await asyncio.get_running_loop().sock_sendall(client, b"\x16\x03\x01")
        other = await n.first()
        await other.hear("lost tls_timeout")


async def test_dial_time_out_covers_the_handshake(authority: Authority) -> None:
    """A server that accepts and says nothing is a time-out too."""
    _, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(), client, timeout=0.05)
        await heard.hear("lost tls_timeout")
        other = await n.first()
        assert other.stream
        other.stream.close()


async def test_garbage_instead_of_a_handshake_is_refused(authority: Authority) -> None:
    """The alert is sent, the connection is gone, nothing else happens."""
    server, _ = both(authority)
    async with net() as n:
        client = n.connect(n.serve(tls=server))
        await asyncio.get_running_loop().sock_sendall(client, b"\x16\x03\x01\x00\x05garbage that is no hello")
        other = await n.first()
        await other.hear("lost tls_failed")


async def test_paused_tls_stream_holds_back_what_it_decrypted(authority: Authority) -> None:
    """A pause inside `received` stops the records of the same burst too."""

    class Sip(Heard):
        def received(self, data: bytes) -> None:
            super().received(data)
            assert self.stream
            self.stream.pause()

    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(Sip, tls=server), client)
        assert heard.stream
        heard.stream.write(b"w" * 200_000)
        sip = await n.first()
        await sip.get(1)
        await asyncio.sleep(0.02)
        assert len(sip.data) <= 16384
        assert sip.stream
        while len(sip.data) < 200_000:
            sip.stream.resume()
            await asyncio.sleep(0)
        heard.stream.close()
        sip.stream.resume()
        await sip.hear("ended")
        sip.stream.close()


@pytest.mark.parametrize("size", [40_000, 120_000])
async def test_paused_tls_stream_counts_what_it_holds_back_as_unread(authority: Authority, size: int) -> None:
    """When the peer has ended, what was received and what is said to be unread are together all it sent, or more."""

    class Sip(Heard):
        def received(self, data: bytes) -> None:
            super().received(data)
            assert self.stream
            self.stream.pause()

        def leaving(self) -> None:
            self.note("leaving")

    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(Sip, tls=server), client)
        assert heard.stream
        heard.stream.write(b"w" * size)
        heard.stream.write_eof()
        sip = await n.first()
        await sip.hear("leaving")
        assert sip.stream
        assert 0 < len(sip.data) < size
        assert len(sip.data) + sip.stream.unread >= size
        while "ended" not in sip.calls:
            sip.stream.resume()
            await asyncio.sleep(0)

        assert len(sip.data) == size
        sip.stream.close()
        await heard.hear("ended")


async def test_back_pressure_reaches_through_tls(authority: Authority) -> None:
    """A reader that stops makes the writer's queue high, and drains it when it reads again."""
    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(tls=server), client)
        await heard.hear("opened")
        other = await n.first()
        await other.hear("opened")
        assert other.stream
        assert heard.stream
        other.stream.pause()
        size = 0
        while heard.stream.waiting < 300_000:
            heard.stream.write(b"p" * 100_000)
            size += 100_000
            await asyncio.sleep(0.001)
        assert heard.stream.high
        heard.calls.clear()
        other.stream.resume()
        await other.get(size)

        assert heard.calls == ["drained"]
        heard.stream.close()
        await other.hear("ended")
        other.stream.close()


async def test_python_s_own_tls_client_understands_us(authority: Authority) -> None:
    """Against the ssl module on a blocking socket, as another program would be."""
    server, _ = both(authority)
    async with net() as n:
        port = n.serve(Echo, tls=server)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=program(authority))
        writer.write(b"hello" * 10_000)

        assert await reader.readexactly(50_000) == b"hello" * 10_000
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "tulle-h2"
        writer.close()
        await writer.wait_closed()


class Rotating:
    """Credentials that change."""

    def __init__(self, authority: Authority) -> None:
        self.generation = 0
        self.roots_pem = authority.roots
        self.certificate_pem, self.key_pem = b"", b""

    def renew(self, authority: Authority, uri: str) -> None:
        self.generation += 1
        self.certificate_pem, self.key_pem = authority.issue(uri)


MESH = TlsContext(
    identity_secret="identity",
    trust=TlsTrust(trust_secret="trust", uris=(StringMatch(prefix="spiffe://test/"),)),
    alpn=("tulle-tcp",),
    require_client_certificate=True,
)


async def test_new_certificate_serves_new_connections_and_leaves_old_ones_alone(authority: Authority) -> None:
    """Renewal drops nothing."""
    credentials = Rotating(authority)
    contexts = TlsContexts(credentials)
    credentials.renew(authority, URI)
    async with net() as n:
        port = n.serve(Echo, tls=contexts.server(MESH))
        old = dial(n, port, contexts.client(MESH))
        await old.hear("opened")
        credentials.renew(authority, "spiffe://test/ns/a/sa/renewed")
        port = n.serve(Echo, tls=contexts.server(MESH))
        new = dial(n, port, contexts.client(MESH))
        await new.hear("opened")

        assert old.stream
        assert new.stream
        assert (old.stream.identity, new.stream.identity) == (URI, "spiffe://test/ns/a/sa/renewed")
        old.stream.write(b"still")
        assert await old.get(5) == b"still"
        old.stream.close()
        new.stream.close()


def test_context_is_made_once_for_the_same_certificates(authority: Authority) -> None:
    """Clusters that differ in SNI and names share one context."""
    credentials = Rotating(authority)
    credentials.renew(authority, URI)
    contexts = TlsContexts(credentials)
    other = dataclasses.replace(MESH, sni="80.web.shop")

    assert contexts.client(MESH).context is contexts.client(other).context
    assert contexts.client(MESH, ("tulle-h2",)).context is not contexts.client(MESH).context


def test_missing_certificate_or_roots_are_said(authority: Authority) -> None:
    """Before the first certificate TLS is unavailable, in a sentence."""
    contexts = TlsContexts()

    with pytest.raises(TlsUnavailableError, match="no certificate 'identity' yet"):
        contexts.server(MESH)
    certificate, key = authority.issue(URI)
    contexts.secrets = {"identity": Secret(name="identity", certificate=certificate, key=key)}
    with pytest.raises(TlsUnavailableError, match="no roots"):
        contexts.client(MESH)


async def test_host_name_is_checked_for_a_server_known_by_name(authority: Authority) -> None:
    """What the control plane's connection uses: a DNS SAN instead of a URI."""
    certificate, key = authority.issue(dns=("*.tulle-system.svc",))
    contexts = TlsContexts()
    server = contexts.server(TlsContext(certificate=certificate, key=key, alpn=("h2",)))
    async with net() as n:
        port = n.serve(Echo, tls=server)
        for name, outcome in (("tulle.tulle-system.svc", "opened"), ("tulle.elsewhere.svc", "lost tls_failed")):
            trust = TlsTrust(roots=authority.roots, dns=(StringMatch(exact=name),))
            heard = dial(n, port, contexts.client(TlsContext(trust=trust, sni=name), ("h2",)))
            await heard.hear(outcome)
            assert heard.stream
            heard.stream.close()
            await n.settle(lambda heard=heard: heard.gone)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        (StringMatch(exact="a"), "a", "b"),
        (StringMatch(prefix="spiffe://x/"), "spiffe://x/y", "spiffe://xy/"),
        (StringMatch(suffix=".svc"), "a.svc", "a.svc.x"),
        (StringMatch(contains="b"), "abc", "ac"),
        (StringMatch(regex="a+"), "aa", "ab"),
        (StringMatch(exact="A", ignore_case=True), "a", "b"),
        (StringMatch(exact="a", invert=True), "b", "a"),
    ],
    ids=["exact", "prefix", "suffix", "contains", "regex", "ignore case", "invert"],
)
def test_name_matches(match: StringMatch, yes: str, no: str) -> None:
    """Every form of match, both verdicts."""
    assert matches(match, yes)
    assert not matches(match, no)


async def test_abandoned_plain_socket_leaves_nothing(authority: Authority) -> None:
    """A client that connects to a TLS port and goes away leaves no trace."""
    server, _ = both(authority)
    async with net() as n:
        client = n.connect(n.serve(tls=server))
        await n.first()
        client.shutdown(socket.SHUT_RDWR)
        client.close()
        await n.settle(lambda: n.poller.connections == 0)


def program(authority: Authority) -> ssl.SSLContext:
    """A client that is another program."""
    certificate, key = authority.issue(CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority.roots.decode())
    context.set_alpn_protocols(["tulle-h2"])
    load_chain(context, certificate, key)
    return context


async def test_what_a_peer_said_before_it_stopped_taking_is_read_through_tls(authority: Authority) -> None:
    """The last words survive the reset that follows them, and no proper end is made of that reset."""
    server, _ = both(authority)
    async with net() as n:
        port = n.serve(tls=server)
        plain = socket.create_connection(("127.0.0.1", port))
        peer = await asyncio.to_thread(program(authority).wrap_socket, plain)
        heard = await n.first()
        await heard.hear("opened")
        assert heard.stream
        heard.stream.write(b"u" * 20_000_000)
        heard.stream.flush()
        assert heard.stream.waiting

        peer.sendall(b"413" * 1_000)
        peer.close()
        await heard.until(lambda _: heard.gone)

        assert heard.data == b"413" * 1_000
        assert [call for call in heard.calls if call != "drained"] == ["opened", "lost reset"]


async def foreign(
    n: Net, port: int, client: ClientTls
) -> tuple[socket.socket, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A connection of Python's own `ssl`, whose bytes the test passes by hand."""
    loop = asyncio.get_running_loop()
    plain = n.connect(port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.context.wrap_bio(incoming, outgoing, False)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(plain, outgoing.read())
            incoming.write(await loop.sock_recv(plain, 1 << 16))
        else:
            await loop.sock_sendall(plain, outgoing.read())
            return plain, tls, incoming, outgoing


async def test_new_keys_are_answered_by_a_stream_that_writes_nothing(authority: Authority) -> None:
    """The answer leaves by itself."""
    server, client = both(authority)
    async with net() as n:
        plain, tls, incoming, outgoing = await foreign(n, n.serve(tls=server), client)
        heard = await n.first()
        await heard.hear("opened")
        with suppress(BlockingIOError):
            incoming.write(plain.recv(1 << 16))
        with pytest.raises(ssl.SSLWantReadError):
            tls.read(1)
        loop = asyncio.get_running_loop()
        for _ in range(2):  # OpenSSL answers before it reads or writes on
            ask_for_new_keys(tls)
            await loop.sock_sendall(plain, outgoing.read())
            await asyncio.sleep(0.01)

        assert await asyncio.wait_for(loop.sock_recv(plain, 100), 5)
        assert heard.stream
        heard.stream.abort()


async def test_peer_that_wants_new_keys_and_takes_no_answer_is_let_go(authority: Authority) -> None:
    """Each KeyUpdate costs an answer as long as itself: what waits of them is bounded (RFC 8446, section 4.6.3)."""
    server, client = both(authority)
    async with net() as n:
        plain, tls, _, outgoing = await foreign(n, n.serve(tls=server), client)
        heard = await n.first()
        await heard.hear("opened")
        assert heard.stream
        heard.stream.write(b"z" * 20_000_000)
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            for _ in range(100):
                for _ in range(1000):
                    ask_for_new_keys(tls)
                await loop.sock_sendall(plain, outgoing.read())
                await asyncio.sleep(0)

        await heard.hear("lost tls_failed")
        assert "new keys" in heard.stream.detail
