"""Mutual TLS between sidecars, and the modes that say who else may call."""

from __future__ import annotations

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import ON, ask, metrics
from tests.support.objects import deployment, pod, service
from tulle.demo.figures import samples


def peer_authentication(mode: str) -> dict:
    return {
        "apiVersion": "tulle.dev/v1alpha1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "mode"},
        "spec": {"mtls": {"mode": mode}},
    }


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """A server and a client in the mesh, and a client outside."""
    shop.apply(deployment("server", annotations=ON), service("server"), pod("inside", annotations=ON), pod("outside"))
    shop("rollout", "status", "deployment/server", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/inside", "pod/outside", "--timeout=60s")


def server_pod(shop: Kube) -> dict:
    """The server's pod; one that a roll has sent away is not it."""
    found = shop.get("pods", "-l", "app=server")["items"]
    return next(pod for pod in found if "deletionTimestamp" not in pod["metadata"])


def received(shop: Kube) -> dict[str, float]:
    """Requests the server's sidecar received, by connection security."""
    name = server_pod(shop)["metadata"]["name"]
    counts: dict[str, float] = {}
    for labels, value in samples(metrics(shop, name), "tulle_requests_total"):
        if labels["reporter"] == "destination":
            key = labels["connection_security_policy"]
            counts[key] = counts.get(key, 0) + value
    return counts


def test_traffic_between_sidecars_is_mutual_tls(shop: Kube) -> None:
    """Every request from a mesh client arrives under both identities."""
    before = received(shop).get("mutual_tls", 0)
    answers = ask(shop, "inside", "http://server/", count=5)

    assert [status for status, _ in answers] == [200] * 5
    assert received(shop)["mutual_tls"] - before == 5


def test_both_identities_are_on_the_metrics(shop: Kube) -> None:
    """The destination knows the caller's SPIFFE id."""
    ask(shop, "inside", "http://server/")
    name = server_pod(shop)["metadata"]["name"]
    principals = {labels["source_principal"] for labels, _ in samples(metrics(shop, name), "tulle_requests_total")}

    assert any(p.endswith(f"/ns/{shop.namespace}/sa/default") for p in principals)


def test_permissive_takes_plaintext_from_outside_the_mesh(shop: Kube) -> None:
    """A client without a sidecar is served by default."""
    assert ask(shop, "outside", "http://server/")[0][0] == 200


def test_mesh_client_reaches_services_outside_the_mesh(shop: Kube) -> None:
    """A server without a sidecar is called in plaintext."""
    shop.apply(deployment("plain"), service("plain"))
    shop("rollout", "status", "deployment/plain", "--timeout=60s")

    assert ask(shop, "inside", "http://plain/")[0][0] == 200


def test_strict_refuses_plaintext_and_keeps_probes_and_mesh_clients(shop: Kube) -> None:
    """Under STRICT only mesh TLS comes in, the kubelet's probes go on, and going back opens it again."""
    shop.apply(peer_authentication("STRICT"))
    try:
        shop.until(lambda: ask(shop, "outside", "http://server/")[0][0] == 0, 20, "STRICT")
        assert ask(shop, "inside", "http://server/")[0][0] == 200
        shop("rollout", "restart", "deployment/server")
        shop("rollout", "status", "deployment/server", "--timeout=60s")
        assert ask(shop, "inside", "http://server/")[0][0] == 200
    finally:
        shop("delete", "peerauthentication", "mode")
    shop.until(lambda: ask(shop, "outside", "http://server/")[0][0] == 200, 20, "PERMISSIVE again")


def test_pod_ip_is_reached_by_mutual_tls_too(shop: Kube) -> None:
    """A mesh pod called by its own address is called under mesh TLS."""
    before = received(shop).get("mutual_tls", 0)
    address = server_pod(shop)["status"]["podIP"]

    assert ask(shop, "inside", f"http://{address}:8080/")[0][0] == 200
    assert received(shop)["mutual_tls"] - before == 1
