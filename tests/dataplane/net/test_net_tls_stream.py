"""TLS between two streams of ours, and between ours and the ssl module's own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Any

import pytest

from dataplane.net import tls_library, tls_stream
from dataplane.net.tls import ClientTls, load_chain
from tests.dataplane.net.secured import CLIENT, both, dial
from tests.support.certs import Authority
from tests.support.net import Echo, Heard, Net, net
from tests.support.openssl import ask_for_new_keys


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


class Sip(Heard):
    """Pauses at every piece."""

    def received(self, data: bytes) -> None:
        super().received(data)
        assert self.stream
        self.stream.pause()

    def leaving(self) -> None:
        self.note("leaving")


async def test_paused_tls_stream_holds_back_what_it_decrypted(authority: Authority) -> None:
    """A pause inside `received` stops the records of the same burst too."""
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
        assert size <= len(sip.data) + sip.stream.unread <= size + 22 * (size // 16384 + 2)
        while "ended" not in sip.calls:
            sip.stream.resume()
            await asyncio.sleep(0)

        assert len(sip.data) == size
        sip.stream.close()
        await heard.hear("ended")


async def test_paused_tls_stream_that_has_given_out_all_says_that_nothing_more_comes(authority: Authority) -> None:
    """What its peer's end is made of is no bytes of anybody: two at most, for such a record may hold so many."""
    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(Sip, tls=server), client)
        assert heard.stream
        heard.stream.write(b"all of it")
        sip = await n.first()
        assert await sip.get(9) == b"all of it"
        heard.stream.write_eof()
        await sip.hear("leaving")
        assert sip.stream
        assert sip.stream.unread <= 2
        sip.stream.resume()
        await sip.hear("ended")
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


async def foreign(n: Net, port: int, client: ClientTls) -> tuple[socket.socket, Any, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A connection of Python's own `ssl`, whose bytes the test passes by hand."""
    loop = asyncio.get_running_loop()
    plain = n.connect(port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_library.connection(client.context, incoming, outgoing, False, None)
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
