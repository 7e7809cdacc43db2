"""One look at a running mesh: what the API server, each replica of the control plane and each sidecar say at one moment.

In: a cluster. Out: a `Look`. Two of them, some seconds apart, tell what moves from what stands still, so a rollout is not taken for an outage. Who does not
answer is part of what was seen, never an error.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from meshapi import names
from tulle.kube import Kube, KubeError
from tulle.lookup import SYSTEM_SELECTOR, ask_pod, is_injected, is_ready
from tulle.output import Failure
from tulle.portforward import ask_port

Object = dict[str, Any]
Place = tuple[str, str]
"""Namespace and name."""

MOST = 200
"""Sidecars asked themselves; of more, so many by chance."""
_AT_ONCE = 16
_PATIENCE = 3.0
"""Seconds a pod has for its answer: an outage is told of while it is one."""
_SAMPLE = re.compile(r'(?m)^(\w+)(?:\{(?:.*?reason="([^"]*)")?.*?\})? (\S+)$')


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a sidecar says of itself."""

    errors: Mapping[str, float] = field(default_factory=dict)
    """Responses it made itself so far, by the word of their reason."""
    requests: float = 0.0
    lately: Mapping[str, float] | None = None
    """Of these errors, the ones of the last minute; None when it does not keep them."""
    requests_lately: float = 0.0
    certificate_ends: float = 0.0
    """Seconds since the epoch; 0 when it does not say."""
    config: Object = field(default_factory=dict)
    silent: str = ""
    """Why it did not answer; empty when it did."""
    forbidden: bool = False
    """Whether who asks may not: that is no fault of the sidecar's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was there at one moment."""

    pods: Mapping[Place, Object] = field(default_factory=dict)
    services: tuple[Object, ...] = ()
    slices: tuple[Object, ...] = ()
    workloads: Mapping[tuple[str, str, str], Object] = field(default_factory=dict)
    """Deployments, StatefulSets and DaemonSets by kind, namespace and name."""
    proxies: Mapping[Place, Object] = field(default_factory=dict)
    """Every sidecar some replica knows, by its youngest connection."""
    snapshots: Mapping[str, Object] = field(default_factory=dict)
    """By replica: the mesh as it has decided it."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """By replica: why it did not answer, or what it says it lacks."""
    sidecars: Mapping[Place, Said] = field(default_factory=dict)


def look(kube: Kube, system: str, chosen: Sequence[Place] | None = None) -> Look:
    """Look now; `chosen` are the sidecars to ask themselves, by chance when it is None. Raises KubeError where lists cannot be read."""
    ports = replace(kube, timeout=_PATIENCE)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pods, services, slices, *kinds = pool.map(
            kube.items,
            (
                "/api/v1/pods",
                "/api/v1/services",
                "/apis/discovery.k8s.io/v1/endpointslices",
                *(f"/apis/apps/v1/{plural}" for plural in ("deployments", "statefulsets", "daemonsets")),
            ),
        )
        found = {place(pod): pod for pod in pods}
        replicas = [
            pod
            for pod in kube.items(f"/api/v1/namespaces/{system}/pods", labelSelector=SYSTEM_SELECTOR)
            if "deletionTimestamp" not in pod["metadata"]
            and (pod.get("status") or {}).get("phase") in (None, "Running")
        ]
        told = dict(zip((r["metadata"]["name"] for r in replicas), pool.map(_asker(ports), replicas), strict=True))
        asked = choose(found) if chosen is None else [one for one in chosen if one in found]
        said = dict(zip(asked, pool.map(lambda one: said_by(ports, found[one]), asked), strict=True))
    return Look(
        pods=found,
        services=tuple(services),
        slices=tuple(slices),
        workloads={
            (kind, *place(one)): one
            for kind, those in zip(("Deployment", "StatefulSet", "DaemonSet"), kinds, strict=True)
            for one in those
        },
        proxies=_youngest({name: proxies for name, (proxies, _, _) in told.items()}),
        snapshots={name: snapshot for name, (_, snapshot, _) in told.items() if snapshot},
        silent={name: why for name, (_, _, why) in told.items() if why},
        sidecars=said,
    )


def choose(pods: Mapping[Place, Object]) -> list[Place]:
    """Choose the sidecars that are asked themselves."""
    ready = sorted(one for one, pod in pods.items() if is_injected(pod) and is_ready(pod))
    return ready if len(ready) <= MOST else sorted(random.sample(ready, MOST))


def place(obj: Object) -> Place:
    """Say where an object is."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _asker(kube: Kube) -> Callable[[Object], tuple[list[Object], Object, str]]:
    """Ask a replica for its sidecars, its snapshot, and what it lacks."""

    def ask(replica: Object) -> tuple[list[Object], Object, str]:
        try:
            if not is_ready(replica):
                return [], {}, _lacking(kube, replica)
            known = ask_pod(kube, replica, names.CONTROL_ADMIN_PORT, "/proxies")["proxies"]
            return known, ask_pod(kube, replica, names.CONTROL_ADMIN_PORT, "/snapshot"), ""
        except Failure as failure:
            return [], {}, failure.message

    return ask


def _lacking(kube: Kube, replica: Object) -> str:
    namespace, name = place(replica)
    where = f"/api/v1/namespaces/{namespace}/pods/{name}:{names.CONTROL_ADMIN_PORT}/proxy/readyz"
    try:
        kube.request("GET", where)
    except KubeError as error:
        return str(error).strip() if error.code else f"it does not answer ({error})"
    return ""


def said_by(kube: Kube, pod: Object) -> Said:
    """Ask a sidecar itself, at its own loopback: one that is cut off from the control plane is what this looks for."""
    namespace, name = place(pod)
    where = f"/api/v1/namespaces/{namespace}/pods/{name}:{names.PROXY_ADMIN_PORT}/proxy/metrics"
    try:
        text = kube.request("GET", where).decode(errors="replace")
        return read(text, json.loads(ask_port(kube, pod, names.PROXY_ADMIN_PORT, "/config")))
    except KubeError as error:
        return Said(silent=str(error), forbidden=error.code in {401, 403})
    except ValueError:
        return Said(silent="it answered /config with no JSON")


def read(text: str, config: Object) -> Said:
    """Read a scrape."""
    errors: dict[str, float] = {}
    lately: dict[str, float] = {}
    requests = ends = 0.0
    recent: float | None = None
    for name, reason, value in _SAMPLE.findall(text):
        if name == "tulle_errors_total":
            errors[reason] = errors.get(reason, 0.0) + float(value)
        elif name == "tulle_errors_last_minute":
            lately[reason] = float(value)
        elif name == "tulle_requests_total":
            requests += float(value)
        elif name == "tulle_requests_last_minute":
            recent = float(value)
        elif name == "tulle_certificate_expiry_seconds":
            ends = float(value)
    kept = lately if recent is not None else None
    return Said(
        errors=errors,
        requests=requests,
        lately=kept,
        requests_lately=recent or 0.0,
        certificate_ends=ends,
        config=config,
    )


def _youngest(told: Mapping[str, Sequence[Object]]) -> dict[Place, Object]:
    latest: dict[Place, Object] = {}
    for replica, known in told.items():
        for proxy in known:
            key = (proxy["namespace"], proxy["pod"])
            if key not in latest or str(proxy["connected_since"]) > str(latest[key]["connected_since"]):
                latest[key] = proxy | {"control_plane": replica}
    return latest
