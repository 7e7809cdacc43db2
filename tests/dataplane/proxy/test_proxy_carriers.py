"""Opaque connections over mutual TLS, one after another on the same: when one is used again, and when it must not be."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from dataplane.config import Authorization, CircuitLimits, Endpoint, Listener, Rules, TlsContext
from dataplane.net import tls_stream
from dataplane.net.tls import load_chain
from dataplane.proxy.relay import carrier, carriers, relay
from dataplane.tables.compile import compile_tables
from meshapi import names
from meshapi.records import replace
from tests.dataplane.proxy.test_proxy_opaque import exchange
from tests.support.certs import Authority
from tests.support.net import Echo, Heard
from tests.support.relays import Proxy, chain, inbound, listener, proxy, tcp

CALLER, CALLEE = "spiffe://test/ns/a/sa/caller", "spiffe://test/ns/a/sa/callee"


@dataclass
class Mesh:
    """One sidecar as caller and callee at once: what its app connects to arrives at it again, by mutual TLS."""

    p: Proxy
    authority: Authority
    port: int
    """Where clients connect."""
    door: int
    """Where callers do."""
    client: TlsContext
    noun: Listener
    endpoints: tuple[Endpoint, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def install(self) -> None:
        plain = listener("relay", chain("tcp", tcp()))
        self.p.install(plain, self.noun, endpoints=self.endpoints, mesh_tls=self.client, **self.more)

    @property
    def handshakes(self) -> int:
        return sum(one.taken for one in self.p.net.listeners if one.address[1] == self.door)

    @property
    def resting(self) -> int:
        return len(self.p.runtime.resting)

    def event(self, name: str) -> int:
        return self.p.runtime.metrics.events.of(name).value

    async def talk(self, data: bytes = b"hello") -> None:
        """A connection from its beginning to its end."""
        client = self.p.net.connect(self.port)
        assert await exchange(client, data) == data
        client.close()

    async def talk_at_once(self, clients: int) -> None:
        """So many connections that are there together."""
        loop = asyncio.get_running_loop()
        ours = [self.p.net.connect(self.port) for _ in range(clients)]
        for client in ours:
            await loop.sock_sendall(client, b"x")
            assert await loop.sock_recv(client, 1) == b"x"
        for client in ours:
            client.close()

    async def kept(self, carriers: int = 1) -> None:
        """Wait until so many rest, at both their ends."""
        await self.p.net.settle(lambda: self.resting == 2 * carriers and self.p.runtime.relays == 0)


@asynccontextmanager
async def mesh(app: type[Heard] = Echo, **more: Any) -> AsyncIterator[Mesh]:
    """A pair of sidecars; afterwards nothing of them may be left."""
    authority = Authority()
    async with proxy() as p:
        p.target = ("127.0.0.1", p.net.serve(app))
        server = authority.context(CALLEE, alpn=(names.ALPN_TCP,))
        client = authority.context(CALLER)
        p.install(listener("relay", chain("tcp", tcp())), inbound(server))
        door = p.listen("inbound")
        made = Mesh(p, authority, p.listen("relay"), door, client, inbound(server), more=more)
        made.endpoints = (Endpoint(address="127.0.0.1", port=door, mesh=True, identity=CALLEE),)
        made.install()
        try:
            yield made
        finally:
            p.runtime.drain_rest()
            await p.quiet()
        assert p.runtime.relays == 0
        assert not p.runtime.resting


async def test_one_handshake_serves_one_connection_after_another() -> None:
    """Each is counted by itself, with its bytes, at both sidecars."""
    async with mesh() as m:
        for number in range(5):
            await m.talk(b"x" * (number + 1))
            await m.kept()

        assert (m.handshakes, m.event("carrier_reused"), m.event("carrier_missed")) == (1, 4, 0)
        assert m.p.relayed == (10, 10, 30, 30)


async def test_large_bodies_pass_over_a_kept_one() -> None:
    """Both ways at once, more than all buffers hold."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        await m.talk(bytes(range(251)) * 40_000)

        assert m.handshakes == 1


async def test_server_that_speaks_first_does_so_on_a_kept_one() -> None:
    """Its client says nothing until it has heard."""

    class Greets(Heard):
        def ended(self) -> None:
            assert self.stream
            self.stream.write(b"220 ready")
            self.stream.close()

    async with mesh(Greets) as m:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            client = m.p.net.connect(m.port)
            client.shutdown(1)
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"220 ready"
            assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b""
            client.close()
            await m.kept()
        assert m.handshakes == 1


async def test_app_that_ends_without_reading_stands_in_nobodys_way() -> None:
    """Its client has ended as well, behind bytes that nobody takes: the next one does not wait for them."""

    class Deaf(Heard):
        def received(self, data: bytes) -> None:
            super().received(data)
            assert self.stream
            if data.startswith(b"deaf"):
                self.stream.pause()
                self.stream.write(b"bye")
                self.stream.write_eof()
            else:
                self.stream.write(data)

        def ended(self) -> None:
            assert self.stream
            self.stream.write_eof()

    async with mesh(Deaf) as m:
        loop = asyncio.get_running_loop()
        client = m.p.net.connect(m.port)
        await loop.sock_sendall(client, b"deaf")
        assert await loop.sock_recv(client, 10) == b"bye"
        while not any(one.client.carrier and one.server.stream.high for one in m.p.runtime.relaying):
            await loop.sock_sendall(client, bytes(65536))
            await asyncio.sleep(0)
        await loop.sock_sendall(client, bytes(65536))  # which the callee leaves where it is, with the end behind it
        client.shutdown(socket.SHUT_WR)
        await m.p.net.settle(lambda: m.resting > 0)
        await m.talk(b"next")

        assert (m.handshakes, m.event("carrier_missed")) == (2, 0)
        client.close()
        app = m.p.net.accepted[0].stream
        assert app
        app.abort()


async def test_app_that_cannot_be_reached_resets_the_client() -> None:
    """On a kept connection as on a new one, which is tried as well: nothing was lost."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        m.p.target = ("127.0.0.1", 1)
        for one in m.p.runtime.resting:
            one.stream.target = m.p.target

        with pytest.raises(ConnectionResetError):
            await exchange(m.p.net.connect(m.port), b"hello")
        assert (m.event("carrier_missed"), m.handshakes) == (1, 2)


async def test_peer_that_closed_a_kept_one_costs_another_and_no_byte() -> None:
    """The callee's time was up first: the client's bytes arrive once."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        for one in list(m.p.runtime.resting):
            if one.guest:
                one.stream.abort()
        await m.talk(b"once")

        assert m.handshakes == 2
        assert [bytes(app.data) for app in m.p.net.accepted] == [b"hello", b"once"]


async def test_peer_that_does_not_answer_is_asked_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that went without a word: nothing was sent there, so nothing is sent twice."""
    monkeypatch.setattr(relay, "ACCEPT_SECONDS", 0.05)
    async with mesh() as m:
        await m.talk()
        await m.kept()
        for one in list(m.p.runtime.resting):
            if one.guest:
                one.stream.pause()
        await m.talk(b"once")

        assert (m.event("carrier_missed"), m.handshakes) == (1, 2)
        assert [bytes(app.data) for app in m.p.net.accepted] == [b"hello", b"once"]


async def test_reset_on_a_kept_one_is_a_reset() -> None:
    """And the connection that carried it is used no more."""
    async with mesh(Heard) as m:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            client = m.p.net.connect(m.port)
            await loop.sock_sendall(client, b"x")
            await m.p.net.settle(lambda: bool(m.p.net.accepted) and bool(m.p.net.accepted[-1].data))
            app = m.p.net.accepted[-1]
            assert app.stream
            app.stream.abort()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(loop.sock_recv(client, 1), 5)
            m.p.net.accepted.clear()
        assert (m.handshakes, m.resting) == (2, 0)


async def test_rules_of_now_are_asked_of_each_connection() -> None:
    """What they do not let in is refused, and what rests for it closed at once."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        deny = (Authorization(rules=Rules(deny=False, policies=())),)
        before = m.noun
        m.noun = replace(before, chains=tuple(replace(one, authorization=deny) for one in before.chains))
        m.install()
        await m.p.net.settle(lambda: m.resting == 0)

        with pytest.raises(ConnectionResetError):
            await exchange(m.p.net.connect(m.port), b"hello")
        m.noun = before
        m.install()
        await m.talk()


async def test_rule_that_came_while_it_was_carried_holds_for_the_next() -> None:
    """Nobody looked at the carrier meanwhile but the relay on it, which the rule lets go on."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        runtime = m.p.runtime
        deny = (Authorization(rules=Rules(deny=False, policies=())),)
        noun = replace(m.noun, chains=tuple(replace(one, authorization=deny) for one in m.noun.chains))
        tables = runtime.tables
        listeners = {**tables.config.listeners, noun.name: noun}
        runtime.tables = compile_tables(replace(tables.config, listeners=listeners), tables)  # and nobody is told

        with pytest.raises(ConnectionResetError):
            await exchange(m.p.net.connect(m.port), b"hello")
        assert m.p.refused["rbac_denied"] >= 1
        assert len(m.p.net.accepted) == 1


@pytest.mark.parametrize("side", ["caller", "callee"])
async def test_another_certificate_takes_another_handshake(side: str) -> None:
    """Whichever side has it: none goes on with what was shown before."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        if side == "caller":
            m.client = m.authority.context(CALLER)
        else:
            fresh = inbound(m.authority.context(CALLEE, alpn=(names.ALPN_TCP,)))
            m.noun = fresh
        m.install()
        await m.talk()

        assert m.handshakes == 2


async def test_certificate_renewed_in_place_takes_another_handshake_and_closes_what_rests() -> None:
    """The configuration is the same as before; the certificate by that name is another."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        m.p.runtime.tls._made.clear()  # contexts are made anew
        for one in list(m.p.runtime.resting):
            one.sweep(m.p.runtime.clock())
        await m.p.net.settle(lambda: m.resting == 0)
        await m.talk()

        assert m.handshakes == 2


async def test_endpoint_that_goes_takes_what_is_kept_for_it_along() -> None:
    """At once, at both ends."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        endpoints, m.endpoints = m.endpoints, (Endpoint(address="127.0.0.2", port=m.door, mesh=True, identity=CALLEE),)
        m.install()
        await m.p.net.settle(lambda: m.resting == 0)
        m.endpoints = endpoints
        m.install()
        await m.talk()

        assert m.handshakes == 2


async def test_few_are_kept() -> None:
    """Of as many as were used at once."""
    async with mesh() as m:
        await m.talk_at_once(carriers.MOST + 2)
        await m.kept(carriers.MOST)


async def test_least_used_makes_room_where_too_many_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound in all counts both ends here."""
    monkeypatch.setattr(carrier, "MOST", 2)
    async with mesh() as m:
        await m.talk_at_once(3)
        await m.p.net.settle(lambda: m.p.runtime.relays == 0)
        assert m.resting <= 2


async def test_service_at_its_bound_keeps_none() -> None:
    """A kept connection stands in nobody's way."""
    async with mesh(limits=CircuitLimits(max_connections=1)) as m:
        await m.talk()
        await m.p.net.settle(lambda: m.p.runtime.relays == 0)

        assert m.resting == 0
        await m.talk()


async def test_kept_ones_are_closed_when_their_time_is_up() -> None:
    """The caller's first."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        runtime = m.p.runtime
        for one in list(runtime.resting):
            one.sweep(runtime.clock() + carriers.KEPT_SECONDS + 1.0)
        await m.p.net.settle(lambda: m.resting == 0)


async def test_sidecar_that_ends_lets_go_of_what_guests_keep() -> None:
    """At once; what comes after is served, by a connection of its own."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        m.p.runtime.drain()
        await m.p.net.settle(lambda: m.resting == 0)
        await m.talk()
        await m.p.net.settle(lambda: m.p.runtime.relays == 0)

        assert m.resting == 0
        m.p.runtime.draining = False
        await m.p.net.settle(lambda: m.p.net.poller.timers.pending() == 0)


async def test_old_one_shows_its_certificate_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it is used."""
    monkeypatch.setattr(carrier, "LIFE_SECONDS", 0.0)
    async with mesh() as m:
        await m.talk()
        await m.talk()

        assert m.handshakes == 2


async def test_certificate_that_ends_soon_ends_the_use_of_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is let in by what is valid no more."""
    monkeypatch.setattr(tls_stream, "time", SimpleNamespace(time=lambda: time.time() + 2 * 86_400.0))
    async with mesh() as m:
        await m.talk()
        await m.talk()

        assert m.handshakes == 2


async def test_stream_says_how_long_its_peers_certificate_holds() -> None:
    """By the certificate's own word."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        left = {round(one.stream.valid_for() / 60) for one in m.p.runtime.resting}

        assert len(left) == 1
        assert left.pop() > 10


async def test_bad_frame_is_counted_and_reset() -> None:
    """What a hostile peer sends reaches no app."""
    async with mesh() as m:
        chain_pem, key = m.authority.issue(CALLER)
        context = client_context(m.authority, chain_pem, key)
        reader, writer = await asyncio.open_connection("127.0.0.1", m.door, ssl=context, server_hostname="x")
        writer.write(b"\1\0\0\0")  # OPEN, in the connection that is open from the start
        await writer.drain()

        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert m.p.refused["carrier_framing"] == 1
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await m.p.net.settle(lambda: m.p.runtime.relays == 0)


async def test_close_without_an_end_is_told_as_a_reset() -> None:
    """TLS said that nothing more comes, the connection that was carried did not."""
    async with mesh(Heard) as m:
        chain_pem, key = m.authority.issue(CALLER)
        context = client_context(m.authority, chain_pem, key)
        _, writer = await asyncio.open_connection("127.0.0.1", m.door, ssl=context, server_hostname="x")
        writer.write(b"\3\0\0\1x")
        app = await m.p.net.first()
        await app.get(1)
        writer.close()

        await app.until(lambda heard: heard.gone)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert "ended" not in app.calls
        assert "lost reset" in app.calls


def client_context(authority: Authority, chain_pem: bytes, key: bytes) -> ssl.SSLContext:
    """A client of the mesh that is no sidecar."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority.roots.decode())
    context.set_alpn_protocols(list(carriers.OFFERED))
    load_chain(context, chain_pem, key)
    return context
