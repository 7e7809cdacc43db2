"""Where a test runs when the suite has lanes (`tests/support/lanes.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lanes import BEHIND, lane_of

ROOT = Path(__file__).resolve().parents[2]
PORTS = "from tests.support.ports import _MINE; print(*_MINE)"
PLACES = """
import os
from tests.support.lanes import take_place
for nodeid in ("tests/dataplane/test_a.py::test_b", "tests/mesh/test_a.py::test_b"):
    take_place(nodeid)
    print(os.getpriority(os.PRIO_PROCESS, 0))
"""


def said(code: str, **environment: str) -> list[int]:
    """The numbers a program of its own prints."""
    command, environ = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ | environment, capture_output=True, text=True, check=True)
    return [int(one) for one in done.stdout.split()]


def test_all_that_need_a_cluster_share_a_lane(request: pytest.FixtureRequest) -> None:
    """Of the tests of this run; else two clusters live at a time, and the mesh of each is slow."""
    clustered = {item.nodeid for item in request.session.items if "kubeconfig" in getattr(item, "fixturenames", ())}

    assert {lane_of(nodeid) for nodeid in clustered} <= {"cluster"}


@pytest.mark.parametrize(
    ("nodeid", "lane"),
    [
        ("tests/mesh/test_a.py::test_b[c::d]", "cluster"),
        ("tests/chaos/test_a.py::test_b", "cluster"),
        ("tests/dataplane/test_a.py::TestB::runTest", "tests/dataplane/test_a.py"),
        ("tests/dataplane/test_a.py::test_b[c::d]", "tests/dataplane/test_a.py"),
    ],
)
def test_a_file_has_one_lane(nodeid: str, lane: str) -> None:
    """Since what its tests share is made once a module."""
    assert lane_of(nodeid) == lane


def test_no_port_is_given_to_two_lanes() -> None:
    """A port is free when it is looked for and taken when it is bound: between the two another lane must not find it."""
    one, other = (set(said(PORTS, PYTEST_XDIST_WORKER=lane, PYTEST_XDIST_WORKER_COUNT="2")) for lane in ("gw0", "gw1"))

    assert min(len(one), len(other)) > 5000
    assert not one & other


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may come before others again")
def test_what_is_computed_stands_behind_a_cluster() -> None:
    """And the lane of the cluster where it began."""
    behind, before = said(PLACES)

    assert behind - before == BEHIND
