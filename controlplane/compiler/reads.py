"""A snapshot as a builder sees it: whatever is looked up is noted, what is not there too.

In: a snapshot; or two of them. Out: what was read, as `Input`s; or the inputs in which the two differ. So what a change affects is never listed by
hand: it is whatever read an input that is another now. The two halves stand side by side on purpose: a look-up added to `Reads` is noted as an input
that `changed` must tell of, and tests/controlplane/test_xds_machine.py judges them together.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Iterator

from controlplane.compiler.snapshot import (
    MeshSnapshot,
    PodEntry,
    PortEndpoints,
    PortKey,
    PortTraffic,
    ServiceEntry,
)
from controlplane.model.mesh import MeshSettings
from controlplane.model.meta import Key
from controlplane.model.services import Service
from meshapi.table import differing


class What(enum.Enum):
    """The kinds of things there are to read."""

    TRUST_DOMAIN = enum.auto()
    ROOTS = enum.auto()
    MESH = enum.auto()
    SERVICES = enum.auto()
    """All of them."""
    SERVICE = enum.auto()
    """A Service by its key, without its endpoints, which come and go all the time."""
    ENDPOINTS = enum.auto()
    ZONE = enum.auto()
    """Of a node."""
    IDENTITIES = enum.auto()
    SERVICE_AT = enum.auto()
    """Whose a ClusterIP is."""
    POD = enum.auto()
    POD_AT = enum.auto()
    """Whose a pod's address is."""
    TRAFFIC = enum.auto()

    __hash__ = object.__hash__  # by identity: enum's own is a call in Python


Input = tuple[What, Hashable]
"""What was read, and by which key; None where there is only one of it."""

_NONE = PortEndpoints()


class Reads:
    """One builder's view of a snapshot; `inputs` is what it has read."""

    __slots__ = ("_snapshot", "inputs")

    def __init__(self, snapshot: MeshSnapshot, inputs: set[Input]) -> None:
        self._snapshot = snapshot
        self.inputs = inputs

    def trust_domain(self) -> str:
        """The trust domain."""
        self.inputs.add((What.TRUST_DOMAIN, None))
        return self._snapshot.trust_domain

    def roots(self) -> bytes:
        """The roots trusted now, PEM."""
        self.inputs.add((What.ROOTS, None))
        return self._snapshot.roots

    def mesh(self) -> MeshSettings:
        """Mesh-wide settings."""
        self.inputs.add((What.MESH, None))
        return self._snapshot.mesh

    def services(self) -> Iterable[Service]:
        """Every Service."""
        self.inputs.add((What.SERVICES, None))
        return (entry.service for entry in self._snapshot.services.values())

    def service(self, key: Key) -> Service | None:
        """A Service."""
        self.inputs.add((What.SERVICE, key))
        entry = self._snapshot.services.get(key)
        return entry.service if entry else None

    def endpoints(self, key: PortKey) -> PortEndpoints | None:
        """The endpoints of a Service port; None where there is no such port."""
        self.inputs.add((What.ENDPOINTS, key))
        return _at(self._snapshot.services.get(Key(key.namespace, key.service)), key.port)

    def zone(self, node: str) -> str:
        """The zone of a node; empty where it has none."""
        self.inputs.add((What.ZONE, node))
        return self._snapshot.zones.get(node, "")

    def identities(self, key: PortKey) -> tuple[str, ...]:
        """The identities behind a Service port."""
        self.inputs.add((What.IDENTITIES, key))
        found = _at(self._snapshot.services.get(Key(key.namespace, key.service)), key.port)
        return (found or _NONE).identities

    def service_at(self, ip: str) -> Key | None:
        """Whose a ClusterIP is."""
        self.inputs.add((What.SERVICE_AT, ip))
        return self._snapshot.service_ips.get(ip)

    def pod(self, key: Key) -> PodEntry | None:
        """A mesh pod."""
        self.inputs.add((What.POD, key))
        return self._snapshot.pods.get(key)

    def pod_at(self, ip: str) -> Key | None:
        """Which mesh pod has an address."""
        self.inputs.add((What.POD_AT, ip))
        return self._snapshot.pod_ips.get(ip)

    def traffic(self, key: PortKey) -> PortTraffic | None:
        """The routes of a Service port."""
        self.inputs.add((What.TRAFFIC, key))
        return self._snapshot.traffic.get(key)


def changed(old: MeshSnapshot, new: MeshSnapshot) -> Iterator[Input]:
    """Name every input that is read differently from the two."""
    if old.trust_domain != new.trust_domain:
        yield What.TRUST_DOMAIN, None
    if old.roots != new.roots:
        yield What.ROOTS, None
    if old.mesh != new.mesh:
        yield What.MESH, None
    services = False
    for key, before, after in differing(old.services, new.services):
        if (before and before.service) != (after and after.service):
            services = True
            yield What.SERVICE, key
        yield from _ports(key, before, after)
    if services:
        yield What.SERVICES, None
    yield from ((What.ZONE, one) for one, _, _ in differing(old.zones, new.zones))
    yield from ((What.SERVICE_AT, one) for one, _, _ in differing(old.service_ips, new.service_ips))
    yield from ((What.POD, one) for one, _, _ in differing(old.pods, new.pods))
    yield from ((What.POD_AT, one) for one, _, _ in differing(old.pod_ips, new.pod_ips))
    yield from ((What.TRAFFIC, one) for one, _, _ in differing(old.traffic, new.traffic))


def _ports(key: Key, old: ServiceEntry | None, new: ServiceEntry | None) -> Iterator[Input]:
    ports = {*(old.ports if old else ()), *(new.ports if new else ())}
    for port in ports:
        at = PortKey(key.namespace, key.name, port)
        before, after = _at(old, port), _at(new, port)
        if _told(before) != _told(after):
            yield What.ENDPOINTS, at
        if (before or _NONE).identities != (after or _NONE).identities:
            yield What.IDENTITIES, at


def _told(found: PortEndpoints | None) -> object:
    """What of a port's endpoints is told to callers."""
    return found and (found.endpoints, found.local, found.ending)


def _at(entry: ServiceEntry | None, port: int) -> PortEndpoints | None:
    return entry.ports.get(port) if entry else None
