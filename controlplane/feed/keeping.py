"""A decoded object made into what the store keeps: what nobody reads left out, and what many objects say held once.

In: a record just decoded, that nobody else has seen. Out: the very same one, with the version taken out (it is no news), the labels and annotations that are read, and for equal
parts the part another object holds already: replicas say the same of their containers, endpoints the same of their conditions. Refuses nothing.
"""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from msgspec.structs import force_setattr as put

from controlplane.feed import shapes
from controlplane.feed.remembering import remembered
from meshapi import names

_TEMPLATE_WORDS = frozenset({names.INJECT, names.INJECTED_BY})

T = TypeVar("T")


def kept(obj: Any, labels: frozenset[str], annotations: frozenset[str]) -> Any:
    """Leave of an object what is kept; `labels` and `annotations` are those of its kind that are read."""
    metadata = obj.metadata
    put(metadata, "resource_version", None)
    put(metadata, "namespace", _word(metadata.namespace))
    put(metadata, "name", sys.intern(metadata.name))
    if isinstance(metadata, shapes.Worded):
        put(metadata, "labels", _words(metadata.labels, labels))
        put(metadata, "annotations", _words(metadata.annotations, annotations))
    if isinstance(obj, shapes.Pod):
        _keep_pod(obj)
    elif isinstance(obj, shapes.EndpointSlice):
        _keep_slice(obj)
    elif isinstance(obj, shapes.Service) and obj.spec is not None:
        put(obj.spec, "ports", _shared(obj.spec.ports))
    elif isinstance(obj, shapes.Workload | shapes.Rollout):
        template = obj.spec.template.metadata if obj.spec and obj.spec.template else None
        if template is not None:
            put(template, "labels", _words(template.labels, _TEMPLATE_WORDS))
            put(template, "annotations", _words(template.annotations, _TEMPLATE_WORDS))
    return obj


def _keep_pod(pod: shapes.Pod) -> None:
    put(pod.metadata, "owner_references", _shared(pod.metadata.owner_references))
    put(pod.metadata, "creation_timestamp", _word(pod.metadata.creation_timestamp))
    if (spec := pod.spec) is not None:
        put(spec, "node_name", _word(spec.node_name))
        put(spec, "service_account_name", _word(spec.service_account_name))
        put(spec, "containers", _shared(spec.containers))
        put(spec, "init_containers", _shared(spec.init_containers))
    if (status := pod.status) is not None:
        put(status, "phase", _word(status.phase))
        if status.pod_ips and status.pod_ips[0].ip == status.pod_ip:
            put(status, "pod_ip", status.pod_ips[0].ip)


def _keep_slice(one: shapes.EndpointSlice) -> None:
    put(one, "ports", _shared(one.ports))
    if one.endpoints:
        put(one, "endpoints", tuple(map(_endpoint, one.endpoints)))


@remembered
def _endpoint(endpoint: shapes.Endpoint) -> shapes.Endpoint:
    """Give the endpoint that is equal and known already: of a hundred one flips."""
    put(endpoint, "conditions", _shared(endpoint.conditions))
    put(endpoint, "hints", _shared(endpoint.hints))
    put(endpoint, "node_name", _word(endpoint.node_name))
    put(endpoint, "zone", _word(endpoint.zone))
    if (target := endpoint.target_ref) is not None:
        put(target, "kind", _word(target.kind))
        put(target, "namespace", _word(target.namespace))
        put(target, "name", _word(target.name))
    return endpoint


def _word(text: str | None) -> str | None:
    return sys.intern(text) if text else text


def _words(words: dict[str, str] | None, read: frozenset[str]) -> dict[str, str] | None:
    if not words:
        return None
    found = tuple((word, value) for word, value in words.items() if word in read)
    return _mapping(found) if found else None


@remembered
def _mapping(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(pairs)


@remembered
def _known(part: T) -> T:
    return part


def _shared(part: T) -> T:
    """Give the part that is equal to this one and known already."""
    return _known(part) if part else part
