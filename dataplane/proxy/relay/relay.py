"""Relays bytes nobody looks into: the client's stream, an endpoint's stream, back-pressure and half-close both ways.

In: an accepted stream and its chain, or the address it was going to when the mesh does not know it. Out: the same bytes
at the other side, counted. Refuses nothing; when no endpoint can be reached the client's connection is reset, as it
would be without a proxy. A relay may begin before the client has spoken (`listen_first`): when the server speaks
first, the protocol is one where servers do, and nobody has to wait for a time-out to know.
"""

from __future__ import annotations

import logging
from typing import Protocol

from dataplane.chance import dice
from dataplane.config import Endpoint
from dataplane.net.reasons import ABORTED, CLOSED, ENDED, OURS
from dataplane.net.stream import Stream
from dataplane.net.timers import Timer
from dataplane.net.tls import ClientTls, TlsUnavailableError
from dataplane.proxy.arrive import standing
from dataplane.proxy.arrive.standing import Seen
from dataplane.proxy.relay.carrier import ACCEPT_SECONDS, Carrier
from dataplane.proxy.relay.carriers import OFFERED, carriers_of
from dataplane.proxy.relay.peers import peers_of
from dataplane.proxy.relay.sides import Ends, Side
from dataplane.proxy.server import conduct
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from dataplane.tables.health import CONNECTING
from dataplane.tables.listeners import ChainTable
from meshapi import names

CONNECT_SECONDS = 5.0
"""To a destination outside the mesh."""
IDLE_SECONDS = 3600.0

_CLEAN = {CLOSED, ENDED}
_log = logging.getLogger("tulle.proxy")


class Waiter(Protocol):
    """Who waits to learn whether the server of a tentative relay speaks first."""

    def server_spoke(self) -> None:
        """It did: attach the client to the relay."""

    def server_failed(self) -> None:
        """It cannot be reached; there is no relay any more."""


class Relay(Ends):
    """Both ends, and how the second one is found."""

    __slots__ = (
        "_chain",
        "_cluster",
        "_first",
        "_idle",
        "_kept",
        "_life",
        "_refused",
        "_slot",
        "_timer",
        "_tls",
        "_tried",
        "_turn",
        "_waiter",
        "client",
        "over",
        "reached",
        "runtime",
        "seen",
        "server",
        "target",
    )

    def __init__(self, runtime: Runtime, chain: ChainTable | None, target: tuple[str, int]) -> None:
        self.runtime = runtime
        self.target = target
        self.client = Side(self, True)
        self.server = Side(self, False)
        self.client.other = self.server
        self.server.other = self.client
        self.over = False
        self.reached = False
        self._chain = chain
        self._cluster: ClusterTable | None = None
        self._refused = ""
        """Why the control plane's word about the cluster could not be used."""
        self._slot: EndpointSlot | None = None
        self._tried: list[EndpointSlot] = []
        self._tls: ClientTls | None = None
        """How the last one is connected to."""
        self._kept = False
        """It is asked on a carrier that was kept, and has not answered."""
        self._first = b""
        self._waiter: Waiter | None = None
        self._idle = IDLE_SECONDS if chain is None else chain.idle
        self._timer: Timer | None = None
        self._life: Timer | None = None
        """When the time is up that a client's connection may live."""
        self.seen: Seen = standing.UNSEEN
        """What the client's first bytes showed."""
        self._turn: Timer | None = None
        """When a relay ends that does not follow the tables."""

    # --- beginning ----------------------------------------------------------------------------------------------------

    def start(self, stream: Stream, first: bytes) -> None:
        """Take the client's stream and what was read from it, and connect."""
        self._take(stream, first)
        self._connect()

    def listen_first(self, waiter: Waiter) -> None:
        """Connect without a client yet, to learn who speaks first."""
        self._waiter = waiter
        self._connect()

    def attach(self, stream: Stream, first: bytes) -> None:
        """Give a tentative relay its client."""
        self._waiter = None
        self._take(stream, first)
        if self.reached:
            self._join()

    def drop(self) -> None:
        """End a tentative relay that is not wanted."""
        self._waiter = None
        self.over = True
        if self.server.stream is not None:
            self.server.close()

    def spoke(self) -> None:
        """The server sent something before the client did."""
        if self._waiter is not None:
            self._waiter.server_spoke()

    def _take(self, stream: Stream, first: bytes) -> None:
        self.client.stream = stream
        self.runtime.relaying.add(self)
        if self.runtime.draining and self._chain is not None and self._chain.inbound:
            self.runtime.latecomer = self.runtime.clock()
        self._first = first
        if self.client.carrier is None:
            stream.receiver = self.client
        # Nothing is read that could not be handed on; a reset is told all the same.
        stream.pause()
        if self._chain is not None and self._chain.life > 0:
            self._life = self.runtime.timers.after(self._chain.life, self._outlive)

    def _connect(self) -> None:
        """Connect to the next endpoint, or give up."""
        slot = self._choose()
        if slot is None:
            self._fail(self._refused or "no endpoint to connect to")
        else:
            self._tried.append(slot)
            self._reach(slot, True)

    def _reach(self, slot: EndpointSlot, kept: bool) -> None:
        """Connect to an endpoint, over a carrier that is kept for it unless that was tried."""
        cluster = self._cluster
        if cluster is not None and not cluster.circuit.may_connect():
            self.runtime.metrics.events.of("connections_overflow").value += 1
            self._fail("the service has as many connections as it may have")
            return
        context = None if cluster is None else cluster.mesh_tls if slot.mesh else cluster.tls
        tls = None
        if context is not None:
            try:
                tls = self.runtime.tls.client(context, OFFERED if slot.mesh else (), slot.identity)
            except TlsUnavailableError as error:
                self._fail(str(error))
                return
        self._slot = slot
        slot.active += 1
        if cluster is not None:
            cluster.circuit.connections += 1
        timeout = CONNECT_SECONDS if cluster is None else cluster.connect_timeout
        self._tls = tls
        carrier = slot.carriers.take(tls) if kept and tls is not None and slot.carriers is not None else None
        if carrier is not None:
            self._kept = True
            self.server.hold(carrier)
            carrier.open(self.server, min(timeout, ACCEPT_SECONDS))
            return
        self.server.stream = self.runtime.dialer.dial(slot.address, slot.port, self.server, tls=tls, timeout=timeout)

    def _choose(self) -> EndpointSlot | None:
        if self._chain is None:
            passing = EndpointSlot(Endpoint(address=self.target[0], port=self.target[1]))
            return None if self._tried else passing
        if self._cluster is None:
            row = self._chain.choose(dice())
            self._cluster = None if row is None else self.runtime.tables.clusters.get(row.cluster)
            if row is not None and self._cluster is None:
                self._refused = self.runtime.tables.config.refused_clusters.get(row.cluster, "")
        cluster = self._cluster
        tried, most = self._tried, self.runtime.bounds.connect_tries
        if cluster is None or (tried and not cluster.another(tried, tried[-1], len(tried), most)):
            return None
        if cluster.original:
            slot: EndpointSlot | None = cluster.at(self.target[0], self.target[1])
        else:
            trial = None if tried else cluster.due(self.runtime.poller.now, self.runtime.bounds.set_aside)
            slot = trial or cluster.pick(tried)
        return None if slot in tried else slot

    # --- what the ends tell -------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """The endpoint is there: let bytes flow."""
        self.reached = True
        if self._kept:
            self._kept = False
            self.runtime.metrics.events.of("carrier_reused").value += 1
        else:
            self._carry()
        if self._slot is not None and self._slot.health.failures:
            conduct.connected(self.runtime, self._slot)
        if self.client.stream is not None:
            self._join()

    def _carry(self) -> None:
        """Have a stream that can carry other connections after this do so."""
        stream, cluster, slot, tls = self.server.stream, self._cluster, self._slot, self._tls
        if stream is None or stream.alpn != names.ALPN_CARRIER or cluster is None or slot is None or tls is None:
            return
        keeper = carriers_of(self.runtime, cluster, slot)
        self.server.hold(Carrier(self.runtime, stream, keeper, tls.context, caller=True))

    def _join(self) -> None:
        client, server = self.client.stream, self.server.stream
        if client is None or server is None:
            return
        series = self.runtime.metrics.tcp(peers_of(self.runtime, client, self._chain, self._cluster, self._slot))
        series.opened += 1
        series.touched = True
        self.client.series = self.server.series = series
        if self.client.carrier is not None:
            self.client.carrier.accept()
        client.resume()
        if self._idle > 0:
            self._timer = self.runtime.timers.after(self._idle, self._look_idle)
        if self._first:
            first, self._first = self._first, b""
            self.client.received(first)
        if client.at_end:
            self.client.ended()

    def gone(self, side: Side, reason: str) -> None:
        """One end is lost: try another endpoint, or end the other end the same way."""
        side.leave()
        if self.over and side.other.stream is None:
            self._leave_slot()
            self._part()
            return
        if side is self.server and not self.reached:
            self._unreached(reason)
            return
        if self.over:
            return
        if side is self.server and self.client.series is None:
            self.spoke()
        self._finish()
        other = side.other.stream
        if other is not None:
            if reason in _CLEAN:
                side.other.close()
            else:
                other.abort()

    def _unreached(self, reason: str) -> None:
        self._leave_slot()
        if self.over:
            return
        if self._kept:  # no byte of the client's went there
            self._kept = False
            self.runtime.metrics.events.of("carrier_missed").value += 1
            self._reach(self._tried[-1], False)
            return
        if reason == ABORTED:
            self._finish()
            return
        self.runtime.metrics.events.of("tcp_connect_failed").value += 1
        slot = self._tried[-1]
        if reason not in OURS:
            conduct.failed(self.runtime, slot, CONNECTING, reason)
        _log.info("cannot connect to %s port %d: %s", slot.address, slot.port, reason)
        self._connect()

    def _fail(self, why: str) -> None:
        """There is nobody to relay to."""
        waiter = self._waiter
        self.over = True
        self.runtime.relaying.discard(self)
        if self._life is not None:
            self._life.cancel()
        if waiter is not None:
            self._waiter = None
            waiter.server_failed()
            self._part()
            return
        self.runtime.metrics.errors.of("no_healthy_upstream").value += 1
        _log.info("a connection to %s port %d was reset: %s", *self.target, why)
        if self.client.stream is not None:
            self.client.stream.abort()

    def _finish(self) -> None:
        """Account for the end, once."""
        self.over = True
        self.runtime.relaying.discard(self)
        for timer in (self._turn, self._life):
            if timer is not None:
                timer.cancel()
        self._leave_slot()
        series = self.client.series
        if series is not None:
            series.closed += 1
            series.touched = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        server = self.server.stream
        if not self.reached and server is not None:
            server.abort()

    def _part(self) -> None:
        """Have the ends let go of each other and of this, so that memory is free at once and not when the collector comes by."""
        self.client.part()
        self.server.part()

    # --- other tables -------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """As long as a client is connected, its destination is in use."""
        if self._chain is not None and not self._chain.inbound:
            self.runtime.discovery.touch(self._chain.listener.name)

    def review(self) -> None:
        """Look at the tables in force now: go on, end when its turn comes, or end at once."""
        verdict = self._judged()
        if verdict == standing.ENDS_NOW:
            self.runtime.metrics.events.of("connection_refused_anew").value += 1
            self._cut()
        elif verdict == standing.ENDS_CALMLY and self._turn is None:
            wait = self.runtime.dice() * standing.SPREAD_SECONDS
            self._turn = self.runtime.timers.after(wait, self._leave)

    def _judged(self) -> int:
        tables, client = self.runtime.tables, self.client.stream
        if self.over or client is None:
            return standing.FOLLOWS
        if self._chain is None:
            return standing.judge_passed(self.target, tables, client)
        verdict, self._chain = standing.judge(self._chain, tables, client, self.seen)
        if verdict == standing.FOLLOWS and not self._chain.inbound and self._cluster is not None:
            return standing.FOLLOWS if self._cluster.name in tables.clusters else standing.ENDS_CALMLY
        return verdict

    def _leave(self) -> None:
        """It is this relay's turn, unless what it was for is back."""
        self._turn = None
        if self._judged() != standing.FOLLOWS:
            self.runtime.metrics.events.of("connection_outlived").value += 1
            self._cut()

    def _outlive(self) -> None:
        """The connection is as old as it may become."""
        self._life = None
        self.runtime.metrics.events.of("connection_life_ended").value += 1
        self._cut()

    def _cut(self) -> None:
        """Reset both ends: nobody can be told within bytes that are not looked into."""
        client, server = self.client.stream, self.server.stream
        if client is not None:
            client.abort()
        if server is not None:
            server.abort()

    def _leave_slot(self) -> None:
        if self._slot is not None:
            self._slot.active -= 1
            self._slot = None
            if self._cluster is not None:
                self._cluster.circuit.connections -= 1

    def _look_idle(self) -> None:
        """Close when nothing came from either end for the idle time, else look again when it would be up."""
        self._timer = None
        client, server = self.client.stream, self.server.stream
        if client is None or server is None or self.over:
            return
        quiet = self.runtime.poller.kernel.now() - max(client.seen, server.seen)
        if quiet < self._idle:
            self._timer = self.runtime.timers.after(self._idle - quiet, self._look_idle)
        else:
            self.client.close()
            self.server.close()
