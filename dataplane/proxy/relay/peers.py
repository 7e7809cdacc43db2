"""Between whom a relay is counted.

In: the client's stream, and where the relay leads. Out: `Peers` for the metrics. Refuses nothing: what is outside the mesh has one name.
"""

from __future__ import annotations

from typing import Final

from dataplane.net.stream import Stream
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from dataplane.tables.listeners import ChainTable
from dataplane.telemetry import labels

PASSTHROUGH: Final = {"service": "passthrough", "host": "passthrough"}
"""Telemetry name of destinations outside the mesh."""


def peers_of(
    runtime: Runtime, client: Stream, chain: ChainTable | None, cluster: ClusterTable | None, slot: EndpointSlot | None
) -> labels.Peers:
    """Name both ends, by the identity that a peer has shown."""
    if chain is not None and chain.inbound:
        return labels.inbound(runtime.own, client.identity, {}, secure=bool(client.identity))
    if cluster is None or slot is None:
        return labels.outbound(runtime.own, PASSTHROUGH, {}, "")
    return labels.outbound(runtime.own, cluster.labels, slot.labels, slot.identity)
