"""All objects to one model, each object read once.

In: the raw objects by kind, and the model made before. Out: a `Model`; nouns of objects that did not change are the same objects
as before, and the table of a kind knows what is another one, which is how the compiler knows what to leave alone. Refuses
nothing: what cannot be read becomes a `Problem` and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from controlplane.ingest.core import key_of, read_node, read_pod, read_service, read_slice
from controlplane.ingest.policies import read_authentication, read_mesh
from controlplane.ingest.reading import Cursor, UnreadableError
from controlplane.ingest.routes import read_route
from controlplane.model.mesh import MESH_NAME, MeshSettings, Model
from controlplane.model.meta import Key, Problem, RouteKey
from controlplane.model.steps import SLICE, Steps, finished
from controlplane.model.traffic import ROUTE_KINDS, Route
from meshapi.table import Table

KINDS = ("Node", "Pod", "Service", "EndpointSlice", *ROUTE_KINDS, "PeerAuthentication", "Mesh")
"""Everything `ingest` reads."""

Noun = TypeVar("Noun")


class Objects(Protocol):
    """The raw objects of the cluster. An object that changed is a new object: readers go by identity."""

    def of(self, kind: str, /) -> Iterable[Mapping[str, Any]]:
        """All objects of a kind."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seen(Generic[Noun]):
    """One raw object and what it was read as."""

    raw: object
    noun: Noun | None
    problem: Problem | None = None
    fault: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Read(Generic[Noun]):
    """One kind, read."""

    seen: Table[Key, _Seen[Noun]] = field(default_factory=Table)
    nouns: Table[Key, Noun] = field(default_factory=Table)
    troubles: Table[Key, _Seen[Noun]] = field(default_factory=Table)
    """Those with a problem or a fault."""


_NO_MESH = MeshSettings()

Raw = Mapping[str, Any]
Changes = Mapping[str, Mapping[Key, Raw | None]]
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
    return finished(ingesting(objects, previous, trust_domain=trust_domain, changes=changes))


def ingesting(
    objects: Objects,
    previous: Model | None = None,
    *,
    trust_domain: str = "cluster.local",
    changes: Changes | None = None,
) -> Steps[Model]:
    """Do the same step by step."""
    last = previous or Model()
    before = {kind: cast("_Read[Any]", last.memo.get(kind) or _Read()) for kind in KINDS}
    read = dict(before)
    for kind, old in before.items():
        found = _changes_of(objects.of(kind), old) if changes is None or previous is None else changes.get(kind, {})
        again = {key: cast("Raw", one.raw) for key, one in old.troubles.items() if one.fault} if last.faults else {}
        if found or again:
            read[kind] = yield from _read(kind, {**again, **found}, old)
    problems, faults = last.problems, last.faults
    if any(of.troubles is not before[kind].troubles for kind, of in read.items()):
        troubles = [(kind, key, one) for kind, of in read.items() for key, one in of.troubles.items()]
        told = tuple(sorted(one.problem for _, _, one in troubles if one.problem))
        problems = problems if problems == told else told
        faults = {f"{kind} {key}": one.fault for kind, key, one in troubles if one.fault}
    mesh = read["Mesh"].nouns.get(Key("", MESH_NAME), _NO_MESH)
    return Model(
        trust_domain=trust_domain,
        mesh=last.mesh if last.mesh == mesh else mesh,
        nodes=read["Node"].nouns,
        pods=read["Pod"].nouns,
        services=read["Service"].nouns,
        slices=read["EndpointSlice"].nouns,
        routes=_routes(read, before, last.routes),
        authentications=read["PeerAuthentication"].nouns,
        problems=problems,
        faults=faults,
        memo=read,
    )


class _Raws(Mapping[Key, Raw]):
    """The raw objects of a kind that a model was read from."""

    def __init__(self, read: _Read[Any]) -> None:
        self._seen = read.seen

    def __getitem__(self, key: Key) -> Raw:
        return cast("Raw", self._seen[key].raw)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)


def raw_of(model: Model, kind: str) -> Mapping[Key, Raw]:
    """The raw objects of a kind that a model was read from, by key."""
    return _Raws(cast("_Read[Any]", model.memo.get(kind) or _Read()))


def _routes(
    read: Mapping[str, _Read[Any]], before: Mapping[str, _Read[Any]], routes: Table[RouteKey, Route]
) -> Table[RouteKey, Route]:
    """Put the kinds of routes into one table."""
    news: dict[RouteKey, Route | None] = {}
    for kind in ROUTE_KINDS:
        for key, _, route in read[kind].nouns.differing(before[kind].nouns):
            news[RouteKey(kind, key.namespace, key.name)] = route
    return routes.after(news)


_CLUSTER: Mapping[str, Callable[[Any], Any]] = {
    "Node": read_node,
    "Pod": read_pod,
    "Service": read_service,
    "EndpointSlice": read_slice,
}
"""What is read from fields of known types."""
_CONFIGURED: Mapping[str, Callable[[Cursor], Any]] = {
    "PeerAuthentication": read_authentication,
    "Mesh": read_mesh,
    **dict.fromkeys(ROUTE_KINDS, read_route),
}
"""What is read from what its author wrote."""


def _changes_of(objects: Iterable[Raw], old: _Read[Any]) -> dict[Key, Raw | None]:
    """Find out what changed where nobody says so."""
    found: dict[Key, Raw | None] = {}
    there = set()
    for raw in objects:
        key = _key(raw)
        if key.name:
            there.add(key)
            before = old.seen.get(key)
            if before is None or before.raw is not raw:
                found[key] = raw
    return found | {key: None for key in old.seen if key not in there}


def _read(kind: str, changes: Mapping[Key, Raw | None], old: _Read[Any]) -> Steps[_Read[Any]]:
    """Read what changed."""
    seen: dict[Key, _Seen[Any] | None] = {}
    for number, (key, raw) in enumerate(changes.items()):
        seen[key] = None if raw is None else _seen(kind, key, raw, old.seen.get(key))
        if number % SLICE == SLICE - 1:
            yield
    nouns = {key: one.noun if one else None for key, one in seen.items()}
    troubles = {key: one if one and (one.problem or one.fault) else None for key, one in seen.items()}
    return _Read(old.seen.after(seen), old.nouns.after(nouns), old.troubles.after(troubles))


def _seen(kind: str, key: Key, raw: Mapping[str, Any], before: _Seen[Any] | None) -> _Seen[Any]:
    """Read an object, unless it is the one that was read before."""
    if before is not None and before.raw is raw and before.fault is None:
        return before
    now = _attempt(kind, key, raw, before)
    if before is not None and now.noun == before.noun:
        # A new form of the object that says nothing new keeps its old noun, so nothing downstream stirs.
        return _Seen(now.raw, before.noun, now.problem, now.fault)
    return now


def _attempt(kind: str, key: Key, raw: Mapping[str, Any], before: _Seen[Any] | None) -> _Seen[Any]:
    """Read one object. A fault of ours is that object's alone: what it was read as before stays, and the next pass tries again."""
    try:
        return _read_one(kind, key, raw, before)
    except Exception as error:  # noqa: BLE001 - the supervisor of one object
        return _Seen(raw, before.noun if before else None, before.problem if before else None, error)


def _key(raw: Mapping[str, Any]) -> Key:
    try:
        return key_of(Cursor(raw))
    except UnreadableError:
        return Key("", "")


def _problem(kind: str, key: Key, raw: Raw, reason: str, message: str) -> Problem:
    try:
        generation = Cursor(raw).at("metadata").number("generation")
    except UnreadableError:
        generation = 0
    return Problem(kind=kind, **key._asdict(), reason=reason, message=message, generation=generation)


def _read_one(kind: str, key: Key, raw: Mapping[str, Any], before: _Seen[Any] | None) -> _Seen[Any]:
    try:
        noun: Any
        if kind == "EndpointSlice" and before is not None and before.fault is None:
            noun = read_slice(cast("Any", raw), cast("Any", before.raw), before.noun)
        elif kind in _CLUSTER:
            noun = _CLUSTER[kind](raw)
        else:
            # Objects from a list carry no kind of their own.
            noun = _CONFIGURED[kind](Cursor({**raw, "kind": kind}))
    except UnreadableError as error:
        return _Seen(raw, None, _problem(kind, key, raw, "Unreadable", str(error)))
    unsupported = noun.unsupported if kind == "Service" and noun is not None else ""
    return _Seen(raw, noun, _problem(kind, key, raw, "Unsupported", unsupported) if unsupported else None)
