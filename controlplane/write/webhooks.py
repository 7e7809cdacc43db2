"""Webhook registrations keep the right CA bundle: the API server must trust the certificate this control plane serves with.

In: the mutating and validating webhook configurations of this installation as kopf sees them, and the roots trusted now. Out: a patch, through the Writer, for
each configuration whose webhooks carry another bundle (a fresh install has none, an upgrade by Helm may take it away again). Configurations that are
not this installation's are not looked at.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from typing import Any

from controlplane.kube.client import ApiError, Cluster, path_of
from controlplane.write.writer import Writer

PLURALS = {
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
_API = "admissionregistration.k8s.io/v1"
_JSON_PATCH = "application/json-patch+json"

log = logging.getLogger(__name__)


def decide(configuration: Mapping[str, Any], service: tuple[str, str], bundle: str) -> list[dict[str, Any]]:
    """Say, as a JSON patch, which webhooks that call `service` (namespace, name) need another bundle; empty when all is right."""
    wanted = base64.b64encode(bundle.encode()).decode()
    changes = []
    for index, hook in enumerate(configuration.get("webhooks") or ()):
        config = hook.get("clientConfig") or {}
        target = config.get("service") or {}
        if (target.get("namespace"), target.get("name")) != service or config.get("caBundle") == wanted:
            continue
        changes.append({"op": "test", "path": f"/webhooks/{index}/name", "value": hook.get("name")})
        changes.append({"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted})
    return changes


class Webhooks:
    """The configurations seen, and what is wanted of the Writer for those with a wrong bundle."""

    def __init__(self, cluster: Cluster, writer: Writer, service: tuple[str, str], roots: Callable[[], str]) -> None:
        self._cluster = cluster
        self._writer = writer
        self._service = service
        self._roots = roots
        self._seen: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._looked = False

    @property
    def settled(self) -> bool:
        """Whether every configuration there is carries the right bundle."""
        return self._looked and not any(decide(one, self._service, self._roots()) for one in self._seen.values())

    async def look(self) -> None:
        """Read the configurations once, so that readiness need not wait for an event that may never come."""
        for kind, plural in PLURALS.items():
            try:
                self.seen(kind, await self._cluster.get(path_of(_API, plural, name=self._service[1])))
            except ApiError as error:
                if error.code != 404:
                    raise
        self._looked = True

    def seen(self, kind: str, configuration: Mapping[str, Any]) -> None:
        """Look at a configuration as it is now."""
        name = str((configuration.get("metadata") or {}).get("name", ""))
        self._seen[kind, name] = configuration
        self._check(kind, name)

    def gone(self, kind: str, name: str) -> None:
        """A configuration was deleted."""
        self._seen.pop((kind, name), None)
        self._writer.want(("webhook", kind, name), None)

    def roots_changed(self) -> None:
        """Look at all of them again."""
        for kind, name in list(self._seen):
            self._check(kind, name)

    def _check(self, kind: str, name: str) -> None:
        bundle = self._roots()
        changes = decide(self._seen[kind, name], self._service, bundle) if bundle else []
        if not changes:
            self._writer.want(("webhook", kind, name), None)
            return

        async def write() -> None:
            path = path_of(_API, PLURALS[kind], name=name)
            self._seen[kind, name] = await self._cluster.patch(path, changes, content=_JSON_PATCH)
            log.info("%s %s: CA bundle written", kind, name)

        self._writer.want(("webhook", kind, name), write)
