"""Which form of each resource is in force: new ones only once everything they lead to is there, so nothing breaks in between.

In: what was received last and what is in force now. Out: for each root the forms to be in force, and every name they, or what waits to replace them, need.
A listener or route table whose clusters have not arrived stays in its old form (xDS protocol, "Eventual consistency considerations");
a name that does not exist, or has no usable form, counts as arrived. Refuses nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from dataplane.config import Cluster, FilterChain, Forward, HttpFilter, Listener, RouteTable, SidecarConfig, TlsContext
from dataplane.finding import Found
from dataplane.xds.decode import Noun
from dataplane.xds.uses import Key
from meshapi import xds
from meshapi.records import field, record, replace
from meshapi.table import tabled
from meshapi.xds import Type

_NONE = {Found.ABSENT, Found.REFUSED}


@record(frozen=False, kw_only=False)
class Held:
    """What is known of the resources of one type; each name stands in one way, and changes by these events only.

    | | good form | bad form | removed | forgotten |
    |---|---|---|---|---|
    | ASKED | KNOWN | REFUSED | ABSENT | ASKED |
    | KNOWN | KNOWN, the new form | KNOWN, the old form and a sentence | ABSENT | ASKED |
    | ABSENT | KNOWN | REFUSED | ABSENT | ASKED |
    | REFUSED | KNOWN | REFUSED, the new sentence | ABSENT | ASKED |
    """

    nouns: dict[str, Noun] = field(default_factory=dict)
    """The last good form of each that is KNOWN."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of those forms that had no rule lost."""
    absent: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    """Sentences about the last form of each, where it could not be used, or not all of it."""

    def found(self, name: str) -> Found:
        """Tell how a name stands."""
        if name in self.nouns:
            return Found.KNOWN
        if name in self.absent:
            return Found.ABSENT
        return Found.REFUSED if name in self.refused else Found.ASKED

    @property
    def names(self) -> set[str]:
        """Everything of which anything was said."""
        return {*self.nouns, *self.absent, *self.refused}

    def unusable(self, in_force: Mapping[str, object]) -> dict[str, str]:
        """Tell of which names something came, and nothing that could be used, and why."""
        return {name: words for name, words in self.refused.items() if name not in in_force}

    def take(self, name: str, noun: Noun, version: str, lost: str = "") -> None:
        """A good form came. Equal content keeps the old noun, so what is compiled from it stays as well.

        One that is good but for a rule that was lost (a sentence) has no version: it is sent, and refused, again with each new stream.
        """
        self.absent.discard(name)
        self.refused.pop(name, None)
        if self.nouns.get(name) != noun:
            self.nouns[name] = noun
        if lost:
            self.refused[name] = lost
            self.versions.pop(name, None)
        else:
            self.versions[name] = version

    def refuse(self, name: str, sentence: str) -> None:
        """A form came that cannot be used."""
        self.refused[name] = sentence
        self.absent.discard(name)

    def remove(self, name: str) -> None:
        """The control plane says that there is no such thing."""
        self.forget(name)
        self.absent.add(name)

    def forget(self, name: str) -> None:
        """Nobody asks for it any more, or it is to be asked for anew."""
        self.nouns.pop(name, None)
        self.versions.pop(name, None)
        self.absent.discard(name)
        self.refused.pop(name, None)


def references(noun: object) -> Iterator[tuple[Type, str]]:
    """Name what a resource leads to directly."""
    match noun:
        case Listener():
            for chain in (*noun.chains, *((noun.default_chain,) if noun.default_chain else ())):
                yield from _of_chain(chain)
        case RouteTable():
            yield from ((Type.CLUSTER, name) for name in clusters_of(noun))
        case Cluster():
            if noun.kind == "eds":
                yield Type.ENDPOINTS, noun.endpoints_name
            for tls in (noun.tls, noun.mesh_tls):
                yield from _of_tls(tls)
        case _:
            return


def _of_chain(chain: FilterChain) -> Iterator[tuple[Type, str]]:
    yield from _of_tls(chain.tls)
    if not isinstance(chain.filter, HttpFilter):
        yield from ((Type.CLUSTER, t.cluster) for t in chain.filter.targets if t.cluster != xds.INVALID)
    elif chain.filter.routes is not None:
        yield from references(chain.filter.routes)
    else:
        yield Type.ROUTES, chain.filter.route_name


def _of_tls(tls: TlsContext | None) -> Iterator[tuple[Type, str]]:
    """Trust bundles are pushed; the identity is the sidecar's own."""
    if tls and tls.trust and tls.trust.trust_secret:
        yield Type.SECRET, tls.trust.trust_secret


def clusters_of(table: RouteTable) -> set[str]:
    """Name all clusters a route table leads to."""
    forwards = [r.action for host in table.hosts for r in host.routes if isinstance(r.action, Forward)]
    targets = {target.cluster for forward in forwards for target in forward.targets}
    return (targets | {name for forward in forwards for name, _ in forward.mirrors}) - {xds.INVALID}


def in_force(config: SidecarConfig) -> dict[Type, Mapping[str, Noun]]:
    """Sort what is in force by type."""
    return {
        Type.SECRET: config.secrets,
        Type.CLUSTER: config.clusters,
        Type.ENDPOINTS: config.endpoints,
        Type.LISTENER: config.listeners,
        Type.ROUTES: config.routes,
    }


_FIELDS = {
    Type.SECRET: "secrets",
    Type.CLUSTER: "clusters",
    Type.ENDPOINTS: "endpoints",
    Type.LISTENER: "listeners",
    Type.ROUTES: "routes",
}


def enforced(config: SidecarConfig, chosen: Mapping[Key, Noun], gone: AbstractSet[Key]) -> SidecarConfig:
    """Put what was chosen in force and what is gone out of it; the same configuration where that changes nothing."""
    changed: dict[Type, dict[str, Noun | None]] = {}
    for (type_, name), noun in chosen.items():
        changed.setdefault(type_, {})[name] = noun
    for type_, name in gone:
        changed.setdefault(type_, {})[name] = None
    now = in_force(config)
    fields: dict[str, Any] = {}
    for type_, nouns in changed.items():
        table = tabled(now[type_])
        if (after := table.after(nouns, operator.is_)) is not table:
            fields[_FIELDS[type_]] = after
    return replace(config, **fields) if fields else config


class Settling:
    """One pass over what some roots lead to."""

    def __init__(self, held: Mapping[Type, Held], now: SidecarConfig) -> None:
        self._held = held
        self._now = in_force(now)
        self._chosen: dict[Key, Noun | None] = {}

    def chosen(self, root: Key) -> dict[Key, Noun]:
        """Choose the form of a root, and of all it leads to."""
        found: dict[Key, Noun] = {}
        todo = [root]
        while todo:
            key = todo.pop()
            if key in found:
                continue
            noun = self._choose(*key)
            if noun is not None:
                found[key] = noun
                todo.extend(references(noun))
        return found

    def needed(self, root: Key) -> set[Key]:
        """Name everything a root needs besides itself: what is in force, and what is to replace it, all the way down."""
        found = {root}
        todo = [root]
        while todo:
            type_, name = todo.pop()
            for noun in (self._held[type_].nouns.get(name), self._now[type_].get(name)):
                fresh = set(references(noun)) - found
                found |= fresh
                todo.extend(fresh)
        found.discard(root)
        return found

    def _choose(self, type_: Type, name: str) -> Noun | None:
        """Take the last form when what it leads to can be used, else the one in force; None when there is neither."""
        key = type_, name
        if key not in self._chosen:
            held = self._held[type_]
            noun = held.nouns.get(name)
            if noun is None or not all(self._usable(*reference) for reference in references(noun)):
                noun = None if held.found(name) in _NONE else self._now[type_].get(name)
            self._chosen[key] = noun
        return self._chosen[key]

    def _usable(self, type_: Type, name: str) -> bool:
        """Whether what leads to a name may be in force: something is known of it, and be it that there is nothing to use."""
        return self._held[type_].found(name) in _NONE or self._choose(type_, name) is not None
