"""Config to tables: what did not change is taken over as it is, by identity of its noun.

In: a `SidecarConfig` (checked when it was decoded) and the tables before. Out: new `Tables`; the caller puts them in
force with one assignment and retires the slots that are gone. What this pod accepts is never taken away, only replaced:
a pod's object and its Service's port go before its processes do, and what arrives meanwhile is the app's.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable

from dataplane.config import Cluster, SidecarConfig
from dataplane.tables.endpoints import ClusterTable, EndpointSlot, compile_cluster
from dataplane.tables.listeners import ListenerTable
from dataplane.tables.routes import RouteIndex
from meshapi.records import field, record
from meshapi.table import Table, differing


@record
class Own:
    """What the pod accepts connections by: its inbound listeners, which are never taken away."""

    listeners: tuple[ListenerTable, ...] = ()
    clusters: frozenset[str] = frozenset()
    """What they lead to."""
    unknown_denied: bool = False
    """Whether the mesh lets this pod's app connect to destinations it knows only."""


@record
class Tables:
    """Everything the hot path looks things up in."""

    config: SidecarConfig = field(default_factory=SidecarConfig)
    listeners: Table[str, ListenerTable] = field(default_factory=Table)
    routes: Table[str, RouteIndex] = field(default_factory=Table)
    clusters: Table[str, ClusterTable] = field(default_factory=Table)
    own: Own = Own()
    users: Table[str, frozenset[str]] = field(default_factory=Table)
    """By name of endpoints, the clusters that have them."""
    outlived: frozenset[str] = frozenset()
    """Clusters of `own` that are not in the configuration any more."""
    limits: Table[float, int] = field(default_factory=Table)
    """How often each of the limits is set that are kept by looking now and then, seconds."""
    retired: tuple[EndpointSlot, ...] = ()
    """Slots of the tables before that are in no cluster any more."""
    renewed: tuple[ClusterTable, ...] = ()
    """Clusters that were there before with other options, which pools and connections are to take over."""

    @property
    def patience(self) -> float:
        """The shortest of the limits that are kept by looking now and then; 0 when there is none."""
        return min(self.limits, default=0.0)

    @property
    def unknown_denied(self) -> bool:
        """Whether the mesh lets this pod's app connect to destinations it knows only."""
        return self.own.unknown_denied


def compile_tables(config: SidecarConfig, previous: Tables | None = None, *, seed: int = 0) -> Tables:
    """Compile what differs of a config; `seed` is where fresh round robins begin, so that sidecars do not all begin alike."""
    return _Compiling(config, previous or Tables(), seed).tables()


class _Compiling:
    """What is another than before, tables by name: None for what is gone."""

    def __init__(self, config: SidecarConfig, before: Tables, seed: int) -> None:
        self._config = config
        self._before = before
        self._seed = seed
        self._listeners: dict[str, ListenerTable | None] = {}
        self._routes: dict[str, RouteIndex | None] = {}
        self._clusters: dict[str, ClusterTable | None] = {}
        self._users: dict[str, frozenset[str]] = {}
        self._limits: Counter[float] = Counter()
        self._outlived = set(before.outlived)
        self._retired: list[EndpointSlot] = []
        self._renewed: list[ClusterTable] = []

    def tables(self) -> Tables:
        """Compile in the order in which one leads to the next."""
        before, limits = self._before, self._limits
        self._compile_listeners()
        self._compile_routes()
        own = self._own()
        nouns = differing(before.config.clusters, self._config.clusters)
        self._note(nouns)
        users = before.users.after({name: those or None for name, those in self._users.items()})
        stale = dict.fromkeys((*(name for name, _, _ in nouns), *sorted(before.outlived - own.clusters)))
        for endpoints, _, _ in differing(before.config.endpoints, self._config.endpoints):
            stale |= dict.fromkeys(sorted(users.get(endpoints, frozenset())))
        for name in stale:
            self._compile_cluster(name, own)
        return Tables(
            config=self._config,
            listeners=before.listeners.after(self._listeners, operator.is_),
            routes=before.routes.after(self._routes, operator.is_),
            clusters=before.clusters.after(self._clusters, operator.is_),
            own=own,
            users=users,
            outlived=frozenset(self._outlived),
            limits=before.limits.after(
                {one: before.limits.get(one, 0) + by or None for one, by in limits.items() if one > 0}
            ),
            retired=tuple(self._retired),
            renewed=tuple(self._renewed),
        )

    def _compile_listeners(self) -> None:
        for name, _, noun in differing(self._before.config.listeners, self._config.listeners):
            known = self._before.listeners.get(name)
            if noun is None and known is not None and known.noun.inbound:
                continue
            made = self._listeners[name] = None if noun is None else ListenerTable(noun)
            self._recount(known, made)

    def _compile_routes(self) -> None:
        for name, _, noun in differing(self._before.config.routes, self._config.routes):
            made = self._routes[name] = None if noun is None else RouteIndex(noun)
            self._recount(self._before.routes.get(name), made)

    def _recount(self, was: ListenerTable | RouteIndex | None, now: ListenerTable | RouteIndex | None) -> None:
        if was is not None:
            self._limits[was.patience] -= 1
        if now is not None:
            self._limits[now.patience] += 1

    def _own(self) -> Own:
        """Find the inbound listeners, where one of them is another than before."""
        before, changed = self._before.own, self._listeners
        inbound = {one.name: one for one in before.listeners if one.name not in changed}
        inbound |= {name: one for name, one in changed.items() if one is not None and one.noun.inbound}
        if tuple(inbound.values()) == before.listeners:
            return before
        return Own(
            listeners=tuple(inbound.values()),
            clusters=frozenset(name for one in inbound.values() for name in one.clusters),
            unknown_denied=any(("outbound_policy", "deny") in one.noun.metadata for one in inbound.values()),
        )

    def _note(self, nouns: Iterable[tuple[str, Cluster | None, Cluster | None]]) -> None:
        """Note which clusters have which endpoints, and the limits of their connections that are kept by looking."""
        for name, was, now in nouns:
            for noun, sign in ((was, -1), (now, 1)):
                if noun is None:
                    continue
                key = _endpoints_of(noun)
                known = self._users.get(key, self._before.users.get(key, frozenset()))
                self._users[key] = known | {name} if sign > 0 else known - {name}
                for seconds in (*(noun.keepalive or ()), noun.idle or 0.0, noun.life or 0.0):
                    self._limits[seconds] += sign

    def _compile_cluster(self, name: str, own: Own) -> None:
        noun, old = self._config.clusters.get(name), self._before.clusters.get(name)
        self._outlived.discard(name)
        if noun is not None:
            endpoints = self._config.endpoints.get(_endpoints_of(noun))
            made, gone = compile_cluster(noun, endpoints, old, self._seed)
            self._clusters[name] = made
            self._retired += gone
            if old is not None and old.noun is not noun:
                self._renewed.append(made)
        elif old is not None and name in own.clusters:
            self._outlived.add(name)
        elif old is not None:
            self._clusters[name] = None
            self._retired += old.all_slots()


def _endpoints_of(cluster: Cluster) -> str:
    return cluster.endpoints_name or cluster.name
