"""Open connections beside fresh ones, while tables are swapped and the pod drains.

The oracle is a connection that is made anew and asks the same. An open one gets what that gets, or ends within its bound; who
would be refused anew is not served; what is untouched goes on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.net.timers import Timers
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits
from dataplane.proxy.arrive import standing
from dataplane.proxy.arrive.accept import Acceptor
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.proxy.relay.relay import Relay
from dataplane.tables.compile import Tables, compile_tables
from dataplane.tables.listeners import TLS, ChainTable
from meshapi import xds
from tests.dataplane.proxy.opened import (
    ALICE,
    ALPN,
    CHANGES,
    DENIED,
    ENDED,
    LONG,
    SERVED,
    SILENCE,
    TARGET,
    Client,
    Far,
    Server,
    World,
)
from tests.dataplane.proxy.rig import Peer, Rig, Speaker
from tests.support.clock import Clock
from tests.support.machines import bounded, finds

# --- the machine ------------------------------------------------------------------------------------------------------


class OpenConnections(RuleBasedStateMachine):
    """A sidecar with one listener, open connections of all kinds, and a clock of the machine's."""

    @initialize(inbound=st.booleans(), seed=st.integers(0, 1 << 16))
    def begin(self, inbound: bool, seed: int) -> None:
        self.inbound = inbound
        self.world = World()
        self.clock = Clock()
        self.rig = Rig(self.world.config(inbound))
        runtime = self.rig.runtime
        runtime.timers = Timers(cast("Any", self.clock), self.clock)
        runtime.captures = True
        runtime.dice = Random(seed).random
        self.acceptor = Acceptor(runtime, HttpDownstream, xds.inbound_listener("ns", "pod"))
        self.acceptor.original = lambda _: TARGET
        self.servers: dict[Peer, Server] = {}
        self.clients: list[Client] = []
        self.come()

    def teardown(self) -> None:
        for client in self.clients:
            client.peer.sock.close()
        self.rig.close()
        self.clock.shut()

    # --- means

    def connect(self, kind: str) -> Client:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = Stream(self.rig.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
        peer = Far(self.rig, theirs, ("10.9.9.9", 4000))
        stream.start()
        if kind.startswith("mesh"):
            self.secured(stream, kind)
        else:
            (self.acceptor.inbound if self.inbound else self.acceptor.outbound)(stream)
        self.rig.turn()
        speaker = Speaker(peer, Http2Client(Limits())) if kind.endswith("h2") else None
        return Client(kind, peer, speaker)

    def secured(self, stream: Stream, kind: str) -> None:
        """What is done once a handshake is through."""
        runtime = self.rig.runtime
        stream.target, stream.identity, stream.alpn = TARGET, ALICE, ALPN[kind]
        listener = runtime.tables.listeners[self.acceptor.inbound_name]
        chain = listener.match(80, TLS, frozenset((stream.alpn,)), "")
        if chain is None:
            stream.abort()
        elif self.acceptor.admits(stream, chain) and chain.http:
            HttpDownstream(runtime, stream, chain, kind == "mesh-h2", True)
        elif stream.open:
            relay = Relay(runtime, chain, TARGET)
            relay.seen = standing.secured(stream)
            relay.start(stream, b"")

    def move(self) -> None:
        """Let servers answer until nothing moves."""
        moved = True
        while moved:
            self.rig.turn()
            for peer in self.rig.servers:
                self.servers.setdefault(peer, Server(peer))
            moved = sum(server.answer() for server in self.servers.values()) > 0

    def outcome(self, client: Client) -> str:
        client.ask()
        self.move()
        return client.hear() or SILENCE

    def refuses(self, expected: str) -> bool:
        """Whether rules keep a fresh connection out, and not a cluster that is missing."""
        return expected == DENIED or (expected == ENDED and (self.world.cluster or self.inbound))

    def fresh(self, kind: str) -> str:
        """What a connection of a kind gets that comes now."""
        client = self.connect(kind)
        found = self.outcome(client)
        client.peer.close()
        self.rig.turn()
        return found

    def kinds(self) -> list[str]:
        return ["h1", "h2", "raw", *ALPN] if self.inbound else ["h1", "h2", "raw"]

    # --- rules

    @rule()
    def come(self) -> None:
        """One of each kind that is not there."""
        for kind in [one for one in self.kinds() if all(one != client.kind for client in self.clients)]:
            client = self.connect(kind)
            found = self.outcome(client)
            if client.over or found == SILENCE:  # what is no HTTP may not be understood
                client.peer.close()
            else:
                assert found == self.fresh(kind)
                self.clients.append(client)

    @rule()
    def ask(self) -> None:
        fresh: dict[str, str] = {}
        for client in [one for one in self.clients if not one.waiting]:
            expected = fresh.get(client.kind) or self.fresh(client.kind)
            fresh[client.kind] = expected
            found = ENDED if client.over else self.outcome(client)
            self.judge(client, found, expected)

    def judge(self, client: Client, found: str, expected: str) -> None:
        over = client.over
        if client.untouched:
            # Equal tables pushed again may move whom something lacks to come anew.
            assert found == expected, "nothing touched it"
            assert not over or found != SERVED, "nothing touched it"
        if found == SERVED:
            assert not self.refuses(expected), "who would be refused anew is served"
        elif found != ENDED:
            assert found == expected or over, "an answer that a fresh connection would not get, and no end"
        # Bytes that nobody looks into go on where requests are looked at now: nobody could be told within them.
        unread = client.kind.endswith("raw") and (found, expected) == (SERVED, SILENCE)
        if client.settled and not unread:
            assert found == expected or over, "its time is over"
        if over:
            self.clients.remove(client)
            client.peer.close()

    @rule(kind=st.sampled_from(["h1", "h2", "mesh-h1", "mesh-h2"]))
    def begin_long_request(self, kind: str) -> None:
        for client in [one for one in self.clients if one.kind == kind and not one.waiting and not one.over][:1]:
            client.ask(b"/hold")
            self.move()
            found = client.hear()
            if found:
                self.judge(client, found, self.fresh(client.kind))
            else:
                client.waiting = True
                client.refused = self.refuses(self.fresh(client.kind))

    @precondition(lambda self: any(client.waiting for client in self.clients))
    @rule()
    def let_go(self) -> None:
        for server in self.servers.values():
            server.let_go()
        self.move()
        for client in [one for one in self.clients if one.waiting]:
            client.waiting = False
            assert client.hear() == SERVED or client.refused, "what was under way is finished"
            if client.over:
                self.clients.remove(client)
                client.peer.close()

    @rule(first=st.one_of(CHANGES, CHANGES, st.just({})), second=st.one_of(st.just({}), CHANGES), ask=st.booleans())
    def swap(self, first: dict[str, Any], second: dict[str, Any], ask: bool) -> None:
        after = replace(World(), **(first | second))
        if not self.inbound:
            after = replace(after, strict=False, own_port=True)
        self.rig.runtime.install(compile_tables(after.config(self.inbound), self.rig.runtime.tables))
        self.clock.advance(0.1)  # many connections take more than a turn to look at them
        self.rig.turn()
        if after == self.world:
            return
        self.world = after
        for client in self.clients:
            client.untouched = client.settled = False
            if client.waiting and self.refuses(self.fresh(client.kind)):
                client.refused = True
        if ask:
            self.ask()

    @rule(seconds=st.sampled_from([0.5, 3.0, LONG]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        now = self.rig.runtime.clock()
        for downstream in list(self.rig.runtime.downstreams):
            downstream.sweep(now)
        self.move()
        if seconds == LONG:
            for client in self.clients:
                client.settled = True
                if client.waiting and client.refused and self.refuses(self.fresh(client.kind)):
                    assert client.peer.ended, "what was under way has had its time"

    @rule(draining=st.booleans())
    def drain(self, draining: bool) -> None:
        runtime = self.rig.runtime
        if draining and not runtime.draining:
            runtime.drain()
        elif not draining:
            runtime.draining = False
        if draining and self.inbound:
            for client in self.clients:
                client.untouched = client.untouched and client.kind.endswith("raw")

    @invariant()
    def nothing_raised(self) -> None:
        if hasattr(self, "rig"):
            assert self.rig.poller.failures == 0
            assert self.rig.runtime.timers.failures == 0


OpenConnections.TestCase.settings = bounded(60, 30)
TestOpenConnections = OpenConnections.TestCase


# --- what it is there to find -----------------------------------------------------------------------------------------


def kept(chain: ChainTable, tables: Tables, stream: Stream, seen: standing.Seen) -> tuple[int, ChainTable]:
    """The chain by its name, and kept when it is gone: how it was once."""
    listener = tables.listeners.get(chain.listener.name)
    newer = listener.chain(chain.name) if listener is not None else None
    return standing.FOLLOWS, newer if newer is not None and newer.http == chain.http else chain


def calm(
    judge: Callable[..., tuple[int, ChainTable]],
) -> Callable[..., tuple[int, ChainTable]]:
    """Who would be refused is let be for a while."""

    def judged(*arguments: Any) -> tuple[int, ChainTable]:
        verdict, chain = judge(*arguments)
        return (standing.ENDS_CALMLY if verdict == standing.ENDS_NOW else verdict), chain

    return judged


@pytest.mark.parametrize("judge", [kept, calm(standing.judge)], ids=["a chain that is gone is kept", "rules wait"])
def test_machine_finds_it_again(monkeypatch: pytest.MonkeyPatch, judge: Any) -> None:
    """With a repair taken out the machine fails."""
    monkeypatch.setattr(standing, "judge", judge)
    with pytest.raises(AssertionError, match=r"served|fresh|time"):
        finds(OpenConnections, 60, 30)
