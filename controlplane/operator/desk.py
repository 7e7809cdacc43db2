"""Who takes what kopf saw: routes and policies to the store, workloads to rolls, configurations to webhooks.

In: events, in the control plane's own loop. Out: calls, nothing else. It decides only which of the three an event is for.
"""

from __future__ import annotations

from typing import Any

from controlplane.feed.objects import ObjectStore
from controlplane.write.rolls import Rolls
from controlplane.write.webhooks import Webhooks


class MeshDesk:
    """The `handlers.Desk` of a running control plane."""

    def __init__(self, store: ObjectStore, rolls: Rolls, webhooks: Webhooks) -> None:
        self._store = store
        self._rolls = rolls
        self._webhooks = webhooks

    def fed(self, kind: str, obj: dict[str, Any], *, deleted: bool) -> None:
        """A route or policy."""
        if deleted:
            self._store.remove(kind, *_place(obj))
        else:
            self._store.apply(kind, obj)

    def workload(self, kind: str, obj: dict[str, Any], *, deleted: bool) -> None:
        """A workload."""
        if deleted:
            self._rolls.gone(kind, *_place(obj))
        else:
            self._rolls.seen(kind, obj)

    def registration(self, kind: str, obj: dict[str, Any], *, deleted: bool) -> None:
        """A webhook configuration."""
        if deleted:
            self._webhooks.gone(kind, _place(obj)[1])
        else:
            self._webhooks.seen(kind, obj)


def _place(obj: dict[str, Any]) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])
