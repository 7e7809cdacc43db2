"""Store to snapshot to streams, after each burst of changes.

In: changes of the store and of the roots. Out: a new snapshot in the `Source`, which tells its streams what changed, and the snapshot to whoever listens (status). The arrows in
between are pure; here is only when they run: a slice at a time, and what they make is seen at their end. Problems in users' objects are logged once, when they come up.
It refuses nothing: a fault in a pass
is logged with its trace, the last good snapshot goes on being served, and the next change tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.compiler.passes import compiling
from controlplane.compiler.reads import changed
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.ingest.assemble import KINDS, ingesting
from controlplane.model.mesh import Model
from controlplane.model.meta import Key, Problem
from controlplane.model.steps import Steps, finished
from controlplane.timing import Collector
from controlplane.xds.debounce import Debounce
from controlplane.xds.pace import in_slices
from controlplane.xds.source import Source

URGENT = frozenset({"EndpointSlice", "Pod", "Service"})
_READ = frozenset(KINDS)
"""The store holds what others read as well."""
MANY = 1000
"""Changes of which most will live as long as the cluster does: a list was read."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Figures:
    """How publishing goes, for metrics."""

    snapshots: int = 0
    failures: int = 0
    seconds: float = 0.0
    last_seconds: float = 0.0


class Publisher:
    """The one place where snapshots are swapped."""

    def __init__(self, store: ObjectStore, source: Source, *, trust_domain: str, roots: Callable[[], str]) -> None:
        self._store = store
        self._source = source
        self._trust_domain = trust_domain
        self._roots = roots
        self._debounce = Debounce()
        self._wake = asyncio.Event()
        self._model: Model | None = None
        self._changed: set[Ref] = set()
        """What changed since the last snapshot."""
        self._taken: set[Ref] = set()
        """What changed for the one that is being made."""
        self._doubted = False
        """Whether the next pass is to begin from nothing."""
        self._problems: frozenset[Problem] = frozenset()
        self._listeners: list[Callable[[MeshSnapshot], None]] = []
        self.figures = Figures()
        self.published = asyncio.Event()
        """Set once there is a snapshot."""
        store.listen(self._noted)

    def listen(self, listener: Callable[[MeshSnapshot], None]) -> None:
        """Call back with every snapshot."""
        self._listeners.append(listener)

    def touch(self) -> None:
        """Something besides the store changed: the roots."""
        self._note(urgent=False)

    async def run(self) -> None:
        """Publish now, and after each burst of changes, until cancelled."""
        clock = asyncio.get_running_loop().time
        await self._attempt(clock)
        while True:
            await self._until_due(clock)
            await self._attempt(clock)

    async def _until_due(self, clock: Callable[[], float]) -> None:
        """Wait for the next act; what is put off meanwhile is found out when the time has come, so a burst sets one timer."""
        while (due := self._debounce.due) is None or due > clock():
            self._wake.clear()
            timer = None if due is None else asyncio.get_running_loop().call_at(due, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _note(self, *, urgent: bool) -> None:
        waited = self._debounce.due
        self._debounce.note(asyncio.get_running_loop().time(), urgent=urgent)
        if waited is None or (self._debounce.due or 0.0) < waited:
            self._wake.set()

    def _noted(self, ref: Ref) -> None:
        if ref.kind not in _READ:
            return
        self._changed.add(ref)
        self._note(urgent=ref.kind in URGENT)

    async def _attempt(self, clock: Callable[[], float]) -> None:
        """Publish, a slice at a time; the supervisor of the pure passes."""
        seen = self._debounce.taken() or clock()
        taken = self._taken = self._changed
        self._changed = set()
        large = len(taken) >= MANY
        work = 0.0
        try:
            _, work = await in_slices(self._pass(taken, seen), Collector.keep if large else None)
        except Exception:
            self._changed |= taken
            self.figures.failures += 1
            log.exception("compiling the mesh failed; the snapshot before it goes on being served")
        self._taken = set()
        self.figures.last_seconds = work
        self.figures.seconds += work
        self._debounce.spent(clock(), work)
        if large:
            Collector.settle()

    def anew(self) -> None:
        """Have everything read and compiled from nothing, for what there is cannot be trusted; a pass under way goes on from it all the same."""
        self._doubted = True
        self.touch()

    def waiting(self, ref: Ref) -> bool:
        """Tell whether a change of an object is known that the snapshot does not hold yet."""
        return ref in self._changed or ref in self._taken

    def publish(self) -> None:
        """Publish now, in one piece; for who cannot wait and has no loop to hold up."""
        taken, self._changed = self._changed, set()
        finished(self._pass(taken, 0.0))

    def _pass(self, taken: Iterable[Ref], seen: float) -> Steps[None]:
        """Make the next snapshot, and serve it at the end; nobody sees it before."""
        if self._doubted:
            self._doubted, self._model = False, None
        before, roots = self._source.snapshot if self._model else None, self._roots().encode()
        changes = self._changes(taken)
        model = yield from ingesting(self._store, self._model, trust_domain=self._trust_domain, changes=changes)
        snapshot = yield from compiling(model, before, roots=roots)
        self._swap(model, snapshot, seen)

    def _swap(self, model: Model, snapshot: MeshSnapshot, seen: float) -> None:
        """Serve a snapshot, of whose changes the first was seen then."""
        before = self._source.snapshot
        self._model = model
        self._source.replace(snapshot, changed(before, snapshot), seen)
        self.figures.snapshots += 1
        self.published.set()
        if snapshot.user_problems is not before.user_problems:
            self._complain(frozenset(snapshot.user_problems))
        self._report(before.faults, snapshot.faults)
        for listener in self._listeners:
            listener(snapshot)

    def _changes(self, taken: Iterable[Ref]) -> dict[str, dict[Key, Mapping[str, Any] | None]]:
        changes: dict[str, dict[Key, Mapping[str, Any] | None]] = {}
        for ref in taken:
            changes.setdefault(ref.kind, {})[Key(ref.namespace, ref.name)] = self._store.get(*ref)
        return changes

    @staticmethod
    def _report(before: Mapping[str, Exception], now: Mapping[str, Exception]) -> None:
        for what, fault in now.items():
            if repr(before.get(what)) != repr(fault):
                log.error("%s cannot be made; the last form stays", what, exc_info=fault)

    def _complain(self, problems: frozenset[Problem]) -> None:
        for problem in sorted(problems - self._problems):
            log.warning("%s", problem)
        self._problems = problems
