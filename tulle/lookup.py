"""Workloads, their pods and Services, found by the names people use (`deploy/web`, `pod/client`, `web:80`).

In: a cluster and words from the command line. Out: pods and addresses. What is not there is a Failure that says what was looked for.
"""

from __future__ import annotations

import http
import ipaddress
import json
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from meshapi import names
from tulle.kube import Kube, KubeError, Query
from tulle.output import Failure
from tulle.portforward import ask_port

Object = dict[str, Any]

MISDIRECTED = 421
"""A replica's status where another may have the sidecar's stream (RFC 9110, 15.5.20)."""
SYSTEM_SELECTOR = "app.kubernetes.io/name=tulle"
_LOG_LINES = 500
"""Of a sidecar's log that are looked through; the same reason is told once in a row."""
_WORKLOADS = {
    "deployment": ("apps/v1", "deployments"),
    "statefulset": ("apps/v1", "statefulsets"),
    "daemonset": ("apps/v1", "daemonsets"),
    "replicaset": ("apps/v1", "replicasets"),
    "job": ("batch/v1", "jobs"),
    "rollout": ("argoproj.io/v1alpha1", "rollouts"),
}
_SHORT = {"deploy": "deployment", "sts": "statefulset", "ds": "daemonset", "rs": "replicaset", "po": "pod"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where an app means to connect."""

    host: str
    """As the app writes it, without the port."""
    port: int
    address: str = ""
    """`ip:port` the connection would have; empty when the cluster does not know the host."""


def is_injected(pod: Object) -> bool:
    """Tell whether a pod carries a sidecar."""
    return names.STATUS in (pod["metadata"].get("annotations") or {})


def injected(kube: Kube) -> list[Object]:
    """List the pods of the cluster that carry a sidecar."""
    pods = kube.items("/api/v1/pods", labelSelector=f"{names.MESH_LABEL}={names.ENABLED}")
    return [pod for pod in pods if is_injected(pod)]


def trusted_roots(kube: Kube, system: str) -> str:
    """Read the roots the control plane trusts, PEM; empty where there are none yet."""
    found = kube.find(f"/api/v1/namespaces/{system}/configmaps/tulle-trust") or {}
    return "".join((found.get("data") or {}).values())


def is_ready(pod: Object) -> bool:
    """Tell whether a pod is ready and staying."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def sidecar_of(kube: Kube, namespace: str, workload: str) -> Object:
    """Find a pod of a workload whose sidecar can be asked; raises Failure."""
    pods = _pods_of(kube, namespace, workload)
    injected = [pod for pod in pods if is_injected(pod)]
    if not pods:
        raise Failure(f"{workload} in namespace {namespace} has no pods")
    if not injected:
        raise Failure(f"{workload} in namespace {namespace} is not in the mesh: none of its pods has a sidecar")
    return max(injected, key=is_ready)


def _pods_of(kube: Kube, namespace: str, workload: str) -> list[Object]:
    kind, _, name = workload.rpartition("/")
    kind = (kind or "pod").lower()
    kind = _SHORT.get(kind, kind if kind in _WORKLOADS or kind == "pod" else kind.removesuffix("s"))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    if kind == "pod":
        pod = kube.find(f"{pods}/{name}")
        if pod is None:
            raise Failure(f"there is no pod {name} in namespace {namespace}")
        return [pod]
    if kind not in _WORKLOADS:
        raise Failure(f"{workload} names no workload; write pod/NAME, {', '.join(f'{k}/NAME' for k in _WORKLOADS)}")
    api, plural = _WORKLOADS[kind]
    owner = kube.find(f"/apis/{api}/namespaces/{namespace}/{plural}/{name}")
    if owner is None:
        raise Failure(f"there is no {kind} {name} in namespace {namespace}")
    labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {"job-name": name}
    return kube.items(pods, labelSelector=",".join(f"{k}={v}" for k, v in labels.items()))


def destination(kube: Kube, namespace: str, host: str) -> Destination:
    """Find what an app in a namespace reaches under `name[:port]`; raises Failure."""
    name, port = split_host(host)
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        service, inside = _service_name(name, namespace)
        if inside is None:
            return Destination(host=name, port=port)
        found = kube.find(f"/api/v1/namespaces/{inside}/services/{service}")
        if found is None:
            if name.count(".") == 1:
                return Destination(host=name, port=port)  # the resolver would ask outside next
            raise Failure(f"there is no Service {service} in namespace {inside}") from None
        address = found["spec"].get("clusterIP") or ""
        if address in ("", "None"):
            address = _endpoint(kube, inside, service)
    else:
        address = str(literal)
    return Destination(host=name, port=port, address=join_host(address, port) if address else "")


def split_host(host: str) -> tuple[str, int]:
    """Take `name`, `name:port` or `[v6]:port` apart; raises Failure."""
    try:
        parts = urllib.parse.urlsplit(f"//{host}" if host.count(":") < 2 or "[" in host else f"//[{host}]")
        name, port = parts.hostname, parts.port or 80
    except ValueError:
        name, port = None, 0
    if not name:
        raise Failure(f"--host {host!r} is not of the form NAME[:PORT]")
    return name, port


def join_host(address: str, port: int) -> str:
    """Write an address and port, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _service_name(name: str, namespace: str) -> tuple[str, str | None]:
    """Read a DNS name as the cluster's resolver would; no namespace means it is none of the cluster's."""
    parts = name.split(".")
    if len(parts) == 1:
        return name, namespace
    if len(parts) == 2 or parts[2] == "svc":
        return parts[0], parts[1]
    return name, None


def _endpoint(kube: Kube, namespace: str, service: str) -> str:
    slices = kube.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={service}",
    )
    for endpoint in (e for each in slices for e in each.get("endpoints") or ()):
        if (endpoint.get("conditions") or {}).get("ready", True):
            address: str = endpoint["addresses"][0]
            return address
    raise Failure(f"Service {service} in namespace {namespace} is headless and has no ready endpoint")


class BusyError(Failure):
    """Too much is asked at once: it may be tried again."""


def control_planes(kube: Kube, system: str) -> list[Object]:
    """List the running replicas of the control plane."""
    pods = kube.items(f"/api/v1/namespaces/{system}/pods", labelSelector=SYSTEM_SELECTOR)
    return [pod for pod in pods if is_ready(pod)]


def proxies(kube: Kube, system: str) -> list[Object]:
    """Merge what every replica knows of its sidecars, the youngest connection of each first; raises Failure."""
    replicas = control_planes(kube, system)
    if not replicas:
        raise Failure(f"no replica of the control plane is ready in namespace {system}; `tulle check` says more")
    latest: dict[tuple[str, str], Object] = {}
    for replica in replicas:
        name = replica["metadata"]["name"]
        for proxy in ask_pod(kube, replica, names.CONTROL_ADMIN_PORT, "/proxies")["proxies"]:
            key = (proxy["namespace"], proxy["pod"])
            if key not in latest or str(proxy["connected_since"]) > str(latest[key]["connected_since"]):
                latest[key] = proxy | {"control_plane": name}
    return [latest[key] for key in sorted(latest)]


def strays(kube: Kube, known: Iterable[Object]) -> list[Object]:
    """List the running sidecars no replica knows, each with why it is not connected, as its metrics and its log say."""
    connected = {(proxy["namespace"], proxy["pod"]) for proxy in known}
    found = []
    for pod in injected(kube):
        metadata = pod["metadata"]
        place = (metadata["namespace"], metadata["name"])
        running = (pod.get("status") or {}).get("phase") == "Running" and "deletionTimestamp" not in metadata
        if place in connected or not running:
            continue
        said = _why(kube, pod)
        found.append({"namespace": place[0], "pod": place[1], "connected_since": None, **said})
    return sorted(found, key=lambda one: (one["namespace"], one["pod"]))


def _why(kube: Kube, pod: Object) -> Object:
    """Say why a sidecar is not connected: whom nobody has a stream of can only be scraped, and its log read."""
    metadata = pod["metadata"]
    base = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    try:
        scraped = kube.request("GET", f"{base}:{names.PROXY_ADMIN_PORT}/proxy/metrics").decode(errors="replace")
    except KubeError as error:
        return {"problem": f"it did not answer a scrape either: {error}"}
    untrusted = "tulle_control_plane_untrusted 1" in scraped.splitlines()
    query: Query = {"container": names.PROXY_CONTAINER, "tailLines": str(_LOG_LINES)}
    try:
        log = kube.request("GET", f"{base}/log", query=query).decode(errors="replace").splitlines()
    except KubeError:
        log = []
    told = [line.partition(names.NOT_CONNECTED)[2].strip() for line in log if names.NOT_CONNECTED in line]
    return {"untrusted": untrusted, "problem": told[-1] if told else "its log says why"}


def ask_sidecar(kube: Kube, replicas: Sequence[Object], pod: Object, path: str, query: Query | None = None) -> Object:
    """GET JSON from a sidecar through the replica of the control plane that has its stream, which answers its own loopback alone; raises Failure."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for replica in replicas:
        asked = f"/sidecars/{namespace}/{name}{path}"
        try:
            found: Object = json.loads(ask_port(kube, replica, names.CONTROL_ADMIN_PORT, asked, query))
        except KubeError as error:
            if error.code == MISDIRECTED:
                continue
            failure = BusyError if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE else Failure
            raise failure(f"the sidecar of {namespace}/{name} was not asked for {path}: {error}") from None
        except ValueError:
            raise Failure(f"the sidecar of {namespace}/{name} answered {path} with no JSON") from None
        return found
    raise Failure(
        f"the sidecar of {namespace}/{name} is connected to no ready replica of the control plane, which alone may ask it; "
        f"`tulle proxy-status` says more"
    )


def ask_pod(kube: Kube, pod: Object, port: int, path: str, query: Query | None = None) -> Object:
    """GET JSON from a port of a pod through the API server; raises Failure."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    where = f"/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{path}"
    try:
        found: Object = json.loads(kube.request("GET", where, query=query))
    except KubeError as error:
        raise Failure(f"pod {name} in namespace {namespace} did not answer at port {port}{path}: {error}") from None
    except ValueError:
        raise Failure(f"pod {name} in namespace {namespace} answered port {port}{path} with no JSON") from None
    return found
