"""The authority over uninstall and reinstall: found again by those who trust it, and told where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask, bring_pair, metrics, pods
from tests.support.objects import pod


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """A server and a client in the mesh."""
    bring_pair(shop)


def status(mesh: Mesh, shop: Kube) -> dict[str, Any]:
    found = mesh.proxies(shop.namespace)
    return {one["pod"]: one for one in found}


def connected(mesh: Mesh, shop: Kube) -> bool:
    found = status(mesh, shop)
    return len(found) == 2 and all(one["connected_since"] for one in found.values())


def test_authority_outlives_an_uninstall_and_sidecars_go_on_in_the_next_installation(shop: Kube, mesh: Mesh) -> None:
    """Nothing rolls, and those who are made later and earlier trust each other."""
    said = mesh.tulle("uninstall").stderr
    assert ask(shop, "client", "http://server/")[0][0] == 200
    again = mesh.tulle("install", "--wait").stderr

    assert "the authority they trust stays" in said
    assert "sidecars" not in again
    shop.until(lambda: connected(mesh, shop), 30, "the sidecars' return")
    shop("rollout", "restart", "deployment/server")
    shop("rollout", "status", "deployment/server", "--timeout=60s")
    assert ask(shop, "client", "http://server/")[0][0] == 200


def test_whom_another_root_strands_is_told_by_install_by_the_sidecar_and_by_proxy_status(
    shop: Kube, mesh: Mesh
) -> None:
    """Somebody took the authority as well; what helps is said, and helps."""
    mesh.tulle("uninstall", "--ca")
    said = mesh.tulle("install", "--wait").stderr
    restart = f"kubectl -n {shop.namespace} rollout restart deployment/server"
    assert restart in said
    shop.until(lambda: all(one.get("untrusted") for one in status(mesh, shop).values()), 30, "the distrust")
    assert "DOES NOT TRUST the control plane's root" in mesh.tulle("proxy-status", "-n", shop.namespace).stdout
    (server,) = pods(shop, "server")
    assert "tulle_control_plane_untrusted 1" in metrics(shop, server["metadata"]["name"])
    shop("rollout", "restart", "deployment/server")
    shop("delete", "pod", "client", "--grace-period=1")
    shop.apply(pod("client", annotations=ON))
    shop("rollout", "status", "deployment/server", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
    assert ask(shop, "client", "http://server/")[0][0] == 200
