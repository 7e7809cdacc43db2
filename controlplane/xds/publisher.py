"""Store to snapshot to streams, after each burst of changes.

In: changes of the store and of the roots. Out: a new snapshot in the `Source`, which tells its streams what changed, and the snapshot to whoever listens (status). The arrows in
between are pure; here is only when they run. Problems in users' objects are logged once, when they come up. It refuses nothing: a fault in a pass
is logged with its trace, the last good snapshot goes on being served, and the next change tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.reads import changed
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.ingest.assemble import ingest
from controlplane.model.mesh import Model
from controlplane.model.meta import Key, Problem
from controlplane.xds.debounce import Debounce
from controlplane.xds.source import Source

URGENT = frozenset({"EndpointSlice", "Pod", "Service"})

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
        self._debounce.note(asyncio.get_running_loop().time())
        self._wake.set()

    async def run(self) -> None:
        """Publish now, and after each burst of changes, until cancelled."""
        clock = asyncio.get_running_loop().time
        self._attempt(clock)
        while True:
            await self._until_due(clock)
            self._attempt(clock)

    async def _until_due(self, clock: Callable[[], float]) -> None:
        while (due := self._debounce.due) is None or due > clock():
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()

    def _noted(self, ref: Ref) -> None:
        self._changed.add(ref)
        self._debounce.note(asyncio.get_running_loop().time(), urgent=ref.kind in URGENT)
        self._wake.set()

    def _attempt(self, clock: Callable[[], float]) -> None:
        """Publish; the supervisor of the pure passes."""
        self._debounce.taken()
        began = clock()
        try:
            self._publish()
        except Exception:
            self.figures.failures += 1
            log.exception("compiling the mesh failed; the snapshot before it goes on being served")
        self.figures.last_seconds = clock() - began
        self.figures.seconds += self.figures.last_seconds

    def _publish(self) -> None:
        before = self._source.snapshot
        model = ingest(self._store, self._model, trust_domain=self._trust_domain, changes=self._changes())
        snapshot = compile_mesh(model, before, roots=self._roots().encode())
        self._model = model
        self._changed.clear()
        self._source.replace(snapshot, changed(before, snapshot))
        self.figures.snapshots += 1
        self.published.set()
        self._complain(frozenset(snapshot.user_problems))
        self._report(before.faults, snapshot.faults)
        for listener in self._listeners:
            listener(snapshot)

    def _changes(self) -> dict[str, dict[Key, Mapping[str, Any] | None]]:
        changes: dict[str, dict[Key, Mapping[str, Any] | None]] = {}
        for ref in self._changed:
            key = Key(ref.namespace, ref.name)
            changes.setdefault(ref.kind, {})[key] = self._store.get(ref.kind, ref.namespace, ref.name)
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
