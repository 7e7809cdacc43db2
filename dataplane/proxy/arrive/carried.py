"""A caller's carrier at its callee: each connection on it is asked what it would be asked if it had come by itself.

In: the carrier, and the chain its handshake led to. Out: a `Relay` for each connection, the first at once. Refuses, by a reset, what
rules or tables of now refuse, and whatever comes when the pod ends or other roots or another certificate are in force: the caller then
shows its own anew, in a handshake.
"""

from __future__ import annotations

from typing import Final, Protocol

from dataplane.net.stream import Stream
from dataplane.net.tls import TlsUnavailableError
from dataplane.proxy.arrive import standing
from dataplane.proxy.relay.carrier import Carrier, Keeper
from dataplane.proxy.relay.relay import Relay
from dataplane.proxy.stages.order import bars
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.listeners import ChainTable
from meshapi import names

KEPT_SECONDS: Final = 45.0
"""For so long without a connection: longer than callers keep theirs, who then seldom ask one that is just being closed."""


class Gate(Protocol):
    """What the acceptor does for connections whose peer is known."""

    runtime: Runtime

    def refuse(self, stream: Stream, reason: str, detail: str) -> None:
        """Reset a connection, count it, say so."""

    def admits(self, stream: Stream, chain: ChainTable) -> bool:
        """Have a connection pass the chain's stages; one they do not let in is refused."""


class Carried(Keeper):
    """What one caller opens on one carrier."""

    __slots__ = ("_chain", "_gate")

    def __init__(self, gate: Gate, chain: ChainTable) -> None:
        self._gate = gate
        self._chain = chain

    def relay(self, carrier: Carrier) -> None:
        """Take a connection to the app."""
        stream = carrier.stream
        relay = Relay(self._gate.runtime, self._chain, stream.target or stream.local)
        relay.seen = standing.secured(stream)
        relay.client.hold(carrier)
        relay.start(stream, b"")

    def asked(self, carrier: Carrier) -> None:
        """Judge another one by the tables of now."""
        gate, stream = self._gate, carrier.stream
        verdict, chain = standing.judge(self._chain, gate.runtime.tables, stream, standing.secured(stream))
        if verdict != standing.FOLLOWS:
            gate.refuse(stream, "no_filter_chain", "its filter chain went while the connection was kept")
            return
        self._chain = chain
        if self._leaves(carrier) or self.stale(carrier):
            carrier.close()
        elif gate.admits(stream, chain):
            self.relay(carrier)

    def over(self, carrier: Carrier) -> None:
        """Let the caller open another, or close."""
        if self._leaves(carrier) or self._barred(carrier):
            carrier.close()
        else:
            carrier.rest(KEPT_SECONDS)

    def review(self, carrier: Carrier) -> None:
        """Close one that could carry nothing any more."""
        if self._barred(carrier):
            carrier.close()

    def stale(self, carrier: Carrier) -> bool:
        """Whether the peer was judged by other roots, or shown another certificate, than are in force."""
        tls = self._chain.tls
        if tls is None:
            return True
        try:
            return self._gate.runtime.tls.server(tls, spoken(self._chain)).context is not carrier.context
        except TlsUnavailableError:
            return True

    def _barred(self, carrier: Carrier) -> bool:
        """Whether tables, rules or certificates of now would let nothing on it pass."""
        stream = carrier.stream
        verdict, self._chain = standing.judge(self._chain, self._gate.runtime.tables, stream, standing.secured(stream))
        return verdict != standing.FOLLOWS or bars(self._chain, stream) or self.stale(carrier)

    def _leaves(self, carrier: Carrier) -> bool:
        runtime = self._gate.runtime
        return carrier.last or carrier.old or runtime.draining or runtime.saving


def spoken(chain: ChainTable) -> tuple[str, ...]:
    """Return the ALPN a chain's connections may agree on: carriers wherever opaque bytes of the mesh are taken.

    That is between two sidecars alone, and no part of their configuration: who knows no carriers could not keep to it.
    """
    offered: tuple[str, ...] = () if chain.tls is None else chain.tls.alpn
    return (names.ALPN_CARRIER, *offered) if names.ALPN_TCP in offered and not chain.http else offered
