"""Counts of what is under way never drift: requests, endpoints that come and go, die and rise, clients that give up, in any order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.config import CircuitLimits
from dataplane.tables.compile import compile_tables
from meshapi.records import replace
from tests.dataplane.proxy.rig import Peer, Rig, cluster, config
from tests.support.machines import bounded, within

ALL = ("10.1.0.1", "10.1.0.2", "10.1.0.3")
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
addresses = st.sampled_from(ALL)
number = st.integers(0, 99)


class Drifting(RuleBasedStateMachine):
    """One cluster, its endpoints, and clients with one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(self._noun(ALL[:2]))
        self.slots = set(self.rig.runtime.tables.clusters["c"].slots)
        self.asking: list[Peer] = []

    @staticmethod
    def _noun(ends: tuple[str, ...], **limits: int) -> object:
        return config(clusters=(replace(cluster(*ends), limits=CircuitLimits(**limits)),))

    @rule(request=st.sampled_from([GET, POST]))
    def ask(self, request: bytes) -> None:
        """A client asks; the answer comes with a later step."""
        self.asking.append(self.rig.client().send(request))

    @precondition(lambda self: self.rig.servers)
    @rule(at=number, how=st.sampled_from(["answer", "close", "garbage"]))
    def serve(self, at: int, how: str) -> None:
        """A server does what servers do with what it has."""
        server = self.rig.servers[at % len(self.rig.servers)]
        if server.over or not server.read():
            return
        if how == "answer":
            server.send(OK)
        elif how == "garbage":
            server.send(b"HTTP/1.1 what\r\n\r\n")
        else:
            self._close(server)

    def _close(self, peer: Peer) -> None:
        if not peer.over:
            peer.over = True
            peer.close()

    @precondition(lambda self: self.asking)
    @rule(at=number)
    def give_up(self, at: int) -> None:
        """A client resets its connection."""
        client = self.asking.pop(at % len(self.asking))
        self.rig.accepted[self.rig.clients.index(client)].abort()
        self.rig.turn()

    @rule(address=addresses)
    def flip(self, address: str) -> None:
        """An endpoint refuses connections from now on, or takes them again."""
        self.rig.dialer.refused ^= {address}

    @rule(held=st.booleans())
    def hold(self, held: bool) -> None:
        """Connections hang, or come about."""
        self.rig.dialer.held = held
        self.rig.turn()

    @rule(seconds=st.sampled_from([0.5, 1.5, 40.0]))
    def wait(self, seconds: float) -> None:
        """Back-offs pass, without waiting for them."""
        for slot in self.slots:
            slot.health.until -= seconds
        self.rig.runtime.tables.clusters["c"].ward.changes += 1

    @rule(ends=st.sets(addresses), most=st.sampled_from([1, 2, 1024]))
    def push(self, ends: set[str], most: int) -> None:
        """Other endpoints and bounds."""
        noun = self._noun(tuple(sorted(ends)), max_connections=most, max_pending=most)
        self.rig.runtime.install(compile_tables(noun, self.rig.runtime.tables))
        self.slots |= set(self.rig.runtime.tables.clusters["c"].slots)
        self.rig.turn()

    @invariant()
    def counts_add_up(self) -> None:
        """What slots, circuit and pools say is one number."""
        circuit = self.rig.runtime.tables.clusters["c"].circuit
        pools = [slot.http1 for slot in self.slots if slot.http1 is not None]
        assert circuit.requests == sum(slot.active for slot in self.slots)
        assert 0 <= circuit.requests <= self.rig.runtime.active
        assert circuit.pending == sum(len(pool.pending) for pool in pools)
        assert circuit.connections == sum(len(pool.connections) for pool in pools)
        assert min((slot.active for slot in self.slots), default=0) >= 0
        assert all(0 <= pool.connecting <= len(pool.connections) for pool in pools)

    def teardown(self) -> None:
        """Everybody goes: nothing is left."""
        self.rig.dialer.held = False
        while self.asking:
            self.give_up(0)
        for slot in self.slots:
            assert slot.active == 0
        circuit = self.rig.runtime.tables.clusters["c"].circuit
        assert (circuit.requests, circuit.pending, circuit.retries) == (0, 0, 0)
        for peer in [*self.rig.clients, *self.rig.servers]:
            peer.over = True
        self.rig.close()


TestDrift = within(120)(Drifting.TestCase)
TestDrift.settings = bounded(40, 40)
