"""Which resources differ between two snapshots, so that only they are built again and pushed.

In: two snapshots, and the names clients are subscribed to. Out: (type, name) pairs that may differ, or have come to exist, or ceased to. It may
name a resource that turns out equal (versions tell), never miss one that differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from controlplane.compiler.snapshot import MeshSnapshot, PodEntry, PortKey, PortTraffic, ServiceEntry
from controlplane.model.meta import Key
from meshapi import xds
from meshapi.xds import Type

Change = tuple[Type, str]
K = TypeVar("K")
V = TypeVar("V")


def affected(previous: MeshSnapshot, current: MeshSnapshot, subscribed: Iterable[Change] = ()) -> set[Change]:
    """Name all resources that may differ.

    `subscribed` finds addresses of pods at ports nobody declared, which are known only once somebody asked for them.
    """
    subscribed = list(subscribed)
    if previous.mesh != current.mesh or previous.trust_domain != current.trust_domain:
        return {*subscribed, *_everything(previous), *_everything(current)}
    found: set[Change] = set()
    if previous.roots != current.roots:
        found.add((Type.SECRET, xds.TRUST_BUNDLE))
    for old, new in _differing(previous.services, current.services):
        found.update(_service(old, new))
    for key in _differing_keys(previous.traffic, current.traffic):
        found.update(_traffic(key, previous, current))
    pods = list(_differing(previous.pods, current.pods))
    for old_pod, new_pod in pods:
        found.update(_pod(old_pod, new_pod))
    if pods:
        found.update(_undeclared(pods, subscribed))
    return found


def _differing(old: Mapping[K, V], new: Mapping[K, V]) -> Iterator[tuple[V | None, V | None]]:
    for key in _differing_keys(old, new):
        yield old.get(key), new.get(key)


def _differing_keys(old: Mapping[K, V], new: Mapping[K, V]) -> Iterator[K]:
    if old is new:
        return
    for key in old.keys() | new.keys():
        a, b = old.get(key), new.get(key)
        if a is not b and a != b:
            yield key


def _service(old: ServiceEntry | None, new: ServiceEntry | None) -> Iterator[Change]:
    same_service = old and new and old.service == new.service
    for entry, other in ((old, new), (new, old)):
        if entry is None:
            continue
        for port, endpoints in entry.ports.items():
            facing = other.ports.get(port) if other else None
            name = xds.service_cluster(entry.service.key.namespace, entry.service.key.name, port)
            if facing is None or facing.endpoints != endpoints.endpoints:
                yield Type.ENDPOINTS, name
            if facing is None or facing.identities != endpoints.identities or not same_service:
                yield Type.CLUSTER, name
            if not same_service:
                yield Type.ROUTES, name
                yield from _listeners(entry, port)


def _listeners(entry: ServiceEntry, port: int) -> Iterator[Change]:
    """Listeners of a Service port: by its addresses for sidecars, by its names for gRPC clients."""
    for ip in entry.service.ips:
        yield Type.LISTENER, xds.outbound_listener(ip, port)
    key = entry.service.key
    for suffix in ("", ".svc", ".svc.cluster.local"):
        yield Type.LISTENER, f"{key.name}.{key.namespace}{suffix}:{port}"


def _traffic(key: PortKey, previous: MeshSnapshot, current: MeshSnapshot) -> Iterator[Change]:
    none = PortTraffic()
    old, new = previous.traffic.get(key, none), current.traffic.get(key, none)
    if old.producer != new.producer:
        yield Type.ROUTES, key.cluster
    for namespace in _differing_keys(old.consumers, new.consumers):
        yield Type.ROUTES, xds.consumer_routes(key.namespace, key.service, key.port, namespace)
    for snapshot in (previous, current):
        found = snapshot.services.get(Key(key.namespace, key.service))
        if found:
            yield from _listeners(found, key.port)


def _pod(old: PodEntry | None, new: PodEntry | None) -> Iterator[Change]:
    for entry in filter(None, (old, new)):
        key = entry.pod.key
        yield Type.LISTENER, xds.inbound_listener(key.namespace, key.name)
        for port, _ in entry.ports:
            yield from ((Type.LISTENER, xds.outbound_listener(ip, port)) for ip in entry.pod.ips)
            name = xds.pod_cluster(key.namespace, key.name, port)
            yield Type.CLUSTER, name
            yield Type.ENDPOINTS, name
    if old and new:
        for port, _ in {*old.ports} ^ {*new.ports}:
            yield Type.CLUSTER, xds.inbound_cluster(port)


def _undeclared(pods: Iterable[tuple[PodEntry | None, PodEntry | None]], subscribed: list[Change]) -> Iterator[Change]:
    """Subscribed names at a changed pod's addresses, whatever the port."""
    entries = [entry for pair in pods for entry in pair if entry]
    prefixes = {xds.outbound_listener(ip, 1).removesuffix("1") for entry in entries for ip in entry.pod.ips}
    prefixes |= {xds.pod_cluster(entry.pod.key.namespace, entry.pod.key.name, 1).removesuffix("1") for entry in entries}
    for change in subscribed:
        name = change[1]
        if name[: name.rfind(":") + 1] in prefixes:
            yield change


def _everything(snapshot: MeshSnapshot) -> Iterator[Change]:
    for entry in snapshot.services.values():
        yield from _service(entry, None)
    for key in snapshot.traffic:
        yield from _traffic(key, MeshSnapshot(services=snapshot.services), snapshot)
    for pod in snapshot.pods.values():
        yield from _pod(pod, None)
