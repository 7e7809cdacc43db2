"""The destinations this workload uses: the one owner of what is subscribed to, and the one rule by which that ends.

In: `want` and `touch` from accepted connections, `adopt` for the control plane's hint at start, `report` of other workers, a clock. Out: `want` and
`drop` on the subscriptions, and one call of each callback with the `Finding`. Nobody waits for a control plane that is away: who asks then
hears `ASKED`, and the connection passes through as plain Kubernetes.

| a destination is | when | ends |
|---|---|---|
| open | a connection to it is open in a worker, or waits for the answer | never |
| recent | none is, and it was used, or hinted at, within `idle_seconds` | becomes idle |
| idle | else, and the control plane is there to be asked again | at the next sweep |
| kept | else: the control plane is away. That time does not count | never |

Whatever it is, at most `MOST` are kept, and what they lead to is no more than `MOST_HELD`: the least recently used goes first, of those that are not open if there are any.
Before those goes what leads to too much by itself, and of what is not open what leads to much.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from dataplane.finding import ASKED, Finding, Found
from dataplane.net.timers import Timer, Timers
from dataplane.telemetry.metrics import Counter

ANSWER_SECONDS = 2.0
"""How long a connection waits for the control plane to say what its destination is."""
WARM_SECONDS = 10.0
"""How long readiness waits for the destinations the control plane named at start."""
IDLE_SECONDS = 600.0
"""A destination without a connection that nobody asked for in this long is let go, where the settings say nothing else."""
MOST = 20_000
"""Destinations kept; what a control plane lets one stream subscribe to is more than twice that."""
MOST_HELD = (90_000, 45_000)
"""Names held of all types of resources, and of one: a route table may lead to any number of clusters. The control plane bears 100,000 and 50,000."""
_ROOM = 16
"""Share of them let go at once when there is no room, so that looking for them costs little a destination."""
_MUCH_ROOM = 4
"""The same where they lead to too much."""
_MUCH = 16
"""A destination that leads to more than this share of what may be held leads to much."""

Callback = Callable[[Finding], None]


class Subscriptions(Protocol):
    """What is subscribed: `xds.session`, or a stand-in."""

    def want(self, name: str) -> None:
        """Subscribe to a listener and what it refers to."""

    def drop(self, names: AbstractSet[str]) -> None:
        """Let listeners go, and take their tables away in the same step."""

    def find(self, name: str) -> Finding:
        """Tell what is known of a listener now."""

    def held(self) -> tuple[int, int]:
        """Count the names subscribed to, and to be: of all types, and of the one that has most."""

    def leading(self, more_than: int) -> Mapping[str, tuple[int, int]]:
        """Name the listeners that lead to more names than that, each with the same counts of those."""


class Discovery:
    """The destinations this workload uses, and who waits for one."""

    def __init__(
        self,
        timers: Timers,
        clock: Callable[[], float],
        subscriptions: Subscriptions,
        opened: Callable[[], AbstractSet[str]],
        overflow: Counter,
    ) -> None:
        self.connected = True
        """Whether the control plane can be asked now, as far as is known: at the start nobody has tried."""
        self.most = MOST
        """Destinations kept at most."""
        self.idle_seconds = IDLE_SECONDS
        self.most_held = MOST_HELD
        self._timers = timers
        self._clock = clock
        self._subscriptions = subscriptions
        self._opened = opened
        self._overflow = overflow
        """Of destinations let go because there were too many."""
        self._used: dict[str, float] = {}
        """The destinations, and when each was last used by the time there was a control plane."""
        self._waiting: dict[str, tuple[list[Callback], Timer]] = {}
        self._elsewhere: dict[int, set[str]] = {}
        """By worker: what it said is open there, and what it used since."""
        self._warming: set[str] | None = None
        """Destinations hinted at that are not known yet; None before any were."""
        self._lightening = False
        """It is being let go of what is too much, which is a change itself."""
        self._connected_at = clock()
        self._before = 0.0
        """Time with a control plane before the last connection, seconds."""

    @property
    def names(self) -> AbstractSet[str]:
        """The destinations kept."""
        return self._used.keys()

    # --- uses ---------------------------------------------------------------------------------------------------------

    def want(self, name: str, callback: Callback, worker: int = 0) -> None:
        """Call back once with what is known of this listener: at once where that is something or nobody can be asked, else within 2 s."""
        self._use(name, worker)
        finding = self._subscriptions.find(name)
        if finding.found is not Found.ASKED or not self.connected:
            callback(finding)
        elif name in self._waiting:
            self._waiting[name][0].append(callback)
        else:
            self._waiting[name] = ([callback], self._timers.after(ANSWER_SECONDS, lambda: self._answer(name, ASKED)))

    def touch(self, name: str, worker: int = 0) -> None:
        """Note that a connection to a destination was opened."""
        self._use(name, worker)

    def adopt(self, names: Iterable[str]) -> None:
        """Take what this workload is said to use for its own, once: a hint at start, which ends as uses do."""
        if self._warming is not None:
            return
        hinted = list(names)[-self.most :]
        self._warming = set(hinted)
        for name in hinted:
            self._use(name, 0)
        self._timers.after(WARM_SECONDS, self._warmed)

    @property
    def warm(self) -> bool:
        """Whether what was hinted at is known, or was waited for long enough."""
        return self._warming is not None and not self._warming

    def report(self, worker: int, names: AbstractSet[str]) -> None:
        """Take what another worker has open; what it opens from now on it tells by `want` and `touch`."""
        self._elsewhere[worker] = names & self._used.keys()

    # --- the control plane --------------------------------------------------------------------------------------------

    def connection(self, there: bool) -> None:
        """The control plane can be asked from now on, or no more: then everybody who waits passes."""
        if there == self.connected:
            return
        if there:
            self._connected_at = self._clock()
        else:
            self._before = self._now()
        self.connected = there
        if not there:
            for name in list(self._waiting):
                self._answer(name, ASKED)

    def changed(self) -> None:
        """The configuration changed: let go of what is too much, answer who waited for what is known now."""
        if not self._lightening:
            self._lightening = True
            try:
                while self._used and self._too_much(self._subscriptions.held()):
                    self._lighten()
            finally:  # a defect in who hears of it ends this change, and not the bound
                self._lightening = False
        for name in list(self._waiting):
            finding = self._subscriptions.find(name)
            if finding.found is not Found.ASKED:
                self._answer(name, finding)
        if self._warming:
            find = self._subscriptions.find
            self._warming = {name for name in self._warming if find(name).found is Found.ASKED}

    # --- ending -------------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Let go of what is idle; called now and then."""
        if not self.connected:
            return
        now = self._now()
        for name in self._open() & self._used.keys():
            self._used[name] = now
        self._let_go({name for name, used in self._used.items() if now - used > self.idle_seconds})

    def _use(self, name: str, worker: int) -> None:
        fresh = name not in self._used
        if fresh and len(self._used) >= self.most:
            self._make_room(_ROOM)
        self._used[name] = self._now()
        if worker:
            self._elsewhere.setdefault(worker, set()).add(name)
        if fresh:
            self._subscriptions.want(name)

    def _too_much(self, counts: tuple[int, int]) -> bool:
        return any(map(operator.gt, counts, self.most_held))

    def _lighten(self) -> None:
        """Let go of those without which least is lost for what they lead to."""
        leading = self._subscriptions.leading(min(self.most_held) // _MUCH)
        much = {name: counts for name, counts in leading.items() if name in self._used}
        if alone := {name for name, counts in much.items() if self._too_much(counts)}:
            self._overflow_by(alone)
        elif idle := sorted(much.keys() - self._open(), key=lambda name: (much[name], name), reverse=True):
            self._overflow_by(set(idle[: len(idle) // _MUCH_ROOM + 1]))
        else:
            self._make_room(_MUCH_ROOM)

    def _make_room(self, share: int) -> None:
        open_ = self._open()
        ranked = sorted((name in open_, used, name) for name, used in self._used.items())
        self._overflow_by({name for _, _, name in ranked[: len(ranked) // share + 1]})

    def _overflow_by(self, names: AbstractSet[str]) -> None:
        self._overflow.value += len(names)
        self._let_go(names)

    def _let_go(self, names: AbstractSet[str]) -> None:
        if not names:
            return
        for name in names:
            del self._used[name]
        for elsewhere in self._elsewhere.values():
            elsewhere.difference_update(names)
        if self._warming:
            self._warming -= names
        self._subscriptions.drop(names)
        for name in names & self._waiting.keys():
            self._answer(name, ASKED)

    def _open(self) -> set[str]:
        """Name what has a connection in any worker, or somebody waiting for one."""
        return set().union(self._opened(), self._waiting, *self._elsewhere.values())

    # --- answers and time ---------------------------------------------------------------------------------------------

    def _answer(self, name: str, finding: Finding) -> None:
        waiting = self._waiting.pop(name, None)
        if waiting is None:
            return  # who heard before may have asked for more, and had this one let go
        callbacks, timer = waiting
        timer.cancel()
        for callback in callbacks:
            callback(finding)

    def _warmed(self) -> None:
        self._warming = set()

    def _now(self) -> float:
        """Tell the time as far as there was a control plane."""
        return self._before + (self._clock() - self._connected_at if self.connected else 0.0)
