"""The one node, as objects: the Node itself, its Lease, and the Services by which the node's own programs are found.

In: nothing but the registry. Out: a Node that is ready, a heartbeat, `default/kubernetes` and `kube-system/kube-dns` with their endpoints.
"""

from __future__ import annotations

import asyncio
import copy
import os
import platform
from datetime import UTC, datetime
from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.information import VERSION
from devcluster.api.registry import Registry
from devcluster.controllers.objects import now
from devcluster.controllers.reconcile import controller, find
from devcluster.runtime.network import API_ADDRESS, API_PORT, DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, POD_CIDR

Object = dict[str, Any]
_LEASES: Final = "kube-node-lease"
_HEARTBEAT: Final = 10.0
_WHO: Final = controller("node-controller")


async def keep_node(registry: Registry) -> None:
    """Make the node's objects and keep its lease, until cancelled."""
    for namespace in ("default", "kube-system", "kube-public", _LEASES):
        await _make(registry, "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await _make(registry, "nodes", _node())
    ports = [{"name": "https", "port": 443, "targetPort": API_PORT, "protocol": "TCP"}]
    await _service(registry, ("default", "kubernetes", API_ADDRESS), ports)
    names = [("dns", "UDP"), ("dns-tcp", "TCP")]
    ports = [{"name": name, "port": 53, "targetPort": 53, "protocol": protocol} for name, protocol in names]
    await _service(registry, ("kube-system", "kube-dns", DNS_ADDRESS), ports)
    while True:
        await _beat(registry)
        await asyncio.sleep(_HEARTBEAT)


async def _make(registry: Registry, kind: str, obj: Object) -> None:
    if find(registry, kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) is None:
        await registry.create(kind, obj, user=_WHO)


async def _service(registry: Registry, named: tuple[str, str, str], ports: list[Object]) -> None:
    namespace, name, address = named
    labels = {"kubernetes.io/service-name": name}
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"k8s-app": name, "kubernetes.io/cluster-service": "true"},
    }
    spec = {"clusterIP": address, "type": "ClusterIP", "ports": ports}
    await _make(registry, "services", {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    numbers = [{"name": p["name"], "port": p["targetPort"], "protocol": p["protocol"]} for p in ports]
    made = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [NODE_ADDRESS], "conditions": {"ready": True, "serving": True, "terminating": False}}
        ],
        "ports": numbers,
    }
    await _make(registry, "endpointslices.discovery.k8s.io", made)
    subsets = [{"addresses": [{"ip": NODE_ADDRESS}], "ports": numbers}]
    metadata = {"name": name, "namespace": namespace}
    await _make(
        registry, "endpoints", {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
    )


async def _beat(registry: Registry) -> None:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    found = find(registry, "leases.coordination.k8s.io", _LEASES, NODE_NAME)
    spec = {"holderIdentity": NODE_NAME, "leaseDurationSeconds": 40, "renewTime": stamp}
    try:
        if found is None:
            metadata = {"name": NODE_NAME, "namespace": _LEASES}
            made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await registry.create("leases.coordination.k8s.io", made, user=_WHO)
        else:
            await registry.update("leases.coordination.k8s.io", copy.deepcopy(found) | {"spec": spec}, user=_WHO)
    except StatusError:
        return  # somebody wrote or took the lease away meanwhile; the next beat sets it right


def _node() -> Object:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory}Ki", "pods": "1000", "ephemeral-storage": "10Gi"}
    labels = {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": machine}
    labels |= {"node-role.kubernetes.io/control-plane": ""}
    states = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    times = {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
    conditions = [{"type": t, "status": s, "reason": r, "message": m} | times for t, s, r, m in states]
    info = {
        "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": platform.release(), "osImage": "devcluster",
        "containerRuntimeVersion": "devcluster://1", "kubeletVersion": VERSION, "kubeProxyVersion": VERSION,
        "operatingSystem": "linux", "architecture": machine,
    }  # fmt: skip
    addresses = [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": NODE_NAME}]
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": conditions,
        "addresses": addresses,
        "nodeInfo": info,
    }
    spec = {"podCIDR": POD_CIDR, "podCIDRs": [POD_CIDR]}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME, "labels": labels},
        "spec": spec,
        "status": status,
    }
