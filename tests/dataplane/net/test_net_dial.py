"""Dialling and accepting: the reasons of failure, the limits, IPv6, running out of descriptors."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket

import pytest

from dataplane.net import alive, hairpin, listen
from dataplane.net.listen import ListenLimits, bind, bind_both
from dataplane.net.original import original_destination
from tests.support.net import Echo, Heard, net


@pytest.mark.parametrize(
    ("address", "port", "reason"),
    [
        ("127.0.0.1", 1, "lost connect_refused"),
        ("::1", 1, "lost connect_refused"),
        ("255.255.255.255", 80, "lost connect_unreachable"),
        ("not an address", 80, "lost connect_failed"),
    ],
)
async def test_dial_says_why_it_failed(address: str, port: int, reason: str) -> None:
    """By `lost`, after `dial` has returned, and with nothing left behind."""
    async with net() as n:
        heard = Heard()
        stream = n.dialer.dial(address, port, heard, timeout=0.2)
        stream.write(b"for nobody")
        assert not heard.calls
        await n.settle(lambda: heard.gone)

        assert heard.calls == [reason]
        assert stream.detail


async def test_dial_gives_up_in_time() -> None:
    """A full backlog never answers; the time-out does."""
    async with net() as n:
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        n.sockets.append(full)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        n.sockets.extend(fillers)
        await asyncio.sleep(0.01)
        heard = Heard()
        n.dialer.dial(*full.getsockname(), heard, timeout=0.05)

        await heard.hear("lost connect_timeout")


async def test_dial_over_ipv6() -> None:
    """Addresses with colons are IPv6."""
    async with net() as n:
        port = n.serve(Echo, address="::1")
        heard = Heard()
        heard.stream = n.dialer.dial("::1", port, heard)
        heard.stream.write(b"six")

        assert await heard.get(3) == b"six"
        assert heard.stream.local[0] == "::1"
        assert n.accepted[0].stream
        assert n.accepted[0].stream.peer[0] == "::1"
        heard.stream.close()
        await heard.hear("lost closed")


async def test_both_ends_are_kept_alive() -> None:
    """The kernel probes idle peers of accepted and of dialled connections alike."""
    async with net() as n:
        heard = Heard()
        heard.stream = n.dialer.dial("127.0.0.1", n.serve(Echo), heard)
        heard.stream.write(b"hi")
        await heard.get(2)
        accepted = n.accepted[0].stream
        assert accepted
        for stream in (heard.stream, accepted):
            with socket.socket(fileno=os.dup(stream.fd)) as same:
                assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == alive.IDLE_SECONDS
                assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == alive.INTERVAL_SECONDS
        heard.stream.close()
        await heard.hear("lost closed")


async def test_close_while_connecting_is_no_failure() -> None:
    """Who no longer wants a connection just closes it."""
    async with net() as n:
        heard = Heard()
        heard.stream = n.dialer.dial("127.0.0.1", n.serve(Echo), heard)
        heard.stream.close()

        await heard.hear("lost closed")
        assert heard.calls == ["lost closed"]


async def test_listener_refuses_beyond_its_limit() -> None:
    """Connections over the limit are closed at once and counted; those before go on."""
    async with net() as n:
        port = n.serve(Echo, limits=ListenLimits(connections=2))
        loop = asyncio.get_running_loop()
        clients = [n.connect(port) for _ in range(3)]
        await n.settle(lambda: bool(n.listeners[0].refused))

        assert n.listeners[0].refused == {"connections": 1}
        await loop.sock_sendall(clients[0], b"x")
        assert await loop.sock_recv(clients[0], 1) == b"x"


async def test_listener_limits_each_source() -> None:
    """One client address may hold only so many; a connection given back makes room."""
    async with net() as n:
        port = n.serve(Echo, limits=ListenLimits(per_source=1))
        first = n.connect(port)
        await n.first()
        n.connect(port)
        await n.settle(lambda: n.listeners[0].refused == {"connections_per_source": 1})
        first.close()
        await n.settle(lambda: n.poller.connections == 0)
        n.connect(port)
        await n.settle(lambda: len(n.accepted) == 2)

        assert n.listeners[0].taken == 2


async def test_running_out_of_descriptors_pauses_accepting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """EMFILE neither spins nor kills; when descriptors are free again the waiting connection is taken."""
    monkeypatch.setattr(listen, "RETRY_SECONDS", 0.02)
    caplog.set_level(logging.WARNING)
    async with net() as n:
        port = n.serve(Echo)
        client = n.connect(port)
        await n.first()
        waiting = socket.socket()
        n.sockets.append(waiting)
        waiting.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 2, hard))
        try:
            waiting.connect_ex(("127.0.0.1", port))
            await n.settle(lambda: "descriptors" in n.listeners[0].refused)
            await asyncio.sleep(0.1)
            assert n.listeners[0].refused["descriptors"] < 10
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await n.settle(lambda: len(n.accepted) == 2)

        assert errno.errorcode[errno.EMFILE] in caplog.text


async def test_accepting_that_fails_loses_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The listener survives whoever takes its connections."""
    calls = 0

    def kind() -> Heard:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("a defect in accepting")
        return Echo()

    async with net() as n:
        n.defects = 1
        port = n.serve(kind)
        n.connect(port)
        client = n.connect(port)
        await asyncio.get_running_loop().sock_sendall(client, b"x")

        assert await asyncio.get_running_loop().sock_recv(client, 1) == b"x"
        assert "a defect in accepting" in caplog.text


def test_workers_share_a_port() -> None:
    """SO_REUSEPORT: two sockets listen on the same port, of both families."""
    first = bind_both(0)
    port = first[0].getsockname()[1]
    second = bind("0.0.0.0", port)
    for one in [*first, second]:
        one.close()


async def test_connection_that_was_not_redirected_has_no_other_destination() -> None:
    """Without a redirect the kernel knows none, or names the address itself."""
    async with net() as n:
        port = n.serve()
        n.connect(port)
        stream = (await n.first()).stream
        assert stream

        assert original_destination(n.poller.kernel, stream.fd, ipv6=False) in (None, ("127.0.0.1", port))
        stream.close()


def test_own_addresses_are_known() -> None:
    """The kernel says so without a packet being sent."""
    assert hairpin.is_own("127.0.0.1")
    assert not hairpin.is_own("192.0.2.1")
    assert not hairpin.is_own("no address")
