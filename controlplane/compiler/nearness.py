"""Which endpoints of a Service a caller gets, by where it is: what kube-proxy would choose on its node.

In: the endpoints of a port, and the caller's node and zone. Out: those it gets. The rules are kube-proxy's (`CategorizeEndpoints`, KEP-2086, KEP-2433, KEP-3015): with
`internalTrafficPolicy: Local` those of the node, else those that end there and still serve, else none; otherwise by hints, which the EndpointSlice controller writes for
`trafficDistribution` and `topology-mode`, and only where every endpoint has them and one of them is meant for this caller. A caller whose node is not known gets all.
"""

from __future__ import annotations

from controlplane.compiler.snapshot import Endpoint, PortEndpoints


def seen_from(found: PortEndpoints, node: str, zone: str) -> tuple[Endpoint, ...]:
    """Choose the endpoints for a caller."""
    endpoints = found.endpoints
    if not node:
        return endpoints
    if found.local:
        here = tuple(one for one in endpoints if one.node == node)
        return here or tuple(one for one in found.ending if one.node == node)
    if endpoints and all(one.for_nodes for one in endpoints):
        meant = tuple(one for one in endpoints if node in one.for_nodes)
        if meant:
            return meant
    if zone and endpoints and all(one.for_zones for one in endpoints):
        meant = tuple(one for one in endpoints if zone in one.for_zones)
        if meant:
            return meant
    return endpoints
