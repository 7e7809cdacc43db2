"""Where workloads run and as whom: nodes and pods, reduced to what the mesh decides by."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.meta import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine of the cluster."""

    name: str
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort:
    """A TCP port a container declares."""

    port: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A workload instance that has, or will have, an address of its own."""

    key: Key
    ips: tuple[str, ...] = ()
    """Canonical form; empty while the pod has none, shares its node's, or has ended."""
    account: str = "default"
    node: str = ""
    mesh: bool = False
    """Carries the sidecar."""
    workload_kind: str = ""
    workload: str = ""
    """The owner users know (`Deployment` rather than `ReplicaSet`), or the pod itself."""
    app: str = ""
    version: str = ""
    ports: tuple[ContainerPort, ...] = ()
    opaque: frozenset[int] = frozenset()
    """Inbound ports relayed without looking inside."""
    excluded: frozenset[int] = frozenset()
    """Inbound ports the sidecar does not capture; nothing there speaks mesh TLS."""
    created: str = ""
