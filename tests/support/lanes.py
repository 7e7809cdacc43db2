"""Lanes: the whole suite in some processes at a time, a file of tests in one of them, from its first test to its last.

All that needs a cluster is one lane's: one cluster lives at a time. What other lanes compute is run behind it, for a cluster is judged by the clock.
"""

from __future__ import annotations

import os
from contextlib import suppress

CLUSTERED = ("tests/chaos/", "tests/cluster/", "tests/mesh/")
"""Where the tests are that use a cluster: together they take longest, so these stand near the beginning."""
CLUSTER = "cluster"
BEHIND = 5
"""Niceness of what runs beside a cluster: a third of its share where both want the processor."""
_FIRST = os.getpriority(os.PRIO_PROCESS, 0)


def lane_of(nodeid: str) -> str:
    """Name what a test shares a lane with: its file, or all that need a cluster."""
    return CLUSTER if nodeid.startswith(CLUSTERED) else nodeid.partition("::")[0]


def take_place(nodeid: str) -> None:
    """Let a test, and the programs it starts, run before or behind what other lanes do; without the right to it, beside."""
    nice = _FIRST + (0 if lane_of(nodeid) == CLUSTER else BEHIND)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
