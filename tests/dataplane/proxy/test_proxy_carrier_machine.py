"""Opaque connections over carriers between two sidecars, by a machine: the oracle is a client connected to its app directly.

Whatever was on a carrier before, and whatever becomes of rules, certificates, endpoints and the carriers that rest: each connection has
its own bytes and none of another's, in order; an end is told as an end, and a reset as a reset. Once all are gone nothing is left, and
as many were counted closed as opened.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from dataplane.config import Authorization, Cluster, Endpoint, Endpoints, Rules, SidecarConfig, TlsContext
from dataplane.net.outlet import HIGH_MARK
from dataplane.net.reasons import CONNECT_REFUSED
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.proxy.arrive.accept import Acceptor
from dataplane.proxy.arrive.carried import Carried
from dataplane.proxy.relay.carrier import Carrier
from dataplane.proxy.relay.carriers import Carriers
from dataplane.proxy.relay.relay import Relay
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.compile import compile_tables
from dataplane.tables.endpoints import EndpointSlot
from meshapi import names
from meshapi.records import replace
from tests.dataplane.proxy.rig import Rig
from tests.dataplane.proxy.test_proxy_flow import LIMITS, RARELY, SIZES, Flowing, narrow
from tests.support.flowing import EVERYTHING, Way, Wire, piece
from tests.support.machines import bounded, finds, within
from tests.support.net import descriptors
from tests.support.relays import chain, inbound, listener, tcp

pytestmark = within(600)

MESH = TlsContext(sni="80.c.ns", alpn=(names.ALPN_TCP,))
DENY = (Authorization(rules=Rules(deny=False, policies=())),)
ALICE, BOB = "spiffe://t/ns/n/sa/alice", "spiffe://t/ns/n/sa/bob"
AT_ONCE = 3
"""Connections at most."""


class Setup:
    """Stands for a TLS setup: made for one certificate."""

    def __init__(self, context: object) -> None:
        self.context = context


class Contexts:
    """Stands for `TlsContexts`: all that counts is which certificate a context was made for."""

    def __init__(self) -> None:
        self.now = object()

    def client(self, noun: TlsContext, alpn: tuple[str, ...] = (), identity: str = "") -> Setup:
        return Setup(self.now)

    def server(self, noun: TlsContext, alpn: tuple[str, ...] = ()) -> Setup:
        return Setup(self.now)


class Dialer:
    """Connects at the machine's next turn."""

    def __init__(self, machine: CarrierMachine, reached: Any) -> None:
        self.machine, self.reached = machine, reached
        self.waiting: list[tuple[Stream, Any]] = []

    def dial(self, address: str, port: int, receiver: Receiver, *, tls: Any, timeout: float) -> Stream:
        ours, theirs = narrow(0, tcp=True)
        if self is self.machine.inn and not self.machine.app_there:
            theirs.close()
            stream = Stream(self.machine.rig.poller, ours.detach(), receiver, (address, port))
            stream.stillborn(CONNECT_REFUSED, "ECONNREFUSED")
            return stream
        stream = self.machine.stream(ours, receiver)
        self.waiting.append((stream, theirs))
        return stream

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for stream, theirs in waiting:
            self.reached(stream, theirs)


class Waiting(Receiver):
    """Hears a client before its relay begins."""

    def __init__(self) -> None:
        self.data = b""

    def received(self, data: bytes) -> None:
        self.data += data


class Connection:
    """A client, its app once there is one, and what passed."""

    def __init__(self, number: int, client: Wire) -> None:
        self.wires = [client]
        self.ways = [Way(-1), Way(-1)]
        for way in self.ways:  # each begins elsewhere in the sequence, so that none is taken for another's
            way.sent = way.got = number * 37
        self.cut = False
        """What carried it was cut, or it was not let in."""

    @property
    def over(self) -> bool:
        return all(wire.dead or wire.over for wire in self.wires)


class CarrierMachine(Flowing):
    """Two sidecars, carriers between them, clients before and apps behind."""

    most = HIGH_MARK + 2 * 65_536

    def begin_all(self) -> None:
        self.rig = rig = Rig(self.calling(there=True))
        rig.dialer = self.dialer = self  # type: ignore[assignment]  # whose `tcp` the laws ask for
        self.tcp = True
        self.timers = rig.poller.timers.pending()
        self.caller = rig.runtime
        self.callee = Runtime(rig.poller, tables=compile_tables(self.called(deny=False)))
        self.callee.strict = True
        self.caller.tls, self.callee.tls = Contexts(), Contexts()
        self.out = Dialer(self, self.arrive)
        self.inn = Dialer(self, self.answer)
        self.caller.dialer, self.callee.dialer = self.out, self.inn
        self.acceptor = Acceptor(self.callee, Any, "inbound/ns/pod")
        self.all: list[Stream] = []
        self.connections: list[Connection] = []
        self.made = 0
        self.seen: set[Any] = set()
        """The callee's relays that were looked at."""
        self.app_there = True
        self.eager = 0
        """Bytes an app sends at once, and ends; none: it waits."""
        self.carriers = 0
        self.denied = self.gone = False

    @initialize()
    def start(self) -> None:
        self.begin_all()

    # --- configurations and means

    def calling(self, *, there: bool) -> SidecarConfig:
        mesh = Endpoint(address="10.1.0.1", port=80, mesh=True, identity=BOB)
        static = Endpoints(name="c", endpoints=(mesh,) if there else ())
        service = Cluster(name="c", kind="static", static=static, mesh_tls=MESH)
        return SidecarConfig(listeners={"l": listener("l", chain("tcp", tcp("c")))}, clusters={"c": service})

    def called(self, *, deny: bool) -> SidecarConfig:
        noun = inbound(MESH)
        if deny:
            noun = replace(noun, chains=tuple(replace(one, authorization=DENY) for one in noun.chains))
        return SidecarConfig(
            listeners={noun.name: noun}, clusters={"original": Cluster(name="original", kind="original_dst")}
        )

    def stream(self, sock: Any, receiver: Receiver) -> Stream:
        made = Stream(self.rig.poller, sock.detach(), receiver, ("10.9.9.9", 4000))
        made.start()
        self.all.append(made)
        return made

    @property
    def slots(self) -> list[EndpointSlot]:
        return [slot for table in self.caller.tables.clusters.values() for slot in table.all_slots()]

    @property
    def streams(self) -> list[Stream]:
        return [one for one in self.all if one.open] if self.rig is not None else []

    def quiet(self) -> None:
        super().quiet()
        while self.out.waiting or self.inn.waiting:
            self.out.turn()
            self.inn.turn()
            super().quiet()

    def arrive(self, near: Stream, theirs: Any) -> None:
        """A handshake between the sidecars is through."""
        self.carriers += 1
        far = self.stream(theirs, Receiver())
        far.target, far.identity = ("10.1.0.1", 80), ALICE
        near.alpn = far.alpn = names.ALPN_CARRIER
        near.identity = BOB
        listening = self.callee.tables.listeners["inbound/ns/pod"]
        taken = listening.match(80, "tls", frozenset((names.ALPN_TCP,)), "")
        assert taken is not None
        if self.acceptor.admits(far, taken):
            keeper = Carried(self.acceptor, taken)
            keeper.relay(Carrier(self.callee, far, keeper, self.callee.tls.now, caller=False))
        near.receiver.opened()

    def answer(self, stream: Stream, theirs: Any) -> None:
        """The app takes a connection, of the client that asked last; an eager one answers and ends in the same turn."""
        wire = Wire(theirs)
        self.wires.append(wire)
        asked = self.connections[-1]
        asked.wires.append(wire)
        if self.eager:
            self.put(asked, 1, self.eager)
            wire.end()
        stream.receiver.opened()

    def pick(self, at: int) -> Connection | None:
        return self.connections[at % len(self.connections)] if self.connections else None

    # --- what happens

    @rule(first=SIZES, ended=st.booleans())
    def connect(self, first: int, ended: bool = False) -> None:
        """A client comes; sometimes with bytes at once, or ended before its relay begins. Mostly the one before is gone."""
        if len([one for one in self.connections if not one.over]) >= AT_ONCE:
            return
        self.made += 1
        ours, theirs = narrow(0, tcp=True)
        client = Wire(theirs)
        self.wires.append(client)
        made = Connection(self.made, client)
        self.connections.append(made)
        if first < 1000:
            self.put(made, 0, first)
        relay = Relay(self.caller, self.caller.tables.listeners["l"].chains[0], ("10.0.0.1", 80))
        waiting = Waiting()
        stream = self.stream(ours, waiting)
        if ended:
            client.end()
            self.quiet()
            assert stream.at_end
        relay.start(stream, waiting.data)
        self.quiet()
        if len(made.wires) < 2:
            assert self.denied or self.gone or not self.app_there, "a connection reached no app"
            client.pull()
            assert client.broken, "a connection that reached no app was not reset"
            client.vanish(reset=False)
            self.connections.remove(made)
        else:
            assert not self.denied, "a connection that rules refuse reached an app"
            assert not self.gone, "a connection went to an endpoint that is gone"
            self.on_what_is_in_force(relay)

    def on_what_is_in_force(self, relay: Relay) -> None:
        """Both sides have shown the certificates of now."""
        if relay.server.carrier is not None:
            assert relay.server.carrier.context is self.caller.tls.now, "the caller goes by what it had before"
        for one in self.callee.relaying:
            if one.client.carrier is not None and one not in self.seen:
                assert one.client.carrier.context is self.callee.tls.now, "the callee goes by what it had before"
        self.seen = set(self.callee.relaying)

    def put(self, one: Connection, side: int, size: int) -> None:
        wire, way = one.wires[side], one.ways[side]
        if not wire.ending and not wire.dead and not wire.broken:
            wire.put(piece(way.sent, size))
            way.sent += size
            wire.push(0 if wire.choked else EVERYTHING)

    @rule(at=st.integers(0, 5), side=st.integers(0, 1), size=SIZES)
    def send(self, at: int, side: int, size: int) -> None:
        if one := self.pick(at):
            self.put(one, side, size)

    @rule(at=st.integers(0, 5), side=st.integers(0, 1), choked=st.booleans())
    def choke(self, at: int, side: int, choked: bool) -> None:
        if one := self.pick(at):
            one.wires[side].choked = choked

    @rule(at=st.integers(0, 5), side=st.integers(0, 1), limit=LIMITS)
    def read(self, at: int, side: int, limit: int) -> None:
        if one := self.pick(at):
            self.take(one, side, limit)

    def take(self, one: Connection, side: int, limit: int) -> int:
        data = one.wires[side].pull(limit)
        one.ways[1 - side].take(data, False)
        return len(data)

    @rule(at=st.integers(0, 5), side=st.integers(0, 1))
    def end(self, at: int, side: int) -> None:
        if one := self.pick(at):
            one.wires[side].end()

    @rule(at=st.integers(0, 5), first=st.integers(0, 1))
    def end_both(self, at: int, first: int) -> None:
        """The usual course of things."""
        if one := self.pick(at):
            for side in (first, 1 - first):
                one.wires[side].end()
                self.quiet()
            self.settle()

    @rule(first=st.integers(0, 1))
    def come_and_go(self, first: int) -> None:
        """The usual life of one."""
        known = len(self.connections)
        self.connect(first=7)
        if len(self.connections) > known:
            self.end_both(at=known, first=first)

    @rule(at=st.integers(0, 5), side=st.integers(0, 1), now=RARELY)
    def vanish(self, at: int, side: int, now: bool) -> None:
        if now and (one := self.pick(at)):
            one.wires[side].vanish(reset=True)

    @rule(kept=st.booleans())
    def renew(self, kept: bool) -> None:
        """Another certificate, at either sidecar."""
        (self.caller if kept else self.callee).tls.now = object()

    @rule(who=st.integers(0, 1))
    def expire(self, who: int) -> None:
        """What rests has rested long enough."""
        for carrier in list((self.caller, self.callee)[who].resting):
            carrier.sweep(float("inf"))

    @rule(denied=st.booleans())
    def judge_anew(self, denied: bool) -> None:
        """Other rules at the callee; what they do not let in is cut."""
        self.denied = denied
        self.callee.install(compile_tables(self.called(deny=denied), self.callee.tables))
        if denied:
            self.cut()

    def cut(self) -> None:
        while self.callee.reviewing:
            self.rig.run(0.01)
        self.quiet()
        for one in self.connections:
            one.cut = True
        assert not self.callee.resting, "a carrier rests that could carry nothing"

    @rule(gone=st.booleans())
    def endpoint(self, gone: bool) -> None:
        """The endpoint goes or comes; what it carries goes on."""
        self.gone = gone
        self.caller.install(compile_tables(self.calling(there=not gone), self.caller.tables))
        while self.caller.reviewing:
            self.rig.run(0.01)
        if gone:
            assert not self.caller.resting, "a carrier to an endpoint that is gone is kept"

    @rule(size=st.sampled_from([0, 0, 1, 500, 65_536]))
    def haste(self, size: int) -> None:
        self.eager = size

    @rule(there=st.booleans())
    def app(self, there: bool) -> None:
        self.app_there = there

    @rule(now=RARELY)
    def die(self, now: bool) -> None:
        """The callee's node is gone, and back."""
        if now:
            for stream in self.streams:
                if stream.alpn:
                    stream.abort()
            self.cut()

    @rule(draining=st.booleans(), now=RARELY)
    def drain(self, draining: bool, now: bool) -> None:
        if now and draining:
            self.timers += 1  # it looks again until it has ended
            self.callee.drain()
            assert not self.callee.resting, "a carrier rests in a sidecar that ends"
        elif now:
            self.callee.draining = False

    # --- what must hold

    def read_all(self) -> int:
        return sum(self.take(one, side, EVERYTHING) for one in self.connections for side in (0, 1))

    @rule()
    def settle(self) -> None:
        self.until_nothing_moves(self.read_all)
        for one in list(self.connections):
            self.look(one)
            if one.over or any(wire.dead for wire in one.wires):
                for wire in one.wires:
                    wire.vanish(reset=False)
                    self.wires.remove(wire)
                self.connections.remove(one)
        self.quiet()

    def look(self, one: Connection) -> None:
        ended = all(wire.ended for wire in one.wires)
        broken = any(wire.dead for wire in one.wires)
        for side, wire in enumerate(one.wires):
            far = one.wires[1 - side]
            if one.cut:
                assert wire.over or wire.dead, "what carried it was cut, and an end of it does not know"
                assert wire.broken or wire.dead or far.ended, "a cut was told as an end"
            elif broken:
                if wire.dead and not far.dead:
                    assert far.over, "the end of one side is not told to the other"
                    assert far.broken or wire.ended, "a reset was told as an end"
            else:
                assert one.ways[side].got == one.ways[side].sent, "bytes are stuck"
                assert far.over == wire.ended, "an end is stuck, or came from nowhere"
                assert not wire.broken or ended, "an end was told as a reset"

    @invariant()
    def few_rest(self) -> None:
        if self.rig is not None:
            assert len(self.caller.resting) <= 4
            for slot in self.slots:
                kept = [] if slot.carriers is None else slot.carriers._kept
                assert len(kept) == len(set(kept)), "a carrier is kept twice"
            assert not set(self.caller.resting) & set(self.callee.resting)

    def teardown(self) -> None:
        rig = self.rig
        if rig is None:
            return
        for wire in self.wires:
            wire.vanish(reset=False)
        self.quiet()
        for runtime in (self.caller, self.callee):
            assert not runtime.relaying, "a relay is left"
            for carrier in list(runtime.resting):
                carrier.sweep(float("inf"))
        self.quiet()
        assert all(slot.active == 0 for slot in self.slots)
        for runtime in (self.caller, self.callee):
            assert runtime.relays == 0, "opened and closed do not agree"
            assert runtime.metrics.refused.of("carrier_framing").value == 0
            assert not runtime.resting
        rig.close()
        assert rig.poller.timers.pending() <= self.timers + len(self.streams), "a timer is left"
        assert descriptors() <= self.descriptors, "a descriptor is left"


class Heedless(Carriers):
    """Takes whatever is there."""

    def take(self, tls: Any) -> Carrier | None:
        return self._kept.pop() if self._kept and self._kept[-1].idle else None


def _unasked(keeper: Carried, carrier: Carrier) -> None:
    keeper.relay(carrier)


PLANTED = {
    "certificates of before": ("dataplane.proxy.relay.carriers.Carriers.take", Heedless.take),
    "rules of before": ("dataplane.proxy.arrive.carried.Carried.asked", _unasked),
    "kept though the endpoint goes": ("dataplane.proxy.relay.carriers.Carriers.retire", lambda _: None),
    "left to rest by other rules": ("dataplane.proxy.arrive.carried.Carried.review", lambda *_: None),
}


@pytest.mark.parametrize("defect", PLANTED)
def test_machine_finds_a_planted_defect(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would not find it does not hold."""
    monkeypatch.setattr(*PLANTED[defect])

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        finds(CarrierMachine, 100, 40)


def test_answer_and_end_that_come_with_the_acceptance_reach_a_client_that_has_ended() -> None:
    """All three are read at once, before the client's own end is passed on: the connection is over once, and after its bytes."""
    m = CarrierMachine()
    m.begin_all()
    m.come_and_go(first=0)
    m.eager = 500
    m.connect(first=1000, ended=True)
    m.settle()
    assert (m.carriers, len(m.caller.resting)) == (1, 1)
    assert not m.connections
    m.few_rest()
    m.teardown()


CarrierMachine.TestCase.settings = bounded(300, 40)
TestCarriers = CarrierMachine.TestCase
