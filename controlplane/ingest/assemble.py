"""All objects to one model, each object read once.

In: the raw objects by kind, and the model made before. Out: a `Model`; nouns of objects that did not change are the same objects
as before, and so is the mapping of a kind in which nothing changed, which is how the compiler knows what to leave alone. Refuses
nothing: what cannot be read becomes a `Problem` and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from controlplane.ingest.core import key_of, read_node, read_pod, read_service, read_slice
from controlplane.ingest.policies import read_authentication, read_mesh
from controlplane.ingest.reading import Cursor, UnreadableError
from controlplane.ingest.routes import read_route
from controlplane.model.mesh import MESH_NAME, MeshSettings, Model
from controlplane.model.meta import Key, Problem, RouteKey
from controlplane.model.traffic import ROUTE_KINDS, Route

KINDS = ("Node", "Pod", "Service", "EndpointSlice", *ROUTE_KINDS, "PeerAuthentication", "Mesh")
"""Everything `ingest` reads."""

Noun = TypeVar("Noun")


class Objects(Protocol):
    """The raw objects of the cluster. An object that changed is a new object: readers go by identity."""

    def of(self, kind: str, /) -> Iterable[Mapping[str, Any]]:
        """All objects of a kind."""


_UNREAD = object()
"""Stands for the raw object where reading it failed, so that it is read again."""


@dataclass(frozen=True, slots=True)
class _Seen(Generic[Noun]):
    """One raw object and what it was read as."""

    raw: object
    noun: Noun | None
    problem: Problem | None = None
    fault: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Read(Generic[Noun]):
    """One kind, read."""

    seen: Mapping[Key, _Seen[Noun]] = field(default_factory=dict)
    nouns: Mapping[Key, Noun] = field(default_factory=dict)
    troubles: Mapping[Key, _Seen[Noun]] = field(default_factory=dict)
    """Those with a problem or a fault."""


Changes = Mapping[str, Mapping[Key, Mapping[str, Any] | None]]
"""By kind and key the objects that changed, as they are now: None for what is gone."""


def ingest(
    objects: Objects,
    previous: Model | None = None,
    *,
    trust_domain: str = "cluster.local",
    changes: Changes | None = None,
) -> Model:
    """Read all objects that changed since `previous` and put the model together.

    Who knows which those are says so with `changes`, and no other object is looked at but what could not be read for a fault.
    """
    memo = previous.memo if previous else {}
    read: dict[str, _Read[Any]] = {}
    for kind in KINDS:
        old = cast("_Read[Any]", memo.get(kind) or _Read())
        if changes is None or previous is None or any(one.fault for one in old.troubles.values()):
            read[kind] = _read_kind(kind, objects.of(kind), old)
        else:
            read[kind] = _read_changes(kind, changes.get(kind, {}), old)
    troubles = [(kind, key, one) for kind, of in read.items() for key, one in of.troubles.items()]
    problems = tuple(sorted(one.problem for _, _, one in troubles if one.problem))
    faults = {f"{kind} {key}": one.fault for kind, key, one in troubles if one.fault}
    mesh = read["Mesh"].nouns.get(Key("", MESH_NAME), MeshSettings())
    return Model(
        trust_domain=trust_domain,
        mesh=previous.mesh if previous and previous.mesh == mesh else mesh,
        nodes=read["Node"].nouns,
        pods=read["Pod"].nouns,
        services=read["Service"].nouns,
        slices=read["EndpointSlice"].nouns,
        routes=_routes(read, previous),
        authentications=read["PeerAuthentication"].nouns,
        problems=previous.problems if previous and previous.problems == problems else problems,
        faults=faults,
        memo=read,
    )


def _routes(read: Mapping[str, _Read[Any]], previous: Model | None) -> Mapping[RouteKey, Route]:
    """Put the kinds of routes into one mapping; the same one as before when no kind changed."""
    kinds = [read[kind] for kind in ROUTE_KINDS]
    if previous and all(_nouns(previous.memo.get(kind)) is read[kind].nouns for kind in ROUTE_KINDS):
        return previous.routes
    return {route.key: route for one in kinds for route in one.nouns.values()}


def _nouns(read: object) -> object:
    return read.nouns if isinstance(read, _Read) else None


_READERS: Mapping[str, Callable[[Cursor], Any]] = {
    "Node": read_node,
    "Pod": read_pod,
    "Service": read_service,
    "EndpointSlice": read_slice,
    "PeerAuthentication": read_authentication,
    "Mesh": read_mesh,
    **dict.fromkeys(ROUTE_KINDS, read_route),
}


def _read_kind(kind: str, objects: Iterable[Mapping[str, Any]], old: _Read[Any]) -> _Read[Any]:
    seen: dict[Key, _Seen[Any]] = {}
    changed = False
    for raw in objects:
        key = _key(raw)
        if not key.name:
            continue
        before = old.seen.get(key)
        seen[key] = now = _seen(kind, key, raw, before)
        changed = changed or _news(before, now)
    if not changed and len(seen) == len(old.seen):
        # Same nouns; only the raw objects behind them are remembered anew, which costs nothing when there are none.
        return old if all(seen[key] is old.seen[key] for key in seen) else _Read(seen, old.nouns, _troubles(seen))
    return _Read(seen, {key: one.noun for key, one in seen.items() if one.noun is not None}, _troubles(seen))


def _read_changes(kind: str, changes: Mapping[Key, Mapping[str, Any] | None], old: _Read[Any]) -> _Read[Any]:
    """Read only what changed."""
    if not changes:
        return old
    seen, nouns, troubles = dict(old.seen), dict(old.nouns), dict(old.troubles)
    changed = False
    for key, raw in changes.items():
        before = seen.pop(key, None)
        troubles.pop(key, None)
        nouns.pop(key, None)
        if raw is None:
            changed = changed or before is not None
            continue
        seen[key] = now = _seen(kind, key, raw, before)
        changed = changed or _news(before, now)
        if now.noun is not None:
            nouns[key] = now.noun
        if now.problem or now.fault:
            troubles[key] = now
    return _Read(seen, nouns if changed else old.nouns, troubles)


def _seen(kind: str, key: Key, raw: Mapping[str, Any], before: _Seen[Any] | None) -> _Seen[Any]:
    """Read an object, unless it is the one that was read before."""
    if before is not None and before.raw is raw:
        return before
    now = _attempt(kind, key, raw, before)
    if before is not None and now.noun == before.noun:
        # A new form of the object that says nothing new keeps its old noun, so nothing downstream stirs.
        return _Seen(now.raw, before.noun, now.problem, now.fault)
    return now


def _news(before: _Seen[Any] | None, now: _Seen[Any]) -> bool:
    return before is None or now.noun is not before.noun or now.problem != before.problem


def _troubles(seen: Mapping[Key, _Seen[Any]]) -> dict[Key, _Seen[Any]]:
    return {key: one for key, one in seen.items() if one.problem or one.fault}


def _attempt(kind: str, key: Key, raw: Mapping[str, Any], before: _Seen[Any] | None) -> _Seen[Any]:
    """Read one object. A fault of ours is that object's alone: what it was read as before stays, and the next pass tries again."""
    try:
        return _read_one(kind, key, raw)
    except Exception as error:  # noqa: BLE001 - the supervisor of one object
        return _Seen(_UNREAD, before.noun if before else None, before.problem if before else None, error)


def _key(raw: Mapping[str, Any]) -> Key:
    try:
        return key_of(Cursor(raw))
    except UnreadableError:
        return Key("", "")


def _generation(raw: Mapping[str, Any]) -> int:
    try:
        return Cursor(raw).at("metadata").number("generation")
    except UnreadableError:
        return 0


def _read_one(kind: str, key: Key, raw: Mapping[str, Any]) -> _Seen[Any]:
    try:
        # Objects from a list carry no kind of their own.
        noun = _READERS[kind](Cursor({**raw, "kind": kind}))
    except UnreadableError as error:
        problem = Problem(
            kind=kind,
            namespace=key.namespace,
            name=key.name,
            reason="Unreadable",
            message=str(error),
            generation=_generation(raw),
        )
        return _Seen(raw, None, problem)
    return _Seen(raw, noun)
