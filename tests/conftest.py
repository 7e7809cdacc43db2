"""Fixtures every tier may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Kube, fresh_namespace, running_cluster
from tests.support.lanes import take_place
from tests.support.mesh import Mesh, installed_mesh
from tests.support.virtual import left_open


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Say what shares a lane where `-n` asks for some."""
    from tests.support.scheduling import Lanes

    return Lanes(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where there are lanes, let a cluster come first."""
    if hasattr(item.config, "workerinput"):
        take_place(item.nodeid)


@pytest.fixture(autouse=True)
def _loops_are_closed() -> Iterator[None]:
    """Name the test that leaves a loop open; else the one is named during which it happens to be collected."""
    before = left_open()
    yield
    left = left_open() - before
    for loop in left:
        loop.close()
    assert not left, "event loops were left open"


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cluster of this session (KUBECONFIG's, or a devcluster)."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as path:
        yield path


@pytest.fixture(scope="module")
def kube(kubeconfig: Path) -> Iterator[Kube]:
    """Kubectl in a namespace of the module's own."""
    with fresh_namespace(kubeconfig, "test") as kube:
        yield kube


@pytest.fixture(scope="session")
def mesh(kubeconfig: Path) -> Iterator[Mesh]:
    """Tulle, installed in the session's cluster."""
    with installed_mesh(kubeconfig) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def shop(kubeconfig: Path, mesh: Mesh) -> Iterator[Kube]:
    """Kubectl in a namespace of the module's own, in a cluster with the mesh."""
    with fresh_namespace(kubeconfig, "mesh") as kube:
        yield kube
