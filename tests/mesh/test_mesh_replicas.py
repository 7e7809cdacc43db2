"""Several replicas of the control plane: all serve, one leads, and losing any of them is not seen by traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.mesh.test_mesh_resilience import hammering, outcome
from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, bring_pair, is_injected
from tests.support.objects import deployment, pod


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube, two: list[str]) -> None:
    """A server and a client in the mesh, taken in by two replicas."""
    assert len(two) == 2
    bring_pair(shop, replicas=2)


@pytest.fixture(scope="module")
def two(mesh: Mesh) -> Iterator[list[str]]:
    """Two replicas."""
    mesh.tulle("install", "--wait", "--set", "replicas=2")
    mesh.system("rollout", "status", "deploy/tulle", "--timeout=60s")
    yield replicas(mesh)
    mesh.tulle("install", "--wait", "--set", "replicas=1")
    mesh.system("rollout", "status", "deploy/tulle", "--timeout=60s")


def replicas(mesh: Mesh) -> list[str]:
    """Names of the ready replicas that are not going away."""
    pods = mesh.system.get("pods", "-l", "app.kubernetes.io/name=tulle")["items"]
    return [p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"]]


def leader(mesh: Mesh) -> str:
    holder: str = mesh.system.get("lease", "tulle")["spec"]["holderIdentity"]
    return holder


def test_both_serve_and_one_leads(mesh: Mesh) -> None:
    """Each answers for itself; the Lease names one of them; the mesh is well."""
    ready = [
        mesh.system("get", "--raw", f"/api/v1/namespaces/tulle-system/pods/{n}:15014/proxy/readyz")
        for n in replicas(mesh)
    ]

    assert len(ready) == 2
    assert leader(mesh) in replicas(mesh)
    assert mesh.tulle("check").returncode == 0


def test_killing_the_leader_under_load_loses_nothing(shop: Kube, mesh: Mesh) -> None:
    """Another leads, sidecars go over to it, pods are injected meanwhile, and a route's status is written again."""
    first = leader(mesh)
    with hammering(shop, 12) as load:
        mesh.system("delete", "pod", first, "--grace-period=0", "--force")
        shop("create", "-f", "-", stdin=json.dumps(pod("meanwhile", annotations=ON)))
        seen = outcome(load)

    assert seen["bad"] == []
    assert is_injected(shop.get("pod", "meanwhile"))
    shop.until(lambda: leader(mesh) not in ("", first), 40, "another leader")
    shop.until(lambda: connected(mesh, shop) >= {"client", "meanwhile"}, 30, "the sidecars' return")
    generation = mesh.system.get("mesh", "default")["status"]["conditions"][0]
    assert generation["status"] == "True"
    shop.apply(deployment("late"))
    shop("rollout", "status", "deployment/late", "--timeout=60s")
    shop("annotate", "deployment", "late", "tulle.dev/inject=enabled")
    shop.until(lambda: injected(shop, "late"), 40, "the new leader's first roll")


def connected(mesh: Mesh, shop: Kube) -> set[str]:
    proxies = mesh.proxies(shop.namespace)
    return {one["pod"] for one in proxies}


def injected(shop: Kube, app: str) -> bool:
    pods = shop.get("pods", "-l", f"app={app}")["items"]
    found = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    return bool(found) and all(is_injected(p) for p in found)
