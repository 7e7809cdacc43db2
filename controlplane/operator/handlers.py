"""The operator's handlers: what kopf watches, and whom it wakes.

In: kopf's events of workloads, injected pods that begin or end, routes, Tulle's own kinds and webhook configurations. Out: a trigger for each: where the object is, and the version of it
that was seen. Nothing else is taken from an event: what is to be done is read from the store, so that a trigger that comes late, twice or not at all changes nothing but the time.
`on.event` only: it leaves no finalizer and no annotation on anybody's objects, and never an index (at 4,000 objects it costs 76 s of CPU). Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from controlplane.feed.kinds import CLUSTER, OWN, REGISTRATIONS, ROLLED, ROUTES, Kind
from controlplane.feed.objects import Ref
from meshapi import names

PODS = next(kind for kind in CLUSTER if kind.name == "Pod")
INJECTED = {names.MESH_LABEL: names.ENABLED}
UNSETTLED = "status.phase!=Running"
"""Which of the injected pods the API server tells of: those that begin or end. One that leaves this selection is told as a deletion, one that comes into it as new, so both ends of a pod's life
wake us; what changes while it runs is nothing to act on, and costs kopf more than the mesh (decision 0021)."""

Trigger = Callable[[Ref, str], None]
"""Told where an object is that was seen to change, and in which resourceVersion."""


def build_registry(trigger: Trigger, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """Register the handlers, and the login."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="login")(lambda **_: login())

    def handle(kinds: tuple[Kind, ...], what: str, **selection: Any) -> None:
        for kind in kinds:
            kopf.on.event(kind.group, kind.plural, registry=registry, id=f"{what}/{kind.plural}", **selection)(
                _trigger(kind.name, trigger)
            )

    handle(ROLLED, "workload_changed")
    handle((PODS,), "injected_pod_began_or_ended", labels=INJECTED)
    handle(ROUTES, "route_changed")
    handle(OWN, "policy_changed")
    handle(REGISTRATIONS, "webhook_configuration_changed")
    return registry


def _trigger(kind: str, trigger: Trigger) -> Callable[..., Any]:
    async def changed(namespace: str | None, name: str, meta: Any, **_: Any) -> None:
        trigger(Ref(kind, namespace or "", name), str(meta.get("resourceVersion") or ""))

    return changed


def operator_settings(installation: str) -> kopf.OperatorSettings:
    """Kopf as a guest: own names, no Events, watches that cannot fall silent, no kill of the process.

    The API server selects: of the pods the injected ones that begin or end, of the webhook configurations this installation's own, which is all its role allows.
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
    settings.watching.label_selectors[PODS.plural] = ",".join(f"{key}={value}" for key, value in INJECTED.items())
    settings.watching.field_selectors[PODS.plural] = UNSETTLED
    for kind in REGISTRATIONS:
        settings.watching.field_selectors[kind.plural] = f"metadata.name={installation}"
    settings.process.ultimate_exiting_timeout = None
    return settings
