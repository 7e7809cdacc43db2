"""What every connection is handed: the tables in force, the means to reach the world, and the counters.

In: built once by `app.py` with keyword arguments; tests build it with stand-ins. Out: plain attributes.
One per worker; nothing in it is shared between threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any

from dataplane.proxy.limits import ProxyLimits
from dataplane.telemetry.labels import NOBODY, Workload
from dataplane.telemetry.metrics import Metrics

_BATCH = 256


class Runtime:
    """Everything a connection needs that is not its own."""

    __slots__ = (
        "_ids",
        "_next_id",
        "_settling",
        "access_log",
        "active",
        "clock",
        "dialer",
        "dirty",
        "discovery",
        "downstreams",
        "draining",
        "limits",
        "metrics",
        "most_active",
        "now",
        "own",
        "tables",
        "timers",
        "tls",
        "upstreams",
    )

    tables: Any
    """`tables.compile.Tables` in force; swapped whole by `install`."""
    dialer: Any
    """`net.dial.Dialer`."""
    timers: Any
    """`net.timers.Timers`."""
    metrics: Metrics
    tls: Any
    """`net.tls`: contexts by config noun."""
    discovery: Any
    """`want(listener_name, callback)`: calls back once with True (known now) or False (unknown)."""
    limits: ProxyLimits
    own: Workload
    """This pod's telemetry labels."""
    clock: Callable[[], float]
    """Seconds, monotonic."""
    access_log: Any
    """`telemetry.accesslog.AccessLog`, or None while off."""
    draining: bool
    now: float
    """`clock()` as of the last `tick()`, good to a turn."""
    active: int
    """Requests in flight."""
    dirty: list[Any]
    """HTTP connections with something to flush."""
    downstreams: set[Any]
    upstreams: set[Any]

    def __init__(
        self, *, tables: Any = None, limits: ProxyLimits | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self.tables = tables
        self.limits = limits or ProxyLimits()
        self.clock = clock
        self.dialer = None
        self.timers = None
        self.metrics = Metrics()
        self.tls = None
        self.discovery = None
        self.own = NOBODY
        self.access_log = None
        self.draining = False
        self.now = clock()
        self.active = 0
        self.most_active = self.limits.active_requests
        self.dirty = []
        self.downstreams = set()
        self.upstreams = set()
        self._settling = False
        self._ids = b""
        self._next_id = _BATCH

    def install(self, tables: Any) -> None:
        """Put new tables in force; connections to endpoints that are gone finish what they have and close."""
        self.tables = tables
        for slot in tables.retired:
            slot.retire()

    def tick(self) -> float:
        """Read the clock."""
        self.now = self.clock()
        return self.now

    def settle(self) -> None:
        """Flush what was written since the last call; every entry point from the net ends with this."""
        if self._settling:
            return
        self._settling = True
        try:
            dirty = self.dirty
            index = 0
            while index < len(dirty):
                dirty[index].flush()
                index += 1
            dirty.clear()
        finally:
            self._settling = False

    def make_id(self) -> bytes:
        """Make a request id in UUID form (random, version bits not set apart: nobody reads them)."""
        if self._next_id >= _BATCH:
            self._ids = os.urandom(16 * _BATCH).hex().encode()
            self._next_id = 0
        at = self._next_id * 32
        self._next_id += 1
        ids = self._ids
        return b"-".join(
            (
                ids[at : at + 8],
                ids[at + 8 : at + 12],
                ids[at + 12 : at + 16],
                ids[at + 16 : at + 20],
                ids[at + 20 : at + 32],
            )
        )

    def drain(self) -> None:
        """Begin a graceful end: clients are told to open nothing more here, what is on the way is finished."""
        self.draining = True
        for connection in list(self.downstreams):
            connection.drain()
        self.settle()

    @property
    def connections(self) -> int:
        """HTTP connections open, from clients and to servers."""
        return len(self.downstreams) + len(self.upstreams)
