"""A running control plane that doubts itself: what it serves, compared now and then with what the same objects give when they are read and compiled from nothing.

In: the store, the publisher and the source. Out: stale keys, named in the log and counted; and mended: a resource is built anew, and a wrong decision has the whole mesh
compiled anew. There is nothing
to find unless the control plane has a defect: an index that leaves something out, an input that is not told. It takes a Service and some resources at a time, a slice of work at a time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any

from controlplane.compiler.passes import compiling
from controlplane.compiler.snapshot import MeshSnapshot, PortKey
from controlplane.feed.objects import ObjectStore, Ref
from controlplane.ingest.assemble import KINDS, ingesting, raw_of
from controlplane.ingest.cut import part_of
from controlplane.model.meta import Key
from controlplane.model.steps import Steps
from controlplane.xds.pace import in_slices
from controlplane.xds.publisher import Publisher
from controlplane.xds.source import Source

EVERY_SECONDS = 10.0
RESOURCES = 20
"""Resources looked at each time."""
KEPT = 5
"""Names of what was found that are shown."""

log = logging.getLogger(__name__)


class SelfCheck:
    """The doubts of one replica."""

    def __init__(self, store: ObjectStore, publisher: Publisher, source: Source) -> None:
        self._store = store
        self._publisher = publisher
        self._source = source
        self._random = random.Random()  # noqa: S311 - a sample, not a secret
        self.looked = 0
        """Keys compared."""
        self.stale = 0
        """Keys that were not what they should have been."""
        self.found: list[str] = []
        """What was found last, oldest first."""

    async def run(self) -> None:
        """Look until cancelled."""
        await self._publisher.published.wait()
        while True:
            await asyncio.sleep(EVERY_SECONDS * self._random.uniform(0.5, 1.5))
            services = self._source.snapshot.model.services
            try:
                if services:
                    await self.decisions(self._random.choice(tuple(services)))
                self.resources(RESOURCES)
            except Exception:  # a doubt that cannot be settled is no reason to end what works
                log.exception("what is served could not be compared with its objects")

    async def decisions(self, service: Key) -> None:
        """Compare what is decided of one Service, its pods and its routes; what is stale has the mesh compiled anew."""
        snapshot = self._source.snapshot
        if snapshot.faults:
            return  # what could not be made is known, and tried again as it is
        stale = [f"Service {service}, not read as it is now"] if self._unread(snapshot, service) else []
        found, _ = await in_slices(self._checked(snapshot, service))
        self._tell([*stale, *found])
        if stale or found:
            self._publisher.anew()

    def resources(self, count: int) -> None:
        """Compare some of the resources held with what they are when built anew; what is stale is built anew."""
        cells = self._source.fresh()
        for cell in self._random.sample(cells, min(count, len(cells))):
            self.looked += 1
            if self._source.doubtful(cell):
                self._tell([f"{cell} of {cell.client.namespace or 'all'}"])

    def _unread(self, snapshot: MeshSnapshot, service: Key) -> bool:
        """Tell whether the store has another object of a Service than the snapshot was made of, and nobody is about to read it."""
        ref, read = Ref("Service", *service), raw_of(snapshot.model, "Service").get(service)
        return self._store.get(*ref) is not read and not self._publisher.waiting(ref)

    def _checked(self, snapshot: MeshSnapshot, service: Key) -> Steps[list[str]]:
        objects: dict[str, Mapping[Key, Any]] = {kind: raw_of(snapshot.model, kind) for kind in KINDS}
        part, pods = yield from part_of(objects, service)
        model = yield from ingesting(part, trust_domain=snapshot.trust_domain)
        fresh = yield from compiling(model, roots=snapshot.roots)
        self.looked += 1 + len(pods)
        stale = []
        if fresh.services.get(service) != snapshot.services.get(service):
            stale.append(f"Service {service}")
        stale += [f"pod {key}" for key in sorted(pods) if fresh.pods.get(key) != snapshot.pods.get(key)]
        known = snapshot.model.services.get(service)
        ports = [PortKey(*service, port.port) for port in known.ports] if known else []
        stale += [f"routes of {key.cluster}" for key in ports if fresh.traffic.get(key) != snapshot.traffic.get(key)]
        return stale

    def _tell(self, stale: list[str]) -> None:
        self.stale += len(stale)
        self.found = [*self.found, *stale][-KEPT:]
        for what in stale:
            log.error("%s was stale: it is not what its objects give; it is made anew. This is a defect of Tulle", what)
