"""Config to tables: what did not change is taken over as it is, by identity of its noun.

In: a `SidecarConfig` (checked when it was decoded) and the tables before. Out: new `Tables`; the caller puts them in
force with one assignment and retires the slots that are gone. What this pod accepts is never taken away, only replaced:
a pod's object and its Service's port go before its processes do, and what arrives meanwhile is the app's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dataplane.config import Cluster, Endpoints, Listener, SidecarConfig
from dataplane.tables.endpoints import ClusterTable, EndpointSlot, compile_cluster
from dataplane.tables.listeners import ListenerTable
from dataplane.tables.routes import RouteIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything the hot path looks things up in."""

    config: SidecarConfig = field(default_factory=SidecarConfig)
    listeners: dict[str, ListenerTable] = field(default_factory=dict)
    routes: dict[str, RouteIndex] = field(default_factory=dict)
    clusters: dict[str, ClusterTable] = field(default_factory=dict)
    patience: float = 0.0
    """The shortest of the limits that are kept by looking now and then; 0 when there is none."""
    unknown_denied: bool = False
    """Whether the mesh lets this pod's app connect to destinations it knows only."""
    retired: tuple[EndpointSlot, ...] = ()
    """Slots of the tables before that are in no cluster any more."""
    renewed: tuple[ClusterTable, ...] = ()
    """Clusters that were there before with other options, which pools and connections are to take over."""


def compile_tables(config: SidecarConfig, previous: Tables | None = None, *, seed: int = 0) -> Tables:
    """Compile a config; `seed` is where fresh round robins begin, so that sidecars do not all begin alike."""
    before = previous or Tables()
    accepted = {name: one for name, one in before.listeners.items() if one.noun.inbound}
    listeners = accepted | {
        name: kept if (kept := before.listeners.get(name)) and kept.noun is noun else ListenerTable(noun)
        for name, noun in config.listeners.items()
    }
    own = {name for one in listeners.values() if one.noun.inbound for name in one.clusters}
    clusters, retired = _clusters(config, before, own, seed)
    routes = {
        name: known if (known := before.routes.get(name)) and known.noun is noun else RouteIndex(noun)
        for name, noun in config.routes.items()
    }
    patience = [*(one.patience for one in listeners.values()), *(one.patience for one in routes.values())]
    patience += [seconds for one in config.clusters.values() for seconds in _looked_at(one)]
    return Tables(
        config=config,
        listeners=listeners,
        routes=routes,
        clusters=clusters,
        patience=min(filter(None, patience), default=0.0),
        unknown_denied=any(_denies(one.noun) for one in listeners.values() if one.noun.inbound),
        retired=retired,
        renewed=tuple(
            one for name, one in clusters.items() if (old := before.clusters.get(name)) and old.noun is not one.noun
        ),
    )


def _looked_at(cluster: Cluster) -> tuple[float, ...]:
    """Return limits of a cluster's connections that are kept by looking now and then."""
    return (*(cluster.keepalive or ()), cluster.idle or 0.0, cluster.life or 0.0)


def _denies(inbound: Listener) -> bool:
    return ("outbound_policy", "deny") in inbound.metadata


def _clusters(
    config: SidecarConfig, before: Tables, own: set[str], seed: int
) -> tuple[dict[str, ClusterTable], tuple[EndpointSlot, ...]]:
    clusters: dict[str, ClusterTable] = {}
    retired: list[EndpointSlot] = []
    for name, noun in config.clusters.items():
        old = before.clusters.get(name)
        endpoints = _endpoints(config, name)
        if old is not None and old.noun is noun and endpoints is _endpoints(before.config, name):
            clusters[name] = old
            continue
        clusters[name], gone = compile_cluster(noun, endpoints, old, seed)
        retired += gone
    for name, old in before.clusters.items():
        if name in own and name not in clusters:
            clusters[name] = old
        elif name not in clusters:
            retired += old.all_slots()
    return clusters, tuple(retired)


def _endpoints(config: SidecarConfig, cluster: str) -> Endpoints | None:
    noun = config.clusters.get(cluster)
    if noun is None:
        return None
    return config.endpoints.get(noun.endpoints_name or noun.name)
