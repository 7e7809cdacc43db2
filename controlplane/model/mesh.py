"""Mesh-wide settings, and the whole model by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.model.meta import Key, Problem, RouteKey
from controlplane.model.security import Mode, PeerAuthentication
from controlplane.model.services import EndpointSlice, Service
from controlplane.model.traffic import Route
from controlplane.model.workloads import Node, Pod
from meshapi.table import Table

MESH_NAME = "default"
"""The one Mesh object that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """What the Mesh object says, or what holds without one."""

    mode: Mode = Mode.PERMISSIVE
    outbound_allowed: bool = True
    """Whether destinations the mesh does not know are passed through."""
    detection_timeout: float = 10.0
    """Seconds a sidecar waits for a client's first bytes where no protocol is declared."""
    access_log: bool = False
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Everything the mesh knows. A table that did not change is the same object as in the model before, and one that did knows in what."""

    trust_domain: str = "cluster.local"
    mesh: MeshSettings = MeshSettings()
    nodes: Table[Key, Node] = field(default_factory=Table)
    pods: Table[Key, Pod] = field(default_factory=Table)
    services: Table[Key, Service] = field(default_factory=Table)
    slices: Table[Key, EndpointSlice] = field(default_factory=Table)
    routes: Table[RouteKey, Route] = field(default_factory=Table)
    authentications: Table[Key, PeerAuthentication] = field(default_factory=Table)
    problems: tuple[Problem, ...] = ()
    faults: Mapping[str, Exception] = field(default_factory=dict, compare=False, repr=False)
    """Objects that a defect of ours keeps from being read, by kind and key; their last nouns stay."""
    memo: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    """What each raw object was read as; only `ingest` looks inside."""
