"""Objects as the API has them, short to write, and a store that hands them out as the feed's does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from controlplane.feed.kinds import CLUSTER

Object = dict[str, Any]


_RECORDS = {kind.name: kind for kind in CLUSTER}


class Objects:
    """Objects by kind; what `ingest` reads: what runs in the cluster as records, what users write as they wrote it."""

    def __init__(self, *objects: Object) -> None:
        self.held: dict[tuple[str, str, str], Object] = {}
        """As the API has them."""
        self._kept: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self.apply(*objects)

    def apply(self, *objects: Object) -> None:
        """Take objects in, or over."""
        for one in objects:
            place = one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]
            kind = _RECORDS.get(one["kind"])
            self.held[place] = one
            self._kept[place] = kind.kept(msgspec.convert(one, kind.shape)) if kind else one

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Forget one."""
        del self.held[kind, namespace, name], self._kept[kind, namespace, name]

    def get(self, *place: str) -> Mapping[str, Any]:
        """One, by kind, namespace and name."""
        kind, namespace, name = place
        return self._kept[kind, namespace, name]

    def of(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """All of a kind."""
        return [one for (held, _, _), one in self._kept.items() if held == kind]


def service(name: str, ip: str, *ports: Object, namespace: str = "shop", **annotations: Any) -> Object:
    """A Service; a port is `{"port": 80, "name": "http"}`. The ip None makes it headless."""
    more = annotations.pop("spec", {})
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": list(ports), **more},
    }


def pod(name: str, ip: str, *, namespace: str = "shop", mesh: bool = True, account: str = "", **more: Any) -> Object:
    """A running pod, in the mesh unless told otherwise, that declares container port 8080."""
    labels = {
        "app": name.split("-", maxsplit=1)[0],
        **({"tulle.dev/mesh": "enabled"} if mesh else {}),
        **more.pop("labels", {}),
    }
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, **more},
        "spec": {
            "serviceAccountName": account or name.split("-", maxsplit=1)[0],
            "nodeName": "node-1",
            "containers": [{"name": "app", "ports": [{"containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    }


def endpoint(
    pod_name: str,
    ip: str,
    *,
    namespace: str = "shop",
    node: str = "node-1",
    hints: Object | None = None,
    **conditions: bool,
) -> Object:
    """An endpoint of a slice: a pod at an address, meant for callers of some zones or nodes where there are hints."""
    return {
        **({"hints": hints} if hints else {}),
        "addresses": [ip],
        "conditions": conditions or {"ready": True},
        "nodeName": node,
        "targetRef": {"kind": "Pod", "name": pod_name, "namespace": namespace},
    }


def endpoint_slice(
    of: str, *endpoints: Object, namespace: str = "shop", ports: Mapping[str, int] | None = None
) -> Object:
    """A Service's slice, on named target ports (`{"http": 8080}` unless told otherwise)."""
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{of}-abc",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": of},
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in (ports or {"http": 8080}).items()],
        "endpoints": list(endpoints),
    }


def route(
    name: str, *rules: Object, kind: str = "HTTPRoute", parent: str = "web", namespace: str = "shop", **more: Any
) -> Object:
    """A route with a Service as parent; `parents` replaces its references, `created` its age."""
    reference = {"group": "", "kind": "Service", "name": parent, "namespace": "shop"}
    return {
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "creationTimestamp": more.pop("created", "2026-01-01T00:00:00Z"),
        },
        "spec": {"parentRefs": more.pop("parents", [reference]), "rules": list(rules), **more},
    }


def to(name: str, port: int = 80, weight: int = 1, **more: Any) -> Object:
    """A backendRef."""
    return {"name": name, "port": port, "weight": weight, **more}


def peer_authentication(
    name: str, mode: str, *targets: tuple[str, str, str], namespace: str = "shop", **more: Any
) -> Object:
    """A PeerAuthentication; a target is (group, kind, name)."""
    spec: Object = {"mtls": {"mode": mode}, "portLevel": more.pop("ports", [])}
    if targets:
        spec["targetRefs"] = [{"group": g, "kind": k, "name": n} for g, k, n in targets]
    created = more.pop("created", "2026-01-01T00:00:00Z")
    return {
        "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
        "spec": spec,
    }


HTTP = {"name": "http", "port": 80}


def shop() -> Objects:
    """Two Services in front of two mesh pods and one outside, on a node with a zone."""
    return Objects(
        {"kind": "Node", "metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "a"}}},
        service("web", "10.96.0.1", HTTP),
        service("api", "10.96.0.2", HTTP),
        pod("web-1", "10.0.0.1"),
        pod("api-1", "10.0.0.2"),
        pod("api-2", "10.0.0.3", mesh=False),
        endpoint_slice("web", endpoint("web-1", "10.0.0.1")),
        endpoint_slice("api", endpoint("api-1", "10.0.0.2"), endpoint("api-2", "10.0.0.3")),
    )
