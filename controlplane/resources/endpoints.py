"""Load assignments: where the endpoints of a cluster are.

In: a name and endpoints. Out: a ClusterLoadAssignment, one locality a zone, weighted by its endpoints so each gets the same share
(gRPC skips localities without a weight).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from controlplane.compiler.snapshot import Endpoint
from controlplane.resources.envoy import address, labelled, make
from meshapi import xds


def of_one_family(endpoints: Iterable[Endpoint], families: Sequence[int]) -> Sequence[Endpoint]:
    """Leave the endpoints a client can reach: a dual-stack pod is an endpoint in each family, and must not count twice.

    They are those of the client's first family that has any; none where it has none of them. All of them when its families are not known.
    """
    found = tuple(endpoints)
    if not families:
        return found
    by_family = (tuple(one for one in found if family_of(one.address) == family) for family in families)
    return next((those for those in by_family if those), ())


def family_of(ip: str) -> int:
    """Tell the family of an address: 4 or 6."""
    return 6 if ":" in ip else 4


def assignment(name: str, endpoints: Iterable[Endpoint]) -> Any:
    """Write the endpoints of a cluster."""
    zones: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        zones.setdefault(endpoint.zone, []).append(endpoint)
    return make(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=name,
        endpoints=[
            {
                "locality": {"zone": zone},
                "load_balancing_weight": {"value": len(members)},
                "lb_endpoints": [_endpoint(member) for member in members],
            }
            for zone, members in sorted(zones.items())
        ],
    )


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    told = {
        "identity": endpoint.identity,
        "pod": endpoint.pod,
        "namespace": endpoint.namespace,
        "workload": endpoint.workload,
        "app": endpoint.app,
        "version": endpoint.version,
    }
    metadata: dict[str, dict[str, object]] = {}
    if endpoint.mesh:
        metadata[xds.TRANSPORT_MATCH] = {xds.MESH_MATCH: "true"}
    known = {key: value for key, value in told.items() if value}
    if known:
        metadata[xds.METADATA] = dict(known)
    return {
        "endpoint": {"address": address(endpoint.address, endpoint.port)},
        "health_status": "HEALTHY",
        "load_balancing_weight": {"value": 1},
        "metadata": labelled(metadata),
    }
