"""Ports for programs that bind their own: below those the kernel gives to clients, and none twice in a run, whatever lane asks.

In: how many. Out: port numbers on which nobody listens now. Raises RuntimeError when none are left.
"""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress

_LANE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_LANES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_MINE = range(20000 + _LANE % _LANES, 32000, _LANES)
_LEFT = iter(random.sample(_MINE, len(_MINE)))


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, all different."""
    found: list[int] = []
    for port in _LEFT:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no port from 20000 to 31999 is left to this lane")
