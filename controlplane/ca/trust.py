"""Keep the issuer and the roots as the cluster has them, and tell who depends on them when they change.

In: the Secret with the issuer and the ConfigMap with roots trusted before, from reflectors; `found` from the leader, who makes what is
missing. Out: `issuer`, `roots_pem`, and a call to each listener on change. All roots seen and not over stay trusted, so that an issuer can
be replaced while certificates of the former are still out, and a ConfigMap that is gone or spoiled is written again; a root nobody uses may be taken out of it by
hand. A Secret nobody can use, by a trial of it too, is logged once and the last good issuer stays.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

from cryptography import x509

from controlplane.ca import issuer as issuers
from controlplane.ca import trial
from controlplane.ca.issuer import BadIssuerError, Issuer
from controlplane.feed.kinds import CONFIG_MAP, SECRET
from controlplane.kube.client import APPLY_PATCH, ApiError, Cluster, path_of
from controlplane.settings import Settings
from meshapi import names

log = logging.getLogger(__name__)


class Trust:
    """The mesh's issuer, as a sink of two reflectors."""

    def __init__(self, settings: Settings, now: Callable[[], dt.datetime]) -> None:
        self._settings = settings
        self.now = now
        self._listeners: list[Callable[[], None]] = []
        self._bundle: tuple[x509.Certificate, ...] = ()
        self._written: frozenset[x509.Certificate] = frozenset()
        """What the ConfigMap holds now; nothing when it is gone or spoiled."""
        self._extra: tuple[x509.Certificate, ...] = ()
        self.issuer: Issuer | None = None
        self.refused = ""
        """Why the Secret as it is now cannot be used; empty when it can."""
        self.roots_pem = ""
        self.ready = asyncio.Event()
        """Set once there is an issuer."""

    @property
    def bundle_name(self) -> str:
        """The ConfigMap that remembers roots."""
        return f"{self._settings.service}-trust"

    def listen(self, listener: Callable[[], None]) -> None:
        """Call back when issuer or roots change."""
        self._listeners.append(listener)

    def apply(self, kind: str, obj: dict[str, Any]) -> None:
        """Take in the Secret or the ConfigMap as it is now."""
        name, data = obj["metadata"]["name"], obj.get("data") or {}
        try:
            if kind == SECRET.name and name == self._settings.ca_secret:
                issuer = issuers.from_secret(data, now=self.now())
                trial.prove(issuer, self._settings.trust_domain, self._settings.dns_names, now=self.now())
                self._extra = issuers.bundle_in(data)
                self.refused = ""
                changed = self.issuer is None or self.issuer.certificate != issuer.certificate
                self.issuer = issuer
                self._settle(changed=changed)
            elif kind == CONFIG_MAP.name and name == self.bundle_name:
                self._written = frozenset()
                roots = issuers.parse_bundle(data.get(issuers.ROOTS, ""))
                self._written, self._bundle = frozenset(roots), roots or self._bundle
                self._settle(changed=False)
        except BadIssuerError as error:
            log.error("%s %s/%s cannot be used: %s", kind, self._settings.namespace, name, error)  # noqa: TRY400 - a sentence
            if kind == CONFIG_MAP.name:
                self._settle(changed=False)
            else:
                self.refused = str(error)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """What was removed does not stop the mesh: the last issuer stays until there is another, and the roots are written again."""
        log.warning("%s %s/%s was removed; going on with what it held", kind, namespace, name)
        if kind == SECRET.name:
            self.refused = "it was removed: a replica that starts anew has no issuer"
        if kind == CONFIG_MAP.name:
            self._written = frozenset()
            self._settle(changed=False)

    def retain(self, kind: str, places: set[tuple[str, str]]) -> None:
        """Take in that a list held the Secret or the ConfigMap, or did not."""
        held, name = {
            SECRET.name: (self.issuer is not None and not self.refused, self._settings.ca_secret),
            CONFIG_MAP.name: (bool(self._written), self.bundle_name),
        }[kind]
        if held and not places:
            self.remove(kind, self._settings.namespace, name)

    def missing(self) -> bool:
        """Tell whether the leader should make an issuer."""
        return self.issuer is None and self._settings.ca_create

    def bundle_behind(self) -> bool:
        """Tell whether the ConfigMap lacks a root that is trusted."""
        return self.issuer is not None and not self._written >= set(self._trusted())

    async def make(self, cluster: Cluster) -> None:
        """Make the issuer's Secret; another replica may have been faster."""
        namespace, name = self._settings.namespace, self._settings.ca_secret
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "tulle"}},
            "data": issuers.new_root(self._settings.trust_domain, now=self.now()),
        }
        try:
            await cluster.create(path_of("v1", "secrets", namespace), secret)
            log.info("made a root for trust domain %s in Secret %s/%s", self._settings.trust_domain, namespace, name)
        except ApiError as error:
            if error.code != 409:
                raise

    async def write_bundle(self, cluster: Cluster) -> None:
        """Write the trusted roots where later replicas find them."""
        namespace = self._settings.namespace
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.bundle_name, "namespace": namespace},
            "data": {issuers.ROOTS: issuers.pem(self._trusted())},
        }
        path = path_of("v1", "configmaps", namespace, self.bundle_name)
        await cluster.patch(path, config_map, content=APPLY_PATCH, manager=names.FIELD_MANAGER)

    def _trusted(self) -> tuple[x509.Certificate, ...]:
        roots = self.issuer.roots if self.issuer else ()
        # What is remembered first: so replicas whose issuers differ for a while (the Secret's name was changed) agree on the text.
        return issuers.union(self._bundle, roots, self._extra, now=self.now())

    def _settle(self, *, changed: bool) -> None:
        trusted = issuers.pem(self._trusted())
        if not changed and trusted == self.roots_pem and not self.bundle_behind():
            return
        self.roots_pem = trusted
        if self.issuer is not None:
            self.ready.set()
        for listener in self._listeners:
            listener()
