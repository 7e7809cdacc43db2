"""What every connection is handed: the tables in force, the means to reach the world, and the counters.

In: built once by `app.py` around a poller; the other parts are set before the first connection. Out: plain attributes.
One per worker; nothing in it is shared between threads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from dataplane.chance import dice
from dataplane.net.poller import Poller
from dataplane.net.timers import Timers
from dataplane.proxy.request.life import AstrayError
from dataplane.proxy.request.notes import HeadNotes
from dataplane.proxy.worker.bounds import Bounds
from dataplane.proxy.worker.overload import HOLD, MEANING, SAVE, SHED, WORDS, Overload
from dataplane.tables.compile import Tables
from dataplane.telemetry.labels import NOBODY, Workload
from dataplane.telemetry.metrics import Metrics

_log = logging.getLogger("tulle.proxy")
_PACE = 0.1
"""How late a limit kept by looking now and then may be noticed, as a share of it."""
_SHORTEST = 0.05
_REVIEW_SECONDS = 0.005
"""How long traffic may wait for connections to look at new tables; then it is its turn."""
CLOSE_IDLE_AFTER = 1.0
"""Seconds between telling clients that we go and refusing what they still open."""
MOVED_ON_AFTER = 0.5
"""Seconds in which nobody comes who has not heard that we go: then the callers have heard."""


class Runtime:
    """Everything a connection needs that is not its own."""

    __slots__ = (
        "_pace",
        "_reviewed",
        "_sweeper",
        "access_log",
        "active",
        "bounds",
        "captures",
        "dialer",
        "dice",
        "discovery",
        "downstreams",
        "draining",
        "hold",
        "introduction",
        "latecomer",
        "metrics",
        "most_active",
        "notes",
        "overload",
        "own",
        "pending_bytes",
        "poller",
        "relaying",
        "replay_bytes",
        "resting",
        "saving",
        "set_aside",
        "shedding",
        "strict",
        "tables",
        "timers",
        "tls",
        "upstreams",
    )

    poller: Poller
    timers: Timers
    tables: Tables
    """In force; swapped whole by `install`."""
    dialer: Any
    """`net.dial.Dialer`."""
    metrics: Metrics
    tls: Any
    """`net.tls.TlsContexts`."""
    discovery: Any
    """`want(listener_name, callback)`: calls back once with True (known now) or False (unknown)."""
    bounds: Bounds
    own: Workload
    """This pod's telemetry labels."""
    dice: Callable[[], float]
    """A number in [0, 1) for weights and jitter."""
    access_log: Any
    """`telemetry.accesslog.AccessLog`, or None while off."""
    notes: HeadNotes
    draining: bool
    """Who opens connections to this pod is told to go elsewhere."""
    latecomer: float
    """When the last guest came who had not heard of that; minus infinity for none."""
    captures: bool
    """What is not inbound is opened by this pod's own app, which cannot go elsewhere."""
    active: int
    """Requests in flight."""
    saving: bool
    """The sidecar begins to be behind: clients' connections end with their next answer."""
    shedding: bool
    """It is behind: new requests are refused."""
    hold: Callable[[bool], None]
    """Called when it is so far behind that no connection is to be accepted, and when that is over."""
    introduction: bytes
    """Our telemetry labels for the sidecars we call; empty for none."""
    downstreams: set[Any]
    relaying: set[Any]
    """Opaque connections of clients."""
    resting: dict[Any, None]
    """Carriers of opaque connections that carry none; who has rested longest is first."""
    upstreams: set[Any]

    def __init__(self, poller: Poller, *, tables: Tables | None = None, bounds: Bounds | None = None) -> None:
        self.poller = poller
        self.timers = poller.timers
        self.tables = tables or Tables()
        self.bounds = bounds or Bounds()
        self.dialer = None
        self.metrics = Metrics()
        self.tls = None
        self.discovery = None
        self.own = NOBODY
        self.overload = Overload(self.timers, self.clock, poller.when_stirred)
        self.overload.tell = self._judged
        self.saving = self.shedding = False
        self.hold = lambda _: None
        self.dice = dice
        self.access_log = None
        self.notes = HeadNotes()
        self.draining = False
        self.latecomer = -math.inf
        self.strict = False
        """Raise where an exchange is taken astray, which is what tests want."""
        self.captures = False
        self.active = 0
        self.most_active = self.bounds.active_requests
        self.pending_bytes = self.bounds.pending_bytes
        self.replay_bytes = self.bounds.replay_bytes
        self.set_aside = self.bounds.set_aside
        self.introduction = b""
        self.downstreams = set()
        self.relaying = set()
        self.resting = {}
        self._reviewed: list[Any] = []
        """Clients' connections that are still to look at the tables in force."""
        self.upstreams = set()
        self._sweeper: Any = None
        self._pace = self._paced()
        self._show()

    def _show(self) -> None:
        """Have what counts nothing by itself told with the metrics."""
        self.metrics.gauge(
            "tulle_overload_level",
            "0 at ease, 1 connections are not kept, 2 requests are refused, 3 no connection is accepted.",
            lambda: self.overload.level,
        )
        self.metrics.gauge(
            "tulle_endpoints_set_aside",
            "Endpoints passed over because they failed.",
            lambda: sum(cluster.passed_over for cluster in self.tables.clusters.values()),
        )
        self.metrics.gauge(
            "tulle_carriers_resting",
            "Mesh connections kept for the next opaque connection, both ways.",
            lambda: len(self.resting),
        )

    def install(self, tables: Tables) -> None:
        """Put new tables in force; connections to endpoints that are gone finish what they have and close.

        What is open looks at them at once where its listener changed, and not at its next request: rules hold for idle
        connections and for opaque ones as well.
        """
        before, self.tables = self.tables, tables
        for slot in tables.retired:
            slot.retire()
        for cluster in tables.renewed:
            for slot in cluster.all_slots():
                slot.follow(cluster)
        if tables.listeners is not before.listeners:
            self._reviewed = [*self.downstreams, *self.relaying, *self.resting]
            self._review()
        pace = self._paced()
        if pace != self._pace:
            self._pace = pace
            if self._sweeper is not None:
                self._sweeper.cancel()
                self._sweep_later()

    def _review(self) -> None:
        """Have open connections look at the tables in force, for a moment at a time."""
        until = self.clock() + _REVIEW_SECONDS
        left = self._reviewed
        try:
            while left and self.clock() <= until:
                left.pop().review()
        finally:
            if left:  # also after a defect in one of them: the others look all the same
                self.timers.after(0.0, self._review)

    @property
    def reviewing(self) -> bool:
        """Whether connections are left that have not looked at the tables in force."""
        return bool(self._reviewed)

    def astray(self, what: str) -> bool:
        """Count an exchange that was taken where its tables do not lead; in tests that raises. False, for the caller to stop by."""
        self.metrics.events.of("exchange_astray").value += 1
        if self.strict:
            raise AstrayError(what)
        return False

    def clock(self) -> float:
        """Seconds, monotonic, exact."""
        return self.poller.kernel.now()

    # --- over all connections -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look at idle limits and at our own load now and then."""
        self._sweep_later()
        self.overload.start()

    def _sweep_later(self) -> None:
        self._sweeper = self.timers.after(self._pace, self._sweep)

    def _paced(self) -> float:
        """Look often enough for the shortest limit in the configuration, and not more often."""
        patience = self.tables.patience
        return min(self.bounds.sweep, max(patience * _PACE, _SHORTEST)) if patience > 0 else self.bounds.sweep

    def _judged(self, level: int, before: int) -> None:
        """The load rose or fell to another level."""
        if level > before:
            self.metrics.events.of(f"overload_{WORDS[level]}").value += 1
        _log.warning("overload: %s (%s)", MEANING[level], self.overload.reason or "at ease")
        self.saving = level >= SAVE
        self.shedding = level >= SHED
        if (level >= HOLD) != (before >= HOLD):
            self.hold(level >= HOLD)

    def stop(self) -> None:
        """Give up every connection at once."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = None
        for connection in [*self.downstreams, *self.upstreams, *self.resting]:
            if connection.stream is not None:
                connection.stream.abort()

    def _sweep(self) -> None:
        self._sweep_later()  # first: a defect in one connection ends no other's limits
        now = self.clock()
        for downstream in list(self.downstreams):
            downstream.sweep(now)
        for connection in [*self.upstreams, *self.resting]:
            connection.sweep(now)
        if self.discovery is not None:
            for relay in list(self.relaying):
                relay.touch()

    def drain(self) -> None:
        """Begin a graceful end: guests are told to open nothing more here, what is on the way is finished.

        This pod's own app is told nothing: its next connection would come here again, at once, and be told the same.
        """
        self.draining = True
        for connection in list(self.downstreams):
            if connection.guest:
                connection.drain()
        self._let_go(guests=True)
        self.timers.after(CLOSE_IDLE_AFTER, self._refuse_late)

    def _refuse_late(self) -> None:
        """End who was told, again and again: who comes while we wait for the last to go is served once."""
        if self.draining:
            now = self.clock()
            for connection in list(self.downstreams):
                if connection.guest:
                    connection.shut_late(now)
            self.timers.after(CLOSE_IDLE_AFTER, self._refuse_late)

    def drain_rest(self) -> None:
        """End for this pod's own app as well; for when no connection is accepted any more."""
        for connection in list(self.downstreams):
            connection.shut()
        self._let_go()

    def _let_go(self, *, guests: bool = False) -> None:
        """Close the carriers that carry nothing; with `guests` only those whose connections the peer opens."""
        for carrier in list(self.resting):
            if carrier.guest or not guests:
                carrier.close()

    @property
    def serving(self) -> int:
        """Requests of guests in flight."""
        return sum(connection.busy for connection in self.downstreams if connection.guest)

    @property
    def wanted(self) -> bool:
        """Whether callers have not moved on: a guest waits for an answer, or one who has not heard that we go came a moment ago and will come again."""
        return self.serving > 0 or self.clock() - self.latecomer < MOVED_ON_AFTER

    @property
    def relays(self) -> int:
        """Opaque connections open."""
        return sum(series.opened - series.closed for series in self.metrics.tcps.values())

    @property
    def connections(self) -> int:
        """HTTP connections open, from clients and to servers."""
        return len(self.downstreams) + len(self.upstreams)
