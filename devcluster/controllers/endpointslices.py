"""EndpointSlices and Endpoints: who stands behind a Service.

In: Services with a selector, and pods. Out: a slice for each set of port numbers (a named target port may be another number in another
pod), and the older Endpoints object with the same knowledge. Services without a selector are left to whoever wrote their endpoints.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.selectors import selector_matches
from devcluster.controllers.objects import controlled, hash_of, is_ready, is_terminating, owner, phase
from devcluster.controllers.reconcile import Key, Loop, controller, find

Object = dict[str, Any]
KIND: Final = "endpointslices.discovery.k8s.io"
_MANAGED: Final = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
_NAME: Final = "kubernetes.io/service-name"
_HEADLESS: Final = "service.kubernetes.io/headless"
_WHO: Final = controller("endpointslice-controller")
Ports = tuple[tuple[str, str, int, str], ...]
"""(name, protocol, number, application protocol) of each port."""


class EndpointSlices:
    """Keeps the endpoints of Services."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.loop = Loop("endpointslice", self.reconcile)
        self.loop.follow(registry, "services")
        self.loop.follow(registry, "pods", self._of_pod)
        self.loop.follow(registry, KIND, _of_slice)

    def _of_pod(self, pod: Object) -> list[Key]:
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
        services = self._registry.list("services", namespace)
        return [(namespace, s["metadata"]["name"]) for s in services if _selects(s, labels)]

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Write the endpoints of one Service."""
        service = find(self._registry, "services", namespace, name)
        if service is None or is_terminating(service):
            if service is None and find(self._registry, "endpoints", namespace, name):
                await self._registry.delete("endpoints", namespace, name, user=_WHO)
            return None
        if not service["spec"].get("selector"):
            return None
        pods = [p for p in self._registry.list("pods", namespace) if _counts(service, p)]
        await self._write_slices(service, pods)
        await self._write_endpoints(service, pods)
        return None

    async def _write_slices(self, service: Object, pods: list[Object]) -> None:
        namespace = service["metadata"]["namespace"]
        groups: dict[Ports, list[Object]] = {}
        for pod in pods:
            groups.setdefault(_ports(service, pod), []).append(pod)
        wanted = {}
        for ports, members in (groups or {(): []}).items():
            made = _slice(service, ports, members)
            wanted[made["metadata"]["name"]] = made
        there = {o["metadata"]["name"]: o for o in controlled(self._registry, KIND, service)}
        for name, made in wanted.items():
            await self._put(KIND, there.get(name), made)
        for name in there.keys() - wanted.keys():
            await self._registry.delete(KIND, namespace, name, user=_WHO)

    async def _write_endpoints(self, service: Object, pods: list[Object]) -> None:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        groups: dict[Ports, list[Object]] = {}
        for pod in pods:
            if not is_terminating(pod):
                groups.setdefault(_ports(service, pod), []).append(pod)
        labels = dict(service["metadata"].get("labels") or {})
        labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
        made = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "subsets": [_subset(service, ports, members) for ports, members in sorted(groups.items())],
        }
        await self._put("endpoints", find(self._registry, "endpoints", namespace, name), made)

    async def _put(self, kind: str, there: Object | None, made: Object) -> None:
        if there is None:
            await self._registry.create(kind, made, user=_WHO)
            return
        keys = made.keys() - {"metadata"}
        same = all(there.get(key, []) == made[key] for key in keys)
        if same and (there["metadata"].get("labels") or {}) == made["metadata"]["labels"]:
            return
        changed = copy.deepcopy(there) | {key: made[key] for key in keys}
        changed["metadata"]["labels"] = made["metadata"]["labels"]
        changed["metadata"].pop("resourceVersion", None)
        try:
            await self._registry.update(kind, changed, user=_WHO)
        except StatusError as refused:
            if refused.code != 404:
                raise


def _of_slice(obj: Object) -> list[Key]:
    labels = obj["metadata"].get("labels") or {}
    return [(obj["metadata"]["namespace"], labels[_NAME])] if _MANAGED.items() <= labels.items() else []


def _selects(service: Object, labels: dict[str, str]) -> bool:
    selector = service["spec"].get("selector")
    return bool(selector) and selector_matches({"matchLabels": selector}, labels)


def _counts(service: Object, pod: Object) -> bool:
    ended = phase(pod) in {"Succeeded", "Failed"}
    return not ended and bool(_address(pod)) and _selects(service, pod["metadata"].get("labels") or {})


def _address(pod: Object) -> str:
    return str((pod.get("status") or {}).get("podIP", ""))


def _ports(service: Object, pod: Object) -> Ports:
    found = []
    for port in service["spec"].get("ports") or []:
        target, protocol = port.get("targetPort") or port["port"], port.get("protocol", "TCP")
        number = target if isinstance(target, int) else _named(pod, target, protocol)
        if number:
            found.append((port.get("name", ""), protocol, number, port.get("appProtocol", "")))
    return tuple(found)


def _named(pod: Object, name: str, protocol: str) -> int:
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *sidecars]:
        for port in container.get("ports") or []:
            if port.get("name") == name and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return 0


def _slice(service: Object, ports: Ports, pods: list[Object]) -> Object:
    metadata, spec = service["metadata"], service["spec"]
    labels = {**(metadata.get("labels") or {}), **_MANAGED, _NAME: metadata["name"]}
    if spec.get("clusterIP") == "None":
        labels[_HEADLESS] = ""
    told = []
    for name, protocol, number, application in ports:
        port: Object = {"name": name, "protocol": protocol, "port": number}
        told.append(port | ({"appProtocol": application} if application else {}))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{hash_of(ports, 5)}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner(service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(service, pod) for pod in sorted(pods, key=lambda p: p["metadata"]["name"])],
        "ports": told,
    }


def _endpoint(service: Object, pod: Object) -> Object:
    serving, terminating = is_ready(pod), is_terminating(pod)
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    told: Object = {
        "addresses": [_address(pod)],
        "conditions": {
            "ready": always or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": _target(pod),
        "nodeName": pod["spec"].get("nodeName", ""),
    }
    return told | _hostname(service, pod)


def _target(pod: Object) -> Object:
    metadata = pod["metadata"]
    return {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}


def _hostname(service: Object, pod: Object) -> Object:
    spec = pod["spec"]
    named = spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]
    return {"hostname": spec["hostname"]} if named else {}


def _subset(service: Object, ports: Ports, pods: list[Object]) -> Object:
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    subset: Object = {"ports": []}
    for pod in sorted(pods, key=_address):
        address = {"ip": _address(pod), "nodeName": pod["spec"].get("nodeName", ""), "targetRef": _target(pod)}
        key = "addresses" if always or is_ready(pod) else "notReadyAddresses"
        subset.setdefault(key, []).append(address | _hostname(service, pod))
    for name, protocol, number, _ in ports:
        subset["ports"].append({"port": number, "protocol": protocol} | ({"name": name} if name else {}))
    return subset
