"""Objects of a cluster of any size, as JSON about as large as real ones are.

In: numbers: which Service, which of its pods, what state. Out: bytes. Real pods carry far more than a mesh reads (managed fields, volumes, statuses of
containers), and decoding has to pass over it, so it is here too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from meshapi import names

Object = dict[str, Any]

NAMESPACES = 50
NODES = 50
MESH_EVERY = 5
"""One pod of so many carries a sidecar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a cluster is."""

    name: str
    services: int
    pods: int

    @property
    def each(self) -> int:
        """Pods of a Service."""
        return self.pods // self.services

    @property
    def routes(self) -> int:
        """A tenth of the Services have an HTTPRoute."""
        return self.services // 10


SIZES = {
    one.name: one
    for one in (
        Size(name="100/1000/200", services=100, pods=1_000),
        Size(name="1000/10000/2000", services=1_000, pods=10_000),
        Size(name="5000/50000/10000", services=5_000, pods=50_000),
    )
}
"""Services, pods and mesh pods, by that name."""

_FIELDS = json.dumps(
    [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {f"f:field-{n}": {".": {}, f"k:{{uid-{n}}}": {}} for n in range(12)},
        }
        for manager in ("kube-controller-manager", "kubelet")
    ]
)


def namespace_of(service: int) -> str:
    """The namespace of a Service and its pods."""
    return f"ns{service % NAMESPACES}"


def address(number: int) -> str:
    """An IPv4 address in 10.0.0.0/8."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def pod_address(service: int, pod: int) -> str:
    """The address of a pod."""
    return address(service * 64 + pod + 1) if pod < 64 else address(8_000_000 + service * 2_000 + pod)


def service_address(service: int) -> str:
    """The ClusterIP of a Service."""
    return address(4_000_000 + service)


def meshed(pod: int) -> bool:
    """Whether a pod carries a sidecar."""
    return pod % MESH_EVERY == 0


def pod_name(service: int, pod: int) -> str:
    """The name of a pod, as a Deployment's have."""
    return f"s{service}-5d9c7b8f6d-{pod:05d}"


def namespace(number: int, version: int) -> bytes:
    """A Namespace."""
    return _written({"metadata": {"name": f"ns{number}", "resourceVersion": str(version)}})


def node(number: int, version: int, beat: int = 0) -> bytes:
    """A Node; `beat` is news of its status that a mesh does not read."""
    labels = {"topology.kubernetes.io/zone": "abc"[number % 3], "kubernetes.io/hostname": f"n{number}"}
    conditions = [
        {"type": kind, "status": "False", "lastHeartbeatTime": str(beat)} for kind in ("Ready", "Disk", "PID")
    ]
    return _written(
        {
            "metadata": {"name": f"n{number}", "labels": labels, "resourceVersion": str(version)},
            "status": {"conditions": conditions, "images": [{"names": [f"registry/image-{n}"]} for n in range(50)]},
        }
    )


def service(number: int, version: int) -> bytes:
    """A Service with one HTTP port."""
    ip = service_address(number)
    return _written(
        {
            "metadata": {"name": f"s{number}", "namespace": namespace_of(number), "resourceVersion": str(version)},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": ip,
                "clusterIPs": [ip],
                "selector": {"app": f"s{number}"},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
                "internalTrafficPolicy": "Cluster",
                "sessionAffinity": "None",
            },
        }
    )


def slices(
    number: int, pods: int, down: frozenset[int], version: int, only: int | None = None
) -> list[tuple[str, bytes]]:
    """The EndpointSlices of a Service, a hundred endpoints each, by name; pods in `down` are not ready. `only` is the one of a pod."""
    made = []
    for first in range(0, pods, 100):
        if only is not None and not first <= only < first + 100:
            continue
        name = f"s{number}-{first // 100:05d}"
        made.append((name, _slice(number, name, range(first, min(first + 100, pods)), down, version)))
    return made


def _slice(number: int, name: str, pods: range, down: frozenset[int], version: int) -> bytes:
    return _written(
        {
            "metadata": {
                "name": name,
                "namespace": namespace_of(number),
                "labels": {"kubernetes.io/service-name": f"s{number}"},
                "ownerReferences": [{"kind": "Service", "name": f"s{number}", "controller": True}],
                "resourceVersion": str(version),
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [pod_address(number, pod)],
                    "conditions": {"ready": pod not in down, "serving": pod not in down, "terminating": False},
                    "nodeName": f"n{pod % NODES}",
                    "zone": "abc"[pod % NODES % 3],
                    "targetRef": {
                        "kind": "Pod",
                        "name": pod_name(number, pod),
                        "namespace": namespace_of(number),
                        "uid": f"00000000-0000-0000-{number:04d}-{pod:012d}",
                    },
                }
                for pod in pods
            ],
        }
    )


def pod(service: int, number: int, version: int, *, ready: bool = True, unread: int = 0) -> bytes:
    """A running pod; `unread` is news of its status that a mesh does not read."""
    ip = pod_address(service, number)
    labels = {"app": f"s{service}", "pod-template-hash": "5d9c7b8f6d"}
    if meshed(number):
        labels[names.MESH_LABEL] = names.ENABLED
    at = f"2026-01-01T00:00:{unread % 60:02d}Z"
    whole = {
        "metadata": {
            "name": pod_name(service, number),
            "namespace": namespace_of(service),
            "uid": f"00000000-0000-0000-{service:04d}-{number:012d}",
            "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"s{service}-5d9c7b8f6d", "controller": True}],
            "resourceVersion": str(version),
            "managedFields": None,
        },
        "spec": {
            "serviceAccountName": f"s{service}",
            "nodeName": f"n{number % NODES}",
            "volumes": [{"name": f"v{n}", "configMap": {"name": f"c{n}", "defaultMode": 420}} for n in range(4)],
            "containers": [
                {
                    "name": "app",
                    "image": "registry/app:1",
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "env": [{"name": f"VARIABLE_{n}", "value": "a value of some length"} for n in range(10)],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                {"type": kind, "status": str(ready), "lastTransitionTime": at}
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [{"name": "app", "ready": ready, "restartCount": unread, "containerID": "c" * 70}],
        },
    }
    return _written(whole).replace(b'"managedFields":null', b'"managedFields":' + _FIELDS.encode())


def route(number: int, weight: int = 1) -> Object:
    """An HTTPRoute of a Service, with two rules."""
    rules = [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "backendRefs": [{"name": f"s{number}", "port": 80, "weight": weight}],
        }
        for path in ("/a", "/")
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": f"r{number}",
            "namespace": namespace_of(number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": f"s{number}"}], "rules": rules},
    }


def policy(number: int) -> Object:
    """A PeerAuthentication of a namespace: some have one."""
    return {
        "apiVersion": "tulle.dev/v1alpha1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": f"ns{number}", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }


def review(number: int) -> bytes:
    """What an API server asks the webhook about a new pod."""
    obj = json.loads(pod(0, number, 1))
    obj["metadata"].pop("managedFields")
    obj["metadata"]["labels"][names.INJECT] = names.ENABLED
    obj["metadata"]["labels"].pop(names.MESH_LABEL, None)
    request = {
        "uid": str(number),
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": "ns0",
        "operation": "CREATE",
        "object": obj,
    }
    return _written({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


def _written(obj: Object) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode()
