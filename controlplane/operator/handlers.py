"""What kopf watches, and to whom each event is handed over. Handlers decide nothing.

In: kopf's events for Gateway API routes, Tulle's own kinds, opted-in workloads and webhook configurations. Out: calls on the `Desk`, which lives in the loop of the
control plane (kopf has a thread and a loop of its own, see thread.py). `on.event` only: it leaves no finalizer and no annotation on anybody's objects, and never
an index (at 4,000 objects it costs 76 s of CPU). Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import kopf

from meshapi import names

GATEWAY = "gateway.networking.k8s.io"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A kind kopf follows for the ObjectStore."""

    kind: str
    group: str
    plural: str


FED = (
    Watched(kind="HTTPRoute", group=GATEWAY, plural="httproutes"),
    Watched(kind="GRPCRoute", group=GATEWAY, plural="grpcroutes"),
    Watched(kind="TLSRoute", group=GATEWAY, plural="tlsroutes"),
    Watched(kind="TCPRoute", group=GATEWAY, plural="tcproutes"),
    Watched(kind="Mesh", group=names.GROUP, plural="meshes"),
    Watched(kind="PeerAuthentication", group=names.GROUP, plural="peerauthentications"),
)
"""Kinds the model is made of; those that are not installed are picked up when they are."""

WORKLOADS = (
    Watched(kind="Deployment", group="apps", plural="deployments"),
    Watched(kind="StatefulSet", group="apps", plural="statefulsets"),
    Watched(kind="DaemonSet", group="apps", plural="daemonsets"),
)

REGISTRATIONS = (
    Watched(
        kind="MutatingWebhookConfiguration",
        group="admissionregistration.k8s.io",
        plural="mutatingwebhookconfigurations",
    ),
    Watched(
        kind="ValidatingWebhookConfiguration",
        group="admissionregistration.k8s.io",
        plural="validatingwebhookconfigurations",
    ),
)


class Desk(Protocol):
    """Who takes what kopf saw."""

    def fed(self, kind: str, obj: dict[str, Any], *, deleted: bool) -> None:
        """A route or policy, for the store."""

    def workload(self, kind: str, obj: dict[str, Any], *, deleted: bool) -> None:
        """A workload, for rolls."""

    def registration(self, kind: str, obj: dict[str, Any], *, deleted: bool) -> None:
        """A webhook configuration, for webhooks."""


Take = Callable[..., None]


def slim(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what nobody reads: managed fields and kubectl's copy of the object."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if _APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != _APPLIED}
    return {**obj, "metadata": metadata}


def build_registry(desk: Desk, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """Register a handler for everything that is watched, and the login."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="login")(lambda **_: login())
    for watched in FED:
        _follow(registry, watched, desk.fed)
    for watched in WORKLOADS:
        _follow(registry, watched, desk.workload)
    for watched in REGISTRATIONS:
        _follow(registry, watched, desk.registration)
    return registry


def _follow(registry: kopf.OperatorRegistry, watched: Watched, take: Take) -> None:
    @kopf.on.event(watched.group, watched.plural, registry=registry, id=watched.plural)
    async def seen(event: Any, **_: Any) -> None:
        take(watched.kind, slim(event["object"]), deleted=event["type"] == "DELETED")


def operator_settings(installation: str) -> kopf.OperatorSettings:
    """Kopf as a guest: own names, no Events, watches that cannot fall silent, no kill of the process.

    Of the webhook configurations only this installation's own is watched, which is all its role allows.
    """
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.finalizer = names.FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP, key="last-handled")
    settings.watching.server_timeout = 280
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 150
    settings.watching.chunk_size = 500
    for watched in REGISTRATIONS:
        settings.watching.field_selectors[watched.plural] = f"metadata.name={installation}"
    settings.process.ultimate_exiting_timeout = None
    return settings
