"""A part of a cluster that is whole enough to decide one Service from nothing: itself, its endpoints, what else is in front of them, what leads to it.

In: all raw objects, and a Service. Out: those that count, looked for one by one and by no index, for whoever asks wants to know whether the indexes are right. Refuses nothing; shapes
that nobody can read are left to `ingest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.model.meta import Key
from controlplane.model.steps import SLICE, Steps
from controlplane.model.traffic import ROUTE_KINDS

Raw = Mapping[str, Any]
_SERVICE = "kubernetes.io/service-name"
_WHOLE = ("Node", "PeerAuthentication", "Mesh")
"""Kinds of which there are few, and that are about all."""


class Part:
    """Some of the objects of a cluster, as `ingest` looks at all of them."""

    def __init__(self, objects: Mapping[str, list[Raw]]) -> None:
        self._objects = objects

    def of(self, kind: str) -> Iterable[Raw]:
        """All objects of a kind that are in it."""
        return self._objects.get(kind, ())


def part_of(objects: Mapping[str, Mapping[Key, Raw]], service: Key) -> Steps[tuple[Part, frozenset[Key]]]:
    """Cut out what decides a Service; with the pods behind it."""
    slices = objects["EndpointSlice"]
    pods: set[Key] = set()
    for number, (key, raw) in enumerate(slices.items()):
        if _service_of(key, raw) == service:
            pods.update(_pods_of(key, raw))
        if number % SLICE == SLICE - 1:
            yield
    near: list[Raw] = []
    services, near_pods = {service}, set(pods)
    names = {pod.name for pod in pods}
    for number, (key, raw) in enumerate(slices.items()):
        of = _service_of(key, raw)
        # Most slices name none of these pods: that is found out before anything is made of them.
        if of == service or (_names(raw, names) and not pods.isdisjoint(_pods_of(key, raw))):
            near.append(raw)
            services.add(of)
            near_pods.update(_pods_of(key, raw))
        if number % SLICE == SLICE - 1:
            yield
    routes: dict[str, list[Raw]] = {}
    for kind in ROUTE_KINDS:
        for number, (key, raw) in enumerate(objects[kind].items()):
            if service in _named(raw, "parentRefs", key):
                routes.setdefault(kind, []).append(raw)
                services.update(one for rule in _listed(raw, "rules") for one in _backends(rule, key))
            if number % SLICE == SLICE - 1:
                yield
    found: dict[str, list[Raw]] = {
        **routes,
        **{kind: list(objects[kind].values()) for kind in _WHOLE},
        "EndpointSlice": near,
        "Service": [objects["Service"][key] for key in services if key in objects["Service"]],
        "Pod": [objects["Pod"][key] for key in near_pods if key in objects["Pod"]],
    }
    return Part(found), frozenset(pods)


def _service_of(key: Key, raw: Raw) -> Key:
    labels = (raw.get("metadata") or {}).get("labels") or {}
    return Key(key.namespace, str(labels.get(_SERVICE) or ""))


def _names(raw: Raw, names: set[str]) -> bool:
    """Whether a slice lists something of one of these names."""
    for end in raw.get("endpoints") or ():
        target = end.get("targetRef") if isinstance(end, Mapping) else None
        if target and target.get("name") in names:
            return True
    return False


def _pods_of(key: Key, raw: Raw) -> Iterable[Key]:
    for end in raw.get("endpoints") or ():
        target = (end.get("targetRef") if isinstance(end, Mapping) else None) or {}
        if target.get("kind") == "Pod":
            yield Key(str(target.get("namespace") or key.namespace), str(target.get("name") or ""))


def _listed(raw: Raw, field: str) -> Iterable[Raw]:
    found = (raw.get("spec") or {}).get(field)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else ()


def _named(raw: Raw, field: str, key: Key) -> set[Key]:
    return {Key(str(one.get("namespace") or key.namespace), str(one.get("name"))) for one in _listed(raw, field)}


def _backends(rule: Raw, key: Key) -> Iterable[Key]:
    filters = [one for one in rule.get("filters") or () if isinstance(one, Mapping)]
    mirrors = [(one.get("requestMirror") or {}).get("backendRef") for one in filters]
    for one in (*(rule.get("backendRefs") or ()), *mirrors):
        if isinstance(one, Mapping):
            yield Key(str(one.get("namespace") or key.namespace), str(one.get("name")))
