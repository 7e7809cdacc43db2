"""Webhook registrations keep the right CA bundle: the API server must trust the certificate this control plane serves with.

In: the mutating and validating webhook configurations of this installation as the store knows them, and the roots trusted now. Out: a patch, through the Writer, for
each configuration whose webhooks carry another bundle (a fresh install has none, an upgrade by Helm may take it away again). Configurations that are
not this installation's are not looked at.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from controlplane.feed.kinds import REGISTRATIONS, kind_of
from controlplane.feed.objects import ObjectStore, Ref, ref_of
from controlplane.kube.client import USER_AGENT, Cluster, path_of
from controlplane.write.writer import Job, Writer

_API = "admissionregistration.k8s.io/v1"
_JSON_PATCH = "application/json-patch+json"

log = logging.getLogger(__name__)


def decide(configuration: Mapping[str, Any], service: tuple[str, str], bundle: str) -> list[dict[str, Any]]:
    """Say, as a JSON patch, which webhooks that call `service` (namespace, name) need another bundle; empty when all is right."""
    wanted = base64.b64encode(bundle.encode()).decode()
    changes = []
    for index, name, bundle64 in _calling(configuration, service):
        if bundle64 != wanted:
            changes.append({"op": "test", "path": f"/webhooks/{index}/name", "value": name})
            changes.append({"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted})
    return changes


def _calling(configuration: Mapping[str, Any], service: tuple[str, str]) -> Iterator[tuple[int, Any, str]]:
    """Index, name and bundle (base64) of each webhook that calls a service."""
    for index, hook in enumerate(configuration.get("webhooks") or ()):
        config = hook.get("clientConfig") or {}
        target = config.get("service") or {}
        if (target.get("namespace"), target.get("name")) == service:
            yield index, hook.get("name"), config.get("caBundle") or ""


class Webhooks:
    """What is wanted of the Writer for configurations with a wrong bundle."""

    def __init__(
        self, cluster: Cluster, store: ObjectStore, writer: Writer, service: tuple[str, str], roots: Callable[[], str]
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._writer = writer
        self._service = service
        self._roots = roots
        self._disowned: set[Ref] = set()
        """Configurations in which this control plane is known to own nothing."""

    def carry(self, roots: Sequence[str]) -> bool:
        """Tell whether every configuration carries some roots (PEM).

        What else it carries is the leader's business, who may know others than we do: for a while, or for good where roots are lent to one of us only.
        """
        there = [one for kind in REGISTRATIONS for one in self._store.of(kind.name)]
        bundles = [bundle for one in there for bundle in _bundles(one, self._service)]
        return all(root in bundle for bundle in bundles for root in roots)

    def look(self, ref: Ref) -> None:
        """Look at a configuration as the store knows it."""
        configuration, bundle = self._store.get(ref.kind, "", ref.name), self._roots()
        changes = decide(configuration, self._service, bundle) if configuration is not None and bundle else []
        wanted = changes or (configuration is not None and bundle and ref not in self._disowned)
        self._writer.want(("webhook", ref.kind, ref.name), self._job(ref) if wanted else None)

    def roots_changed(self) -> None:
        """Look at all of them again."""
        for kind in REGISTRATIONS:
            for configuration in list(self._store.of(kind.name)):
                self.look(ref_of(kind.name, configuration))

    def _job(self, ref: Ref) -> Job:
        path = path_of(_API, kind_of(ref.kind).plural, name=ref.name)

        async def write() -> None:
            configuration = self._store.get(ref.kind, "", ref.name)
            changes = decide(configuration, self._service, self._roots()) if configuration is not None else []
            if changes:
                found = await self._cluster.patch(path, changes, content=_JSON_PATCH)
                log.info("%s %s: CA bundle written", ref.kind, ref.name)
            else:
                found = await self._cluster.get(path)
            # Who owns a field of a webhook keeps that webhook alive, as a stump without a name, when Helm takes it out: no rollback
            # to a chart with fewer of them would go through. Helm sets no bundle, so nobody needs to own it.
            if claims := _claims(found):
                await self._cluster.patch(path, claims, content=_JSON_PATCH)
            self._disowned.add(ref)

        return write


def _bundles(configuration: Mapping[str, Any], service: tuple[str, str]) -> Iterator[str]:
    for _, _, bundle64 in _calling(configuration, service):
        try:
            yield base64.b64decode(bundle64).decode(errors="replace")
        except ValueError:  # no base64, so it carries nothing
            yield ""


def _claims(configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say, as a JSON patch, which entries of `managedFields` are this control plane's."""
    managed = configuration["metadata"].get("managedFields") or []
    operations = []
    for index in reversed(range(len(managed))):
        if managed[index].get("manager") == USER_AGENT:
            where = f"/metadata/managedFields/{index}"
            operations += [
                {"op": "test", "path": f"{where}/manager", "value": USER_AGENT},
                {"op": "remove", "path": where},
            ]
    return operations
