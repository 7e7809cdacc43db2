"""The version before and this one side by side, under load: each one's sidecars with the other's control plane, both ways."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.test_mesh_resilience import hammering, outcome
from tests.support.cluster import FORMER, FORMER_IMAGE, ROOT, Kube
from tests.support.mesh import ON, Mesh, pods
from tests.support.objects import deployment, pod, service

VERSION = "5a33c04"
"""The last commit of the version before; there are no tags."""
TAG = FORMER_IMAGE.partition(":")[2]


@pytest.fixture(scope="module")
def chart(kubeconfig: Path) -> Path:
    """The chart of the version before, whose tree is where its image looks for it."""
    if os.environ.get("KUBECONFIG"):
        pytest.skip("the image of the version before is devcluster's")
    asked = subprocess.run(["git", "archive", VERSION], cwd=ROOT, capture_output=True, check=False)
    if asked.returncode:
        pytest.skip(f"the history does not reach {VERSION}")
    tree = kubeconfig.parent / FORMER
    with tarfile.open(fileobj=io.BytesIO(asked.stdout)) as archive:
        archive.extractall(tree, filter="data")
    return tree / "charts" / "tulle"


@pytest.fixture(autouse=True)
def restored(mesh: Mesh) -> Iterator[None]:
    """What is under test, whatever happens."""
    yield
    mesh.tulle("install", "--wait", "--set", "image.tag=")


def former(mesh: Mesh, chart: Path) -> None:
    """Install the version before over what is there."""
    mesh.tulle("install", "--wait", "--chart", str(chart), "--set", f"image.tag={TAG}")


def images(shop: Kube, app: str) -> set[str]:
    """What an app's sidecars run."""
    every = [c for p in pods(shop, app) for c in (*p["spec"]["containers"], *p["spec"].get("initContainers", ()))]
    return {c["image"] for c in every if c["name"] == "tulle-proxy"}


def rolled(shop: Kube) -> None:
    shop("rollout", "restart", "deployment/server")
    shop("rollout", "status", "deployment/server", "--timeout=90s")


@pytest.mark.timeout(300)
def test_upgrade_and_rollback_lose_nothing(shop: Kube, mesh: Mesh, chart: Path) -> None:
    """Control plane first, sidecars after, and back; the callers of either version see answers alone."""
    former(mesh, chart)
    shop.apply(deployment("server", replicas=2, annotations=ON), service("server"), pod("client", annotations=ON))
    shop("rollout", "status", "deployment/server", "--timeout=90s")
    shop("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
    assert images(shop, "server") == {FORMER_IMAGE}
    with hammering(shop, 40) as load:
        mesh.tulle("install", "--wait", "--set", "image.tag=")
        rolled(shop)
        upgraded = outcome(load)
    assert FORMER_IMAGE not in images(shop, "server")
    shop.apply(pod("younger", annotations=ON))
    shop("wait", "--for=condition=Ready", "pod/younger", "--timeout=60s")
    with hammering(shop, 40, "younger") as load:
        former(mesh, chart)
        rolled(shop)
        back = outcome(load)

    assert images(shop, "server") == {FORMER_IMAGE}
    for seen in (upgraded, back):
        assert seen["requests"] > 100
        assert seen["bad"] == []
