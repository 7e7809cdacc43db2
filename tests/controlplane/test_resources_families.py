"""IPv4, IPv6 and both: a client is given the endpoints of one family, one that its pod has."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.ingest.assemble import ingest
from controlplane.resources.build import Client, build
from controlplane.xds.callers import families_of
from meshapi import protos
from meshapi.xds import Type
from tests.support import meshobjects as mo

V4, V6 = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


def dual(name: str, v4: str, v6: str) -> mo.Object:
    """A dual-stack pod."""
    made = mo.pod(name, v4)
    made["status"]["podIPs"] = [{"ip": v4}, {"ip": v6}]
    return made


def of_family(of: str, family: str, *ips: str) -> mo.Object:
    """A slice of one family, as the API server has one of each for a dual-stack Service."""
    found = mo.endpoint_slice(of, *(mo.endpoint(f"{of}-{number}", ip) for number, ip in enumerate(ips, 1)))
    found["metadata"]["name"] = f"{of}-{family.lower()}"
    return {**found, "addressType": family}


def cluster() -> Any:
    """`web` in both families, `old` in IPv4 alone."""
    return compile_mesh(
        ingest(
            mo.Objects(
                mo.service("web", "10.96.0.1", mo.HTTP),
                mo.service("old", "10.96.0.2", mo.HTTP),
                dual("web-1", V4[0], V6[0]),
                dual("web-2", V4[1], V6[1]),
                mo.pod("old-1", "10.0.0.3"),
                of_family("web", "IPv4", *V4),
                of_family("web", "IPv6", *V6),
                of_family("old", "IPv4", "10.0.0.3"),
            )
        )
    )


def addresses(name: str, *families: int) -> list[str]:
    """Where a client of these families is sent."""
    found = build(cluster(), Type.ENDPOINTS, name, Client(namespace="shop", families=families))
    assert found is not None
    assignment = protos.message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(found.body)
    return [one.endpoint.address.socket_address.address for group in assignment.endpoints for one in group.lb_endpoints]


@pytest.mark.parametrize(
    ("families", "expected"),
    [((4,), V4), ((6,), V6), ((4, 6), V4), ((6, 4), V6), ((), (*V4, *V6))],
    ids=["IPv4", "IPv6", "dual-stack", "dual-stack, IPv6 first", "not known"],
)
def test_each_pod_is_an_endpoint_once_in_a_family_the_client_has(
    families: tuple[int, ...], expected: tuple[str, ...]
) -> None:
    """A dual-stack client's first family is preferred, as its kernel would."""
    assert addresses("shop/web:80", *families) == list(expected)


def test_other_family_is_taken_where_the_service_has_no_other() -> None:
    """And a client that has not got it has no endpoint, rather than one it cannot reach."""
    assert addresses("shop/old:80", 6, 4) == ["10.0.0.3"]
    assert addresses("shop/old:80", 6) == []


def test_pod_by_its_own_address_is_reached_in_the_clients_family() -> None:
    """A headless Service's pods; one connection, one address."""
    assert addresses("pod/shop/web-1:8080", 6) == [V6[0]]
    assert addresses("pod/shop/web-1:8080", 4, 6) == [V4[0]]
    assert addresses("pod/shop/web-1:8080") == [V4[0]]


@pytest.mark.parametrize(
    ("status", "families"),
    [
        ({"podIP": "10.0.0.1"}, (4,)),
        ({"podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]}, (6, 4)),
        ({"podIPs": [{"ip": "fd00::1"}]}, (6,)),
        ({}, ()),
    ],
)
def test_families_of_a_client_are_those_of_its_pods_addresses(
    status: dict[str, Any], families: tuple[int, ...]
) -> None:
    """In the order in which the pod has them."""
    assert families_of({"status": status}) == families
