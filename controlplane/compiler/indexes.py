"""Who is concerned: from a Service to its slices and routes, from a pod to the slices that list it, from a namespace to its pods.

In: the indexes of a model, and in what the next one differs from it. Out: those of the next one. The passes ask here what a change concerns, so that they look at nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from controlplane.compiler.precedence import backends_of
from controlplane.model.mesh import Model
from controlplane.model.meta import Key, RouteKey
from controlplane.model.services import EndpointSlice
from controlplane.model.traffic import Route
from controlplane.model.workloads import Pod
from meshapi.table import Table

A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)
Noun = TypeVar("Noun")

_NONE: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """The indexes of one model."""

    slices_of: Table[Key, frozenset[Key]] = field(default_factory=Table)
    """Slices of a Service."""
    slices_with: Table[Key, frozenset[Key]] = field(default_factory=Table)
    """Slices that list a pod."""
    routes_on: Table[Key, frozenset[RouteKey]] = field(default_factory=Table)
    """Routes that name a Service as their parent."""
    routes_to: Table[Key, frozenset[RouteKey]] = field(default_factory=Table)
    """Routes that name it as a backend."""
    pods_in: Table[str, Table[Key, bool]] = field(default_factory=Table)
    """Pods of a namespace."""

    def after(self, old: Model, new: Model) -> Indexes:
        """The indexes of the next model."""
        return Indexes(
            slices_of=_after(self.slices_of, old.slices, new.slices, lambda one: (one.service,)),
            slices_with=_after(self.slices_with, old.slices, new.slices, _pods_of),
            routes_on=_after(self.routes_on, old.routes, new.routes, _parents_of),
            routes_to=_after(self.routes_to, old.routes, new.routes, lambda one: [b.key for b in backends_of(one)]),
            pods_in=_by_namespace(self.pods_in, old.pods, new.pods),
        )


def _pods_of(one: EndpointSlice) -> Iterable[Key]:
    return (end.pod for end in one.endpoints if end.pod is not None)


def _parents_of(route: Route) -> Iterable[Key]:
    return (parent.key for parent in route.parents)


def _after(
    index: Table[B, frozenset[A]], old: Table[A, Noun], new: Table[A, Noun], of: Callable[[Noun], Iterable[B]]
) -> Table[B, frozenset[A]]:
    """Carry an index on: what each changed object leads to no longer, and what it leads to now."""
    changes: dict[B, set[A]] = {}
    for key, before, after in new.differing(old):
        was = set(of(before)) if before is not None else set()
        now = set(of(after)) if after is not None else set()
        for one in was ^ now:
            held = changes.get(one)
            if held is None:
                held = changes[one] = set(index.get(one, ()))
            (held.add if one in now else held.discard)(key)
    return index.after({one: frozenset(held) or None for one, held in changes.items()})


def _by_namespace(
    index: Table[str, Table[Key, bool]], old: Table[Key, Pod], new: Table[Key, Pod]
) -> Table[str, Table[Key, bool]]:
    changes: dict[str, dict[Key, bool | None]] = {}
    for key, _, after in new.differing(old):
        changes.setdefault(key.namespace, {})[key] = True if after is not None else None
    made = {namespace: index.get(namespace, Table()).after(pods) for namespace, pods in changes.items()}
    return index.after({namespace: pods or None for namespace, pods in made.items()}, operator.is_)
