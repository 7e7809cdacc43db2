"""The cluster behind the API: its objects, everybody who watches, and the changes that are measured.

In: a `Size`; and changes, each a method named for what happens in the cluster. Out: to watchers, the lines of a watch; to the measuring, the moment a change
was handed over. Large kinds are written when they are asked for and never held.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.control import synthetic
from benchmarks.control.synthetic import Size, namespace_of

Object = dict[str, Any]
Place = tuple[str, str]
Line = tuple[str, bytes]

GROUPS: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {
        "pods": ("Pod", True),
        "services": ("Service", True),
        "secrets": ("Secret", True),
        "configmaps": ("ConfigMap", True),
        "events": ("Event", True),
        "namespaces": ("Namespace", False),
        "nodes": ("Node", False),
    },
    "discovery.k8s.io/v1": {"endpointslices": ("EndpointSlice", True)},
    "apps/v1": {
        "deployments": ("Deployment", True),
        "statefulsets": ("StatefulSet", True),
        "daemonsets": ("DaemonSet", True),
        "replicasets": ("ReplicaSet", True),
    },
    "coordination.k8s.io/v1": {"leases": ("Lease", True)},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": ("CustomResourceDefinition", False)},
    "admissionregistration.k8s.io/v1": {
        "mutatingwebhookconfigurations": ("MutatingWebhookConfiguration", False),
        "validatingwebhookconfigurations": ("ValidatingWebhookConfiguration", False),
    },
    "gateway.networking.k8s.io/v1": {
        "httproutes": ("HTTPRoute", True),
        "grpcroutes": ("GRPCRoute", True),
        "tlsroutes": ("TLSRoute", True),
        "tcproutes": ("TCPRoute", True),
    },
    "tulle.dev/v1alpha1": {"meshes": ("Mesh", False), "peerauthentications": ("PeerAuthentication", True)},
}
"""What the API serves: by group and version the kinds, and whether they are namespaced."""
_NAMED = {plural: (kind, api) for api, kinds in GROUPS.items() for plural, (kind, _) in kinds.items()}
REMEMBERED = 20_000
"""Events kept for watches that begin late."""


class World:
    """All objects."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.version = 1000
        self._written: dict[str, dict[Place, Callable[[], bytes]]] = {plural: {} for plural in _NAMED}
        self._small: dict[str, dict[Place, Object]] = {plural: {} for plural in _NAMED}
        self._watchers: dict[str, set[asyncio.Queue[Line]]] = {plural: set() for plural in _NAMED}
        self._log: dict[str, deque[tuple[int, Line]]] = {plural: deque(maxlen=REMEMBERED) for plural in _NAMED}
        self._down: dict[int, frozenset[int]] = {}
        self._more: dict[int, int] = {}
        """Services of another count of pods than the rest."""
        self._beats = 0
        self._fill()

    def _fill(self) -> None:
        for n in range(synthetic.NAMESPACES):
            self._written["namespaces"]["", f"ns{n}"] = lambda n=n: synthetic.namespace(n, self.version)
        for n in range(synthetic.NODES):
            self._written["nodes"]["", f"n{n}"] = lambda n=n: synthetic.node(n, self.version)
        for number in range(self.size.services):
            self._add(number)
        for number in range(self.size.routes):
            self.put("httproutes", synthetic.route(number))
        for number in range(0, synthetic.NAMESPACES, 5):
            self.put("peerauthentications", synthetic.policy(number))
        for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            hook = {"name": "a", "clientConfig": {"service": {"namespace": "tulle-system", "name": "tulle"}}}
            self.put(plural, {"metadata": {"name": "tulle"}, "webhooks": [hook]})

    def _add(self, number: int) -> None:
        namespace = namespace_of(number)
        self._written["services"][namespace, f"s{number}"] = lambda: synthetic.service(number, self.version)
        for name, _ in self._slices(number):
            self._written["endpointslices"][namespace, name] = lambda name=name: dict(self._slices(number))[name]
        for pod in range(self._pods_of(number)):
            self._add_pod(number, pod)

    def _add_pod(self, number: int, pod: int) -> None:
        place = namespace_of(number), synthetic.pod_name(number, pod)
        self._written["pods"][place] = lambda: synthetic.pod(
            number, pod, self.version, ready=pod not in self._down.get(number, ())
        )

    def _pods_of(self, number: int) -> int:
        return self._more.get(number, self.size.each)

    def _slices(self, number: int, only: int | None = None) -> list[tuple[str, bytes]]:
        down = self._down.get(number, frozenset())
        return synthetic.slices(number, self._pods_of(number), down, self.version, only)

    # What the API asks.

    def keys(self, plural: str) -> list[Place]:
        """Where objects of a kind are."""
        return [*self._written[plural], *self._small[plural]]

    def written(self, plural: str, place: Place) -> bytes:
        """An object as JSON."""
        small = self._small[plural].get(place)
        return json.dumps(small).encode() if small is not None else self._written[plural][place]()

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        """An object, or None."""
        if (namespace, name) in self._written[plural]:
            found: Object = json.loads(self.written(plural, (namespace, name)))
            return found
        return self._small[plural].get((namespace, name))

    def put(self, plural: str, obj: Object) -> Object:
        """Create or replace a small object."""
        metadata = obj["metadata"]
        place = metadata.get("namespace") or "", metadata["name"]
        old = self._small[plural].get(place)
        self.version += 1
        generation = old["metadata"]["generation"] + (old.get("spec") != obj.get("spec")) if old else 1
        kind, api = _NAMED[plural]
        new = {
            **obj,
            "kind": kind,
            "apiVersion": api,
            "metadata": {**metadata, "resourceVersion": str(self.version), "generation": generation},
        }
        self._small[plural][place] = new
        self._tell("MODIFIED" if old else "ADDED", plural, place[1], json.dumps(new).encode())
        return new

    @contextmanager
    def watched(self, plural: str, since: int) -> Iterator[asyncio.Queue[Line]]:
        """A queue of what changes after a version."""
        queue: asyncio.Queue[Line] = asyncio.Queue()
        for version, line in self._log[plural]:
            if version > since:
                queue.put_nowait(line)
        self._watchers[plural].add(queue)
        try:
            yield queue
        finally:
            self._watchers[plural].discard(queue)

    def _tell(self, event: str, plural: str, name: str, obj: bytes) -> None:
        line = name, b'{"type":"' + event.encode() + b'","object":' + obj + b"}\n"
        self._log[plural].append((self.version, line))
        for queue in self._watchers[plural]:
            queue.put_nowait(line)

    @property
    def waiting(self) -> int:
        """Events the slowest of all watches has not been given yet."""
        return max((queue.qsize() for watchers in self._watchers.values() for queue in watchers), default=0)

    # What happens in the cluster; each returns when (time.monotonic) it was handed to the watches.

    def flip(self, number: int, pod: int = 0) -> float:
        """An endpoint becomes ready, or is so no longer: a slice and a pod change, as real ones do."""
        down = self._down.get(number, frozenset())
        self._down[number] = down ^ {pod}
        self.version += 1
        ready = pod not in self._down[number]
        self._tell(
            "MODIFIED", "pods", synthetic.pod_name(number, pod), synthetic.pod(number, pod, self.version, ready=ready)
        )
        self.version += 1
        for name, line in self._slices(number, only=pod):
            self._tell("MODIFIED", "endpointslices", name, line)
        return time.monotonic()

    def replace(self, number: int, pod: int = 0) -> float:
        """A pod ends and another comes in its place, under the same name."""
        self.flip(number, pod)
        name = synthetic.pod_name(number, pod)
        for event in ("DELETED", "ADDED"):
            self.version += 1
            self._tell(event, "pods", name, synthetic.pod(number, pod, self.version, ready=False))
        return self.flip(number, pod)

    def unread(self, number: int, pod: int) -> float:
        """A pod's status says something a mesh does not read."""
        self.version += 1
        self._beats += 1
        ready = pod not in self._down.get(number, ())
        obj = synthetic.pod(number, pod, self.version, ready=ready, unread=self._beats)
        self._tell("MODIFIED", "pods", synthetic.pod_name(number, pod), obj)
        return time.monotonic()

    def beat(self, number: int) -> float:
        """A node says that it lives."""
        self.version += 1
        self._beats += 1
        self._tell("MODIFIED", "nodes", f"n{number}", synthetic.node(number, self.version, self._beats))
        return time.monotonic()

    def new_pod(self, number: int) -> float:
        """A Service gets a further mesh pod: a pod that waits and then runs, and a slice."""
        pod = -(-self._pods_of(number) // synthetic.MESH_EVERY) * synthetic.MESH_EVERY
        self._more[number] = pod + 1
        self._add_pod(number, pod)
        self.version += 1
        name, phase = synthetic.pod_name(number, pod), b'"phase":"%s"'
        running = synthetic.pod(number, pod, self.version)
        self._tell("ADDED", "pods", name, running.replace(phase % b"Running", phase % b"Pending"))
        self._tell("MODIFIED", "pods", name, running)
        self.version += 1
        for name, line in self._slices(number, only=pod):
            self._tell("MODIFIED", "endpointslices", name, line)
        return time.monotonic()

    def new_service(self, number: int) -> float:
        """A Service comes, with a slice of pods that are there (those of Service 1)."""
        self.version += 1
        self._written["services"][namespace_of(number), f"s{number}"] = lambda: synthetic.service(number, self.version)
        self._tell("ADDED", "services", "", synthetic.service(number, self.version))
        for name, line in synthetic.slices(number, 1, frozenset(), self.version):
            self._tell("ADDED", "endpointslices", name, line)
        return time.monotonic()

    def edit_route(self, number: int) -> float:
        """A route gets another weight."""
        old = self._small["httproutes"][namespace_of(number), f"r{number}"]
        weight = old["spec"]["rules"][0]["backendRefs"][0]["weight"] % 1000 + 1
        self.put("httproutes", {**old, "spec": synthetic.route(number, weight)["spec"]})
        return time.monotonic()

    def grow(self, number: int, pods: int) -> None:
        """Give a Service so many pods; before anybody watches."""
        self._more[number] = pods
        self._add(number)
