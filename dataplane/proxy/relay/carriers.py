"""The carriers of one endpoint that carry nothing now: kept for the next opaque connection to it, so that it needs no handshake.

In: carriers whose connection is over. Out: `take()`, one that may be used for another; the one used last first, so that as many stay
as are used at once. Refuses to keep what is too old, was made with another certificate or other roots than are in force, or is more
than `MOST`; of an endpoint that is gone, or of a service that has all the connections it may have, none.
"""

from __future__ import annotations

from typing import Final

from dataplane.net.tls import ClientTls, TlsUnavailableError
from dataplane.proxy.relay.carrier import Carrier, Keeper
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from meshapi import names

MOST: Final = 4
"""Kept for an endpoint."""
KEPT_SECONDS: Final = 30.0
"""For so long without a connection."""
OFFERED: Final = (names.ALPN_CARRIER, names.ALPN_TCP)
"""A peer that knows no carriers takes the second, for one connection."""


class Carriers(Keeper):
    """Those to one endpoint."""

    __slots__ = ("_circuit", "_context", "_kept", "_retired", "_runtime", "_slot")

    def __init__(self, runtime: Runtime, cluster: ClusterTable, slot: EndpointSlot) -> None:
        self._runtime = runtime
        self._slot = slot
        self._circuit = cluster.circuit
        self._context = cluster.mesh_tls
        self._kept: list[Carrier] = []
        self._retired = slot.retired

    # --- what relays ask ----------------------------------------------------------------------------------------------

    def take(self, tls: ClientTls) -> Carrier | None:
        """Return a carrier that was made as one would be now, and is kept no more; None where there is none."""
        for carrier in reversed(self._kept):
            if carrier.idle and not carrier.old and carrier.context is tls.context:
                self._kept.remove(carrier)
                return carrier
        return None

    # --- what carriers tell -------------------------------------------------------------------------------------------

    def over(self, carrier: Carrier) -> None:
        """Keep it, or close it."""
        runtime = self._runtime
        leaving = self._retired or runtime.draining or runtime.saving
        if leaving or carrier.last or carrier.old or not self._circuit.may_connect() or self.stale(carrier):
            carrier.close()
            return
        before = [one for one in self._kept if one.context is not carrier.context]
        for one in before:  # they would not be taken again, and stand in the way of those that would
            self._kept.remove(one)
            one.close()
        if len(self._kept) >= MOST:
            carrier.close()
        else:
            self._kept.append(carrier)
            carrier.rest(KEPT_SECONDS)

    def gone(self, carrier: Carrier) -> None:
        """It is no more."""
        if carrier in self._kept:
            self._kept.remove(carrier)

    def stale(self, carrier: Carrier) -> bool:
        """Whether another certificate or other roots are in force than those it was made with."""
        if self._context is None:
            return True
        try:
            return self._runtime.tls.client(self._context, OFFERED, self._slot.identity).context is not carrier.context
        except TlsUnavailableError:
            return True

    # --- what tables tell ---------------------------------------------------------------------------------------------

    def follow(self, cluster: ClusterTable) -> bool:
        """Take over what the cluster says now; False when that takes other connections, and these end."""
        if self._context == cluster.mesh_tls:
            return True
        self.retire()
        return False

    def retire(self) -> None:
        """The endpoint is gone: nothing is kept, and what is carried now is carried to its end."""
        self._retired = True
        for carrier in list(self._kept):
            carrier.close()


def carriers_of(runtime: Runtime, cluster: ClusterTable, slot: EndpointSlot) -> Carriers:
    """Return the endpoint's, made when first asked for; whether they fit the cluster is seen to when tables change.

    Where the cluster in force takes other connections by now than `cluster` did, which one was begun by: some that keep none.
    """
    now = runtime.tables.clusters.get(cluster.name)
    if now is None or now.mesh_tls != cluster.mesh_tls:
        late = Carriers(runtime, cluster, slot)
        late.retire()
        return late
    found: Carriers | None = slot.carriers
    if found is None:
        found = slot.carriers = Carriers(runtime, cluster, slot)
    return found
