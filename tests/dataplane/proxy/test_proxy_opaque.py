"""Relayed bytes: whole, counted, in both directions, ended as they were ended."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

import pytest

from dataplane.config import CircuitLimits, Endpoint
from dataplane.proxy.relay import peers
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.support.certs import Authority
from tests.support.net import Echo, Heard
from tests.support.relays import Proxy, chain, listener, proxy, tcp

PAYLOAD = bytes(range(251)) * 40_000
"""10 MB."""


def relay_to(p: Proxy, port: int, idle: float = 3600.0) -> int:
    """A bound listener that relays to a port."""
    p.install(listener("relay", chain("tcp", tcp(idle=idle))), app=port)
    return p.listen("relay")


async def exchange(client: socket.socket, data: bytes) -> bytes:
    """Send, end, and read to the end."""
    loop = asyncio.get_running_loop()

    async def send() -> None:
        await loop.sock_sendall(client, data)
        client.shutdown(socket.SHUT_WR)

    sending = asyncio.ensure_future(send())
    got = bytearray()
    while piece := await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 10):
        got += piece
    await sending
    return bytes(got)


async def test_bytes_pass_both_ways_and_are_counted() -> None:
    """10 MB there and back through the relay, both ends ended, the series closed."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Echo)))

        assert await exchange(client, PAYLOAD) == PAYLOAD

        await p.quiet()
        assert p.relayed == (1, 1, len(PAYLOAD), len(PAYLOAD))


async def test_half_close_reaches_the_server_and_its_answer_the_client() -> None:
    """A server that answers only after the client's end."""

    class After(Heard):
        def ended(self) -> None:
            assert self.stream
            self.stream.write(b"you said " + bytes(self.data))
            self.stream.close()

    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(After)))

        assert await exchange(client, b"hello") == b"you said hello"


async def test_reset_on_one_side_is_a_reset_on_the_other() -> None:
    """A broken connection is never made to look finished."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Heard)))
        await asyncio.get_running_loop().sock_sendall(client, b"x")
        server = await p.net.first()
        await server.get(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

        await server.hear("lost reset")
        await p.quiet()


async def test_slow_reader_slows_the_writer() -> None:
    """What the relay holds stays bounded when the server stops reading."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Heard)))
        server = await p.net.first()
        assert server.stream
        server.stream.pause()
        sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(client, b"x" * 100_000_000))
        await p.net.settle(lambda: p.relayed[2] > 0)
        for _ in range(50):
            await asyncio.sleep(0.004)
        passed = p.relayed[2]
        await asyncio.sleep(0.05)

        assert p.relayed[2] == passed < 50_000_000
        assert not sending.done()
        server.stream.resume()
        await sending
        client.close()
        await server.hear("ended")
        server.stream.close()


async def test_next_endpoint_is_tried_when_one_refuses() -> None:
    """Connecting is tried at as many endpoints as the limits say."""
    async with proxy() as p:
        alive = Endpoint(address="127.0.0.1", port=p.net.serve(Echo))
        dead = [Endpoint(address="127.0.0.1", port=port) for port in (1, 2)]
        p.install(listener("relay", chain("tcp", tcp())), endpoints=(*dead, alive))
        port = p.listen("relay")
        for _ in range(3):
            assert await exchange(p.net.connect(port), b"found") == b"found"


async def test_client_is_reset_when_nobody_can_be_reached() -> None:
    """As it would be without a proxy; counted."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, 1))

        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(client, 1)
        await p.quiet()
        assert p.runtime.metrics.errors.of("no_healthy_upstream").value == 1
        assert p.relayed == (0, 0, 0, 0)


async def test_relays_count_among_the_connections_of_a_cluster() -> None:
    """One more than it may have is reset, until one of them is over."""
    async with proxy() as p:
        server = p.net.serve(Echo)
        p.install(listener("relay", chain("tcp", tcp())), app=server, limits=CircuitLimits(max_connections=2))
        loop, port = asyncio.get_running_loop(), p.listen("relay")
        held = [p.net.connect(port) for _ in range(2)]
        for client in held:
            await loop.sock_sendall(client, b"x")
            assert await loop.sock_recv(client, 1) == b"x"
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(p.net.connect(port), 1)
        assert p.runtime.metrics.events.of("connections_overflow").value == 1
        held[0].close()
        await p.net.settle(lambda: p.relayed[1] == 1)

        assert await exchange(p.net.connect(port), b"again") == b"again"
        held[1].close()
        await p.quiet()
        assert p.runtime.tables.clusters["app"].circuit.connections == 0


async def test_client_that_leaves_while_connecting_ends_the_attempt() -> None:
    """No connection is left over."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Heard)))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await p.quiet()


async def test_idle_relay_is_closed_after_its_time() -> None:
    """Counted from the last byte in either direction."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Echo), idle=0.1))
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(4):
            await loop.sock_sendall(client, b"x")
            assert await loop.sock_recv(client, 1) == b"x"
            await asyncio.sleep(0.05)
        assert await asyncio.wait_for(loop.sock_recv(client, 1), 5) == b""

        assert loop.time() - start > 0.2


async def test_relay_ends_when_its_connection_is_as_old_as_it_may_become() -> None:
    """However much goes through it (`max_downstream_connection_duration`); a reset, for it is no end of what was sent."""
    async with proxy() as p:
        p.install(listener("relay", chain("tcp", tcp(life=0.15))), app=p.net.serve(Echo))
        client = p.net.connect(p.listen("relay"))
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def talk() -> None:
            while True:
                await loop.sock_sendall(client, b"x")
                await asyncio.wait_for(loop.sock_recv(client, 1), 5)

        with pytest.raises(ConnectionResetError):
            await talk()
        assert 0.1 < loop.time() - start < 3
        assert p.runtime.metrics.events.of("connection_life_ended").value == 1
        await p.quiet()


async def test_client_is_told_in_the_log_what_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes have no place for a sentence."""
    async with proxy() as p:
        port = relay_to(p, 1)
        tables = p.runtime.tables
        config = replace(
            tables.config, clusters={}, refused_clusters={"app": "cluster app: health_checks is not supported"}
        )
        p.runtime.install(compile_tables(config, tables))
        client = p.net.connect(port)
        with caplog.at_level(logging.INFO, "tulle.proxy"), pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(client, 1)

        assert "was reset: cluster app: health_checks is not supported" in caplog.text
        await p.quiet()


async def test_relay_leads_to_a_mesh_endpoint_through_mutual_tls() -> None:
    """Bytes written in plain arrive in plain, encrypted and authenticated between."""
    authority = Authority()
    async with proxy() as p:
        server = p.runtime.tls.server(authority.context("spiffe://test/ns/a/sa/server"))
        mesh = Endpoint(
            address="127.0.0.1", port=p.net.serve(Echo, tls=server), mesh=True, identity="spiffe://test/ns/a/sa/server"
        )
        context = authority.context("spiffe://test/ns/a/sa/client")
        p.install(listener("relay", chain("tcp", tcp())), endpoints=(mesh,), mesh_tls=context)
        client = p.net.connect(p.listen("relay"))

        assert await exchange(client, PAYLOAD) == PAYLOAD
        assert p.net.accepted[0].stream
        assert p.net.accepted[0].stream.alpn == "tulle-tcp"
        await p.quiet()
        assert p.relayed == (1, 1, len(PAYLOAD), len(PAYLOAD))


async def test_relay_refuses_an_endpoint_with_another_identity() -> None:
    """The client is reset; not a byte reached the impostor."""
    authority = Authority()
    async with proxy() as p:
        server = p.runtime.tls.server(authority.context("spiffe://test/ns/a/sa/server"))
        port = p.net.serve(Echo, tls=server)
        mesh = Endpoint(address="127.0.0.1", port=port, mesh=True, identity="spiffe://test/ns/a/sa/wanted")
        context = authority.context("spiffe://test/ns/a/sa/client")
        p.install(listener("relay", chain("tcp", tcp())), endpoints=(mesh,), mesh_tls=context)
        client = p.net.connect(p.listen("relay"))

        with pytest.raises(ConnectionResetError):
            await exchange(client, b"secret")
        await p.quiet()
        assert not p.net.accepted[0].data


def test_passing_through_has_a_name_of_its_own_on_metrics() -> None:
    """Destinations outside the mesh share one series, or a scan would fill the metrics."""
    assert peers.PASSTHROUGH["service"] == "passthrough"


async def test_bulk_goes_through_the_kernel_and_is_counted_all_the_same() -> None:
    """After the first full read the bytes are spliced; every one arrives, none is counted twice."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Echo)))
        data = PAYLOAD * 3

        assert await exchange(client, data) == data
        await p.quiet()
        assert p.runtime.poller.pipes is not None
        assert p.relayed == (1, 1, len(data), len(data))


async def test_bulk_to_a_reader_that_stops_waits_in_the_kernel() -> None:
    """The pipe and the sockets fill; nothing is lost when the reader goes on."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Heard)))
        server = await p.net.first()
        assert server.stream
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, PAYLOAD[:1_000_000])
        await server.get(1_000_000)
        server.stream.pause()
        sending = asyncio.ensure_future(loop.sock_sendall(client, PAYLOAD * 5))
        for _ in range(30):
            await asyncio.sleep(0.004)
        assert not sending.done()
        server.stream.resume()
        await sending
        client.shutdown(socket.SHUT_WR)
        await server.hear("ended")

        assert bytes(server.data) == PAYLOAD[:1_000_000] + PAYLOAD * 5
        server.stream.close()


async def test_server_gone_in_the_middle_of_bulk_resets_the_client() -> None:
    """What is left in the pipe is dropped with it."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Heard)))
        server = await p.net.first()
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(client, PAYLOAD * 20))
        await server.get(3_000_000)
        assert server.stream
        server.stream.abort()

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await sending
        await p.quiet()


async def test_reset_behind_bulk_is_no_end() -> None:
    """A server that breaks off while bytes go past us: its client must not take what it has for all there is."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Heard)))
        server = await p.net.first()
        assert server.stream
        server.stream.write(PAYLOAD)
        loop, got = asyncio.get_running_loop(), 0
        while got < len(PAYLOAD):
            got += len(await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 10))
        assert p.runtime.poller.pipes is not None
        server.stream.abort()

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(loop.sock_recv(client, 1), 10)
        await p.quiet()


async def test_small_messages_after_bulk_are_read_again() -> None:
    """A connection that turned chatty is relayed through memory, where small messages are cheaper."""
    async with proxy() as p:
        client = p.net.connect(relay_to(p, p.net.serve(Echo)))
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(client, PAYLOAD))
        got = 0
        while got < len(PAYLOAD):
            got += len(await loop.sock_recv(client, 1 << 20))
        await sending
        for number in range(40):
            await loop.sock_sendall(client, b"%d" % number)
            assert await asyncio.wait_for(loop.sock_recv(client, 10), 5) == b"%d" % number
