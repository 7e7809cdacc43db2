"""Conditions written back: the only writer of status.

In: each snapshot, and the objects as the store has them. Out: jobs to the Writer for those whose stored status differs from what the snapshot says. Of a
route only Tulle's own entries in `parents` are touched, by reading it fresh, merging and writing with its resourceVersion, so that other controllers'
entries survive. Nothing is written that is there already.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from controlplane.compiler.conditions import defective, merge_conditions, merge_parents
from controlplane.compiler.snapshot import Condition, MeshSnapshot
from controlplane.feed.kinds import CONFIGURED, kind_of
from controlplane.feed.objects import TOLD, Object, ObjectStore, Ref, ref_of
from controlplane.kube.client import Cluster, path_of
from controlplane.model.mesh import MESH_NAME
from controlplane.model.meta import Key, Problem, RouteKey
from controlplane.write.writer import Job, Writer

_COUNT = "proxies"
COUNT_SECONDS = 3.0
MAX_TROUBLES = 3
MESH = Ref("Mesh", "", MESH_NAME)

Merge = Callable[[Mapping[str, Any], str], dict[str, Any]]
"""(stored status, now) -> status as it should be."""


class Served(Protocol):
    """What is asked of the feed."""

    def api(self, kind: str, /) -> str:
        """Group and version a kind is served in."""

    def troubles(self) -> Iterable[tuple[str, str]]:
        """Kinds that cannot be read, and why."""


class Statuses:
    """What is wanted of the Writer for objects whose status is not what the snapshot says."""

    def __init__(
        self,
        cluster: Cluster,
        store: ObjectStore,
        writer: Writer,
        feed: Served,
        stale: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._stale = stale
        """What a self-check found to be stale."""
        self._cluster = cluster
        self._store = store
        self._writer = writer
        self._snapshot: MeshSnapshot | None = None
        """None until there is one: before, nothing is known of any object, and what a status says stays."""
        self._problems: dict[Ref, Problem] = {}
        """The first the snapshot names with each object."""
        self._settled: dict[Ref, tuple[object, Object]] = {}
        """What was compared last: the told conditions, and the raw object by identity."""
        self._changed: set[Ref] = set()
        """Objects that are not what they were when the last snapshot was told."""
        self._feed = feed
        store.listen(self._noted)

    def told(self, snapshot: MeshSnapshot) -> None:
        """Compare what a new snapshot says of an object where it, or the object, is another than before."""
        before, self._snapshot = self._snapshot, snapshot
        if before is None or before.user_problems is not snapshot.user_problems:
            self._problems = {_place_of(problem): problem for problem in reversed(snapshot.user_problems)}
        changed, self._changed = self._changed, set()
        if before is None:
            changed.update(ref_of(kind.name, obj) for kind in CONFIGURED for obj in self._store.of(kind.name))
        else:
            changed |= _differing(before, snapshot)
        for ref in changed:
            self.look(ref)

    def _noted(self, ref: Ref) -> None:
        if ref.kind in TOLD:
            self._changed.add(ref)

    def look(self, ref: Ref) -> None:
        """Compare one object with the last snapshot, as the store knows it."""
        obj = self._store.get(*ref)
        if obj is not None:
            self._compare(ref, obj)
        else:
            self._gone(ref)

    def counted(self) -> None:
        """A pod of the mesh came or went, and the Mesh says how many there are."""
        self.look(MESH)

    def _gone(self, ref: Ref) -> None:
        self._settled.pop(ref, None)
        self._writer.want(("status", *ref), None)

    def _compare(self, ref: Ref, obj: Object) -> None:
        told = self._told(ref)
        if told is None:
            return
        key, merge = told
        before = self._settled.get(ref)
        if before is not None and before[1] is obj and before[0] == key:
            return
        self._settled[ref] = (key, obj)
        stored = obj.get("status") or {}
        place = ("status", *ref)
        wanted = merge(stored, "")
        # How many pods there are is no news that cannot wait.
        slow = COUNT_SECONDS if _same(stored, {**wanted, _COUNT: stored.get(_COUNT)}) else 0.0
        self._writer.want(place, None if _same(stored, wanted) else self._job(ref, merge), after=slow)

    def _told(self, ref: Ref) -> tuple[object, Merge] | None:
        """What the snapshot says of an object; None when it says nothing."""
        snapshot = self._snapshot
        if snapshot is None:
            return None
        if ref.kind in {"Mesh", "PeerAuthentication"}:
            conditions, generation = _conditions(snapshot, ref, self._problems.get(ref))
            count = {}
            if ref == MESH:
                found = self._stale()
                conditions = (
                    *conditions,
                    _kinds_read(self._feed.troubles()),
                    *((defective(found),) if found else ()),
                )
                count = {_COUNT: len(snapshot.pods)}
            return (conditions, count, generation), lambda stored, now: {
                **stored,
                **count,
                "conditions": merge_conditions(
                    stored.get("conditions") or [], conditions, generation=generation, now=now
                ),
            }
        if ref in self._problems:
            return None
        # A route that names no parent of ours any more has nothing to be told, and what it was told goes.
        key = RouteKey(*ref)
        parents, route = snapshot.route_statuses.get(key, ()), snapshot.model.routes.get(key)
        generation = route.generation if route is not None else 0
        return (parents, generation), lambda stored, now: {
            **stored,
            "parents": merge_parents(stored.get("parents") or [], parents, generation=generation, now=now),
        }

    def _job(self, ref: Ref, merge: Merge) -> Job:
        async def write() -> None:
            api, plural = self._feed.api(ref.kind), kind_of(ref.kind).plural
            fresh = await self._cluster.get(path_of(api, plural, ref.namespace, ref.name))
            stored = fresh.get("status") or {}
            now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            wanted = merge(stored, now)
            if wanted == stored:
                return
            body = {"metadata": {"resourceVersion": fresh["metadata"]["resourceVersion"]}, "status": wanted}
            await self._cluster.patch(path_of(api, plural, ref.namespace, ref.name, "status"), body)

        return write


def _differing(old: MeshSnapshot, new: MeshSnapshot) -> set[Ref]:
    """Name the objects that are told something else now; the Mesh is told how many pods there are."""
    found = {Ref(*key) for key, _, _ in new.route_statuses.differing(old.route_statuses)}
    found |= {Ref(*key) for key, _, _ in new.model.routes.differing(old.model.routes)}
    policies = [
        *(key for key, _, _ in new.policy_statuses.differing(old.policy_statuses)),
        *(key for key, _, _ in new.model.authentications.differing(old.model.authentications)),
    ]
    found |= {Ref("PeerAuthentication" if key.namespace else "Mesh", *key) for key in policies}
    problems = {*old.user_problems} ^ {*new.user_problems} if old.user_problems is not new.user_problems else ()
    found |= {_place_of(one) for one in problems if one.kind in TOLD}
    return found | {MESH}


def _conditions(snapshot: MeshSnapshot, ref: Ref, problem: Problem | None) -> tuple[tuple[Condition, ...], int]:
    """What the snapshot says of a policy or Mesh, and the generation it has judged."""
    if problem is not None:
        refused = Condition(type="Accepted", status=False, reason=problem.reason, message=problem.message)
        return (refused,), problem.generation
    key = Key(ref.namespace, ref.name)
    told = snapshot.policy_statuses.get(key, ())
    if ref.kind == "PeerAuthentication":
        policy = snapshot.model.authentications.get(key)
        return told, policy.generation if policy is not None else 0
    if ref.name != MESH_NAME:
        return (), 0
    accepted = Condition(
        type="Accepted", status=True, reason="Accepted", message="These settings hold in the whole mesh."
    )
    return (accepted, *told), snapshot.model.mesh.generation


def _kinds_read(troubles: Iterable[tuple[str, str]]) -> Condition:
    """Tell in the Mesh whether every kind is read."""
    told = [f"{kind} cannot be read: {why}" for kind, why in sorted(troubles)]
    words = "; ".join(told[:MAX_TROUBLES]) + (f"; and {len(told) - MAX_TROUBLES} more" if told[MAX_TROUBLES:] else "")
    if not told:
        return Condition(type="KindsRead", status=True, reason="Read", message="Every kind is read.")
    return Condition(
        type="KindsRead", status=False, reason="Unreadable", message=f"{words}. What was read before stays in force."
    )


def _place_of(problem: Problem) -> Ref:
    return Ref(problem.kind, problem.namespace, problem.name)


def _same(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(stored.get(key) == value or (not stored.get(key) and not value) for key, value in wanted.items())
