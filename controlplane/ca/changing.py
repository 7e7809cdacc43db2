"""Carry a change of roots on: what the replicas say, held against the stages (`rootchange.py`), and the next step wanted of the leader.

In: the trust, the replicas' statements, and the pods of the mesh. Out: at most one step for the Writer to do, looked for each second; `waiting` says whom a change waits
for. A pod that was made before everybody trusted the new root counts until its sidecar has acknowledged it, connected or not, or until it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from controlplane.ca import rootchange
from controlplane.ca.rootchange import Facts, Record, Roots, Stage
from controlplane.ca.trust import Held, Step, Trust
from controlplane.feed.objects import ObjectStore
from controlplane.model.meta import created
from controlplane.model.workloads import ENDED, has_sidecar
from controlplane.replicas import Statement

EVERY_SECONDS = 1.0


class RootChange:
    """One replica's part in a change of roots; every replica looks, and what the leader wants is done."""

    def __init__(
        self,
        trust: Trust,
        store: ObjectStore,
        heard: Callable[[], Mapping[str, Statement | None]],
        want: Callable[[Step | None], None],
    ) -> None:
        self._trust = trust
        self._store = store
        self._heard = heard
        self._want = want
        self._wanted: Step | None = None
        self._begun = False

    async def run(self) -> None:
        """Look each second, until cancelled; to be called when every pod has been listed, for one that is not known would hold up nothing."""
        self._begun = True
        while True:
            self.look()
            await asyncio.sleep(EVERY_SECONDS)

    def look(self) -> None:
        """Want the next step, if there is one."""
        step = self._next() if self._begun else None
        if not _same(step, self._wanted):
            self._wanted = step
            self._want(step)

    def _next(self) -> Step | None:
        trust = self._trust
        kept, brought = trust.kept, trust.brought
        if kept is None:
            life = max(trust.record.life, _longest(self._heard()))
            return self._step(brought, Record(life=life, until=trust.record.until)) if brought is not None else None
        record = rootchange.advanced(self._facts(kept))
        if record is None:
            # Another issuer under the same roots signs already, and is kept in place of the last.
            same = brought is not None and brought.data != kept.data and trust.used is brought
            return self._step(brought, trust.record) if same and brought is not None else None
        signing = brought if record.stage is Stage.SIGN and brought is not None else kept
        return self._step(signing, record)

    def _step(self, held: Held, record: Record) -> Step:
        return Step(held=held, record=record, seen=self._trust.kept_data, before=self._trust.record)

    def _facts(self, kept: Held) -> Facts:
        trust, said = self._trust, self._heard()
        return Facts(
            now=trust.now().timestamp(),
            wanted=self._wanted_roots,
            signing=kept.roots,
            record=trust.record,
            announced=not any(self._untrusting(said)),
            acknowledged=not any(self._unacknowledged(said)),
            signed=not any(self._signing_otherwise(said)),
            bundle=trust.remembered,
            life=_longest(said),
            every_life=all(one is not None and one.life for one in said.values()),
        )

    def waiting(self) -> list[str]:
        """Say whom a change waits for, in words; empty when it waits for nobody."""
        said = self._heard()
        match self._trust.record.stage:
            case Stage.ANNOUNCE | Stage.TRUST:
                return [*self._untrusting(said), *self._unacknowledged(said)]
            case Stage.SIGN:
                return list(self._signing_otherwise(said))
        return []

    @property
    def _wanted_roots(self) -> Roots:
        return self._trust.brought.roots if self._trust.brought else frozenset()

    def _untrusting(self, said: Mapping[str, Statement | None]) -> Iterator[str]:
        """Name the replicas that do not trust what is wanted, or are not heard."""
        wanted = self._wanted_roots
        return (f"replica {name}" for name, one in said.items() if one is None or not wanted <= set(one.trusts))

    def _signing_otherwise(self, said: Mapping[str, Statement | None]) -> Iterator[str]:
        """Name the replicas that do not sign with the issuer in use, or are not heard; none where there is none."""
        kept = self._trust.kept
        signer = kept.signer if kept is not None else ""
        return (f"replica {name}" for name, one in said.items() if kept and (one is None or one.signs != signer))

    def _unacknowledged(self, said: Mapping[str, Statement | None]) -> Iterator[str]:
        """Name the pods that carry a sidecar, were made before all knew the new root, and have not acknowledged it."""
        record = self._trust.record
        if record.stage is not Stage.TRUST:
            return
        done = {tuple(place) for one in said.values() if one is not None for place in one.acknowledged}
        for pod in self._store.of("Pod"):
            metadata = pod["metadata"]
            place = (metadata.get("namespace", ""), metadata["name"])
            if place not in done and _meshed(pod) and rootchange.concerned(record, created(metadata)):
                yield f"pod {place[0]}/{place[1]}"


def _same(one: Step | None, other: Step | None) -> bool:
    """Tell whether two steps are one, wanted at two times: the second keeps the place of the first in the Writer's back-off."""
    if one is None or other is None:
        return one is other
    same = replace(one.record, since=0.0) == replace(other.record, since=0.0)
    return same and one.held is other.held and (one.seen, one.before) == (other.seen, other.before)


def _longest(said: Mapping[str, Statement | None]) -> float:
    return max((one.life for one in said.values() if one is not None), default=0.0)


def _meshed(pod: Mapping[str, Any]) -> bool:
    return has_sidecar(pod) and (pod.get("status") or {}).get("phase") not in ENDED
