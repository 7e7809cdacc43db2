"""Kept carriers while tables, rules and certificates change: what was begun by the word of before carries nothing more."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from dataplane.config import Authorization, Rules, StringMatch, TlsTrust
from dataplane.proxy.relay import carriers
from dataplane.proxy.worker import runtime as runtime_module
from meshapi.records import replace
from tests.dataplane.proxy.test_proxy_carriers import mesh
from tests.dataplane.proxy.test_proxy_opaque import exchange
from tests.support.net import Heard


async def test_those_of_before_make_room_for_those_of_a_renewed_certificate() -> None:
    """They need not wait until they are swept for one that can be used to be kept."""
    async with mesh() as m:
        await m.talk_at_once(carriers.MOST)
        await m.kept(carriers.MOST)
        m.p.runtime.tls._made.clear()
        for _ in range(3):
            await m.talk()
            await m.p.net.settle(lambda: m.p.runtime.relays == 0)

        await m.kept()
        assert m.handshakes == carriers.MOST + 1


async def test_roots_that_are_none_end_the_use_of_what_rests() -> None:
    """No sweep fails on them."""
    async with mesh() as m:
        await m.talk()
        await m.kept()
        broken = TlsTrust(roots=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for one in list(m.p.runtime.resting):
            keeper: Any = one.keeper
            if one.guest:
                tls = replace(keeper._chain.tls, trust=broken)
                keeper._chain = SimpleNamespace(tls=tls, http=None, listener=keeper._chain.listener)
            else:
                keeper._context = replace(keeper._context, trust=broken)
            one.sweep(m.p.runtime.clock())

        await m.p.net.settle(lambda: m.resting == 0)


async def test_names_that_changed_during_the_handshake_hold_for_the_next() -> None:
    """What was made by the word of before carries its first connection, and no other."""
    async with mesh() as m:
        loop = asyncio.get_running_loop()
        m.endpoints = (replace(m.endpoints[0], identity=""),)
        m.install()
        client = m.p.net.connect(m.port)
        await loop.sock_sendall(client, b"one")
        relays = m.p.runtime.relaying
        while not any(one.server.stream is not None and not one.reached for one in relays):  # noqa: ASYNC110 - it lasts a few turns
            await asyncio.sleep(0)
        other = StringMatch(prefix="spiffe://test/ns/a/sa/other")
        m.client = replace(m.client, trust=replace(m.client.trust, uris=(other,)))
        m.install()
        client.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(client, 10) == b"one"
        assert await loop.sock_recv(client, 10) == b""
        await m.p.net.settle(lambda: m.p.runtime.relays == 0 and m.resting == 0)

        with pytest.raises(ConnectionResetError):
            await exchange(m.p.net.connect(m.port), b"two")
        assert m.event("carrier_reused") == 0


async def test_review_that_comes_late_leaves_what_carries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay on it was judged by the tables in force; that its certificate was renewed meanwhile cuts nobody."""
    async with mesh(Heard) as m:
        loop = asyncio.get_running_loop()
        client = m.p.net.connect(m.port)
        client.shutdown(socket.SHUT_WR)
        app = await m.p.net.first()
        await app.until(lambda heard: "ended" in heard.calls)
        assert app.stream
        app.stream.close()
        assert await loop.sock_recv(client, 10) == b""
        await m.kept()
        monkeypatch.setattr(runtime_module, "_REVIEW_SECONDS", -1.0)  # nobody's turn comes
        m.noun = replace(m.noun, detect_timeout=9.0)
        m.install()
        client = m.p.net.connect(m.port)
        await loop.sock_sendall(client, b"x")
        await m.p.net.settle(lambda: len(m.p.net.accepted) == 2 and bytes(m.p.net.accepted[1].data) == b"x")
        assert m.event("carrier_reused") == 1
        m.p.runtime.tls._made.clear()
        monkeypatch.undo()
        await m.p.net.settle(lambda: not m.p.runtime.reviewing)
        app = m.p.net.accepted[1]
        assert app.stream
        app.stream.write(b"answer")
        app.stream.close()

        assert await asyncio.wait_for(loop.sock_recv(client, 10), 5) == b"answer"
        assert await asyncio.wait_for(loop.sock_recv(client, 10), 5) == b""
        client.close()


async def test_carrier_of_a_peer_that_is_refused_by_now_does_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it carried ended before anybody's turn to look at the rules of now."""
    async with mesh() as m:
        loop = asyncio.get_running_loop()
        client = m.p.net.connect(m.port)
        await loop.sock_sendall(client, b"x")
        assert await loop.sock_recv(client, 1) == b"x"
        monkeypatch.setattr(runtime_module, "_REVIEW_SECONDS", -1.0)
        deny = (Authorization(rules=Rules(deny=False, policies=())),)
        m.noun = replace(m.noun, chains=tuple(replace(one, authorization=deny) for one in m.noun.chains))
        m.install()
        client.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(client, 1) == b""
        await m.p.net.settle(lambda: m.p.runtime.relays == 0)

        await m.p.net.settle(lambda: m.resting == 0)
        monkeypatch.undo()
        await m.p.net.settle(lambda: not m.p.runtime.reviewing)
