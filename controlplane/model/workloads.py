"""Where workloads run and as whom: nodes and pods, reduced to what the mesh decides by."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.meta import Fields, Key
from controlplane.model.ports import NO_PORTS, Ports
from meshapi import names

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of a pod in which nothing runs any more."""


def has_sidecar(pod: Fields) -> bool:
    """Tell whether a pod, as the store has it, carries the sidecar."""
    spec = pod.get("spec") or {}
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return any(container.get("name") == names.PROXY_CONTAINER for container in containers)


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
    opaque: Ports = NO_PORTS
    """Inbound ports relayed without looking inside."""
    excluded: Ports = NO_PORTS
    """Inbound ports the sidecar does not capture; nothing there speaks mesh TLS."""
    created: str = ""
