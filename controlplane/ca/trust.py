"""Keep issuers and roots as the cluster has them, and tell who depends on them when they change.

In: from reflectors, the Secret with the issuer that was brought (or made), the Secret with the issuer in use and how far a change of roots has come
(`rootchange.py`), the ConfigMap with roots trusted so far, and one of others' with more of them. Out: `issuer`, which signs, `roots_pem`, and a call to each
listener on change. An issuer under a root that is in use signs at once; one under another root when everybody trusts that. Roots seen and not over stay
trusted until a change drops them; a ConfigMap that is gone or spoiled is written again. What nobody can use, an issuer by a trial of it too, is logged once, and
the last good one stays.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from controlplane.ca import issuer as issuers
from controlplane.ca import rootchange, trial
from controlplane.ca.issuer import BadIssuerError, Issuer
from controlplane.ca.rootchange import Record, Roots
from controlplane.feed.kinds import CONFIG_MAP, SECRET, Kind
from controlplane.kube.client import APPLY_PATCH, ApiError, Cluster, path_of
from controlplane.settings import Settings
from meshapi import names

_MANAGED = {"app.kubernetes.io/managed-by": "tulle"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An issuer with the Secret's data it was read from."""

    issuer: Issuer
    data: dict[str, str]

    @property
    def roots(self) -> Roots:
        """Fingerprints of its roots."""
        return fingerprints(self.issuer.roots)

    @property
    def signer(self) -> str:
        """Fingerprint of the certificate that signs."""
        return fingerprint(self.issuer.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be kept, and what that was decided on."""

    held: Held
    """The issuer to keep."""
    record: Record
    """The record beside it."""
    seen: Mapping[str, str] | None
    """What the Secret held then, usable or not; None where there was none."""
    before: Record
    """What the record was then."""


def fingerprint(certificate: x509.Certificate) -> str:
    """Name a certificate."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def fingerprints(certificates: Iterable[x509.Certificate]) -> Roots:
    """Name certificates."""
    return frozenset(map(fingerprint, certificates))


class Trust:
    """The mesh's issuers and roots, as a sink of reflectors."""

    def __init__(self, settings: Settings, now: Callable[[], dt.datetime]) -> None:
        self._settings = settings
        self.now = now
        # By kind too: others' ConfigMap may be called as the Secret is.
        self._brought_at = SECRET.name, settings.ca_secret
        self._kept_at = SECRET.name, settings.kept_secret
        self._bundle_at = CONFIG_MAP.name, settings.bundle_config_map
        self._lent_at = CONFIG_MAP.name, settings.ca_roots_config_map
        self._listeners: list[Callable[[], None]] = []
        self._bundle: tuple[x509.Certificate, ...] = ()
        self._written: frozenset[x509.Certificate] = frozenset()
        """What the ConfigMap holds now; nothing when it is gone or spoiled."""
        self._extra: tuple[x509.Certificate, ...] = ()
        self._lent: tuple[x509.Certificate, ...] = ()
        """Roots of the ConfigMap that others own; trusted for as long as it has them, and not remembered."""
        self.brought: Held | None = None
        """The issuer that is wanted."""
        self.kept: Held | None = None
        """The issuer in use, as it is kept."""
        self.kept_data: dict[str, str] | None = None
        """What its Secret holds, usable or not."""
        self.record = Record()
        """How far a change of roots has come."""
        self._signed = ""
        self.refused = ""
        """Why the Secret as it is now cannot be used; empty when it can."""
        self.roots_refused = ""
        """Why the ConfigMap of others as it is now cannot be used."""
        self.roots_pem = ""
        self.ready = asyncio.Event()
        """Set once there is an issuer."""

    @property
    def used(self) -> Held | None:
        """The issuer that signs: the one in use, until one under another root may."""
        if self.brought is None or self.kept is None:
            return self.brought or self.kept
        return self.kept if rootchange.another(self.brought.roots, self.kept.roots) else self.brought

    @property
    def issuer(self) -> Issuer | None:
        """The issuer that signs; None while there is none."""
        used = self.used
        return used.issuer if used else None

    @property
    def serving_roots(self) -> list[str]:
        """The roots (PEM) of who serves here: whoever calls must trust them."""
        roots = self.used.issuer.roots if self.used else ()
        return [issuers.pem([root]) for root in issuers.union(roots, now=self.now())]

    @property
    def trusts(self) -> Roots:
        """Fingerprints of the roots this replica trusts now."""
        return fingerprints(issuers.parse_bundle(self.roots_pem))

    @property
    def remembered(self) -> Roots:
        """Fingerprints of the roots the ConfigMap holds now."""
        return fingerprints(self._written)

    @property
    def to_remember(self) -> Roots:
        """Fingerprints of the roots the ConfigMap is to hold."""
        return fingerprints(self._memory())

    def sources(self) -> list[Source]:
        """Give what is to be followed, in this control plane's namespace."""
        lent = self._settings.ca_roots_config_map
        maps = [self._settings.bundle_config_map, *([lent] if lent else [])]
        secrets = (self._settings.ca_secret, self._settings.kept_secret)
        return [Source(CONFIG_MAP, name, self) for name in maps] + [Source(SECRET, name, self) for name in secrets]

    def listen(self, listener: Callable[[], None]) -> None:
        """Call back when issuer or roots change."""
        self._listeners.append(listener)

    def apply(self, kind: str, obj: Mapping[str, Any]) -> None:
        """Take in a Secret or a ConfigMap as it is now."""
        at, data = (kind, obj["metadata"]["name"]), obj.get("data") or {}
        try:
            if at == self._brought_at:
                self.brought = self._proved(data)
                self._extra = issuers.bundle_in(data)
                self.refused = ""
            elif at == self._kept_at:
                self._take_kept(obj, data)
            elif at == self._bundle_at:
                self._written = frozenset()
                roots = issuers.parse_bundle(data.get(issuers.ROOTS, ""))
                self._written, self._bundle = frozenset(roots), roots or self._bundle
            elif at == self._lent_at:
                self._lent = issuers.lent_in(data)
                self.roots_refused = ""
        except BadIssuerError as error:
            log.error("%s %s/%s cannot be used: %s", kind, self._settings.namespace, at[1], error)  # noqa: TRY400 - a sentence
            if at == self._brought_at:
                self.refused = str(error)
            elif at == self._lent_at:
                self.roots_refused = str(error)
        self._settle()

    def _proved(self, data: dict[str, str]) -> Held:
        issuer = issuers.from_secret(data, now=self.now())
        trial.prove(issuer, self._settings.trust_domain, self._settings.dns_names, now=self.now())
        return Held(issuer=issuer, data=data)

    def _take_kept(self, obj: Mapping[str, Any], data: dict[str, str]) -> None:
        self.record = _recorded(obj, self.record)
        self.kept_data = data
        self.kept = self._proved(data)

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """What was removed does not stop the mesh: the last issuer stays until there is another, and what is ours is written again.

        But whoever removes the issuer in use has the one that was brought sign at once.
        """
        log.warning("%s %s/%s was removed; going on with what it held", kind, namespace, name)
        at = kind, name
        if at == self._brought_at:
            if self.kept is not None:
                self.brought = None
            # Where the leader makes one it is made again, of the issuer in use.
            again = self.kept is not None and self._settings.ca_create
            self.refused = "" if again else _REMOVED if self.kept is None else _REMOVED_IN_USE
        elif at == self._kept_at:
            self.kept, self.kept_data, self.record = None, None, Record()
        elif at == self._bundle_at:
            self._written = frozenset()
        elif at == self._lent_at:
            self.roots_refused = "it was removed: what it held stays trusted until a replica starts anew"
        self._settle(changed=True)

    def absent(self, kind: str, name: str) -> None:
        """Take in that a whole list did not hold something: it was removed meanwhile, or never there."""
        held = {
            self._brought_at: self.brought is not None and not self.refused,
            self._kept_at: self.kept_data is not None,
            self._bundle_at: bool(self._written),
            self._lent_at: bool(self._lent) and not self.roots_refused,
        }
        if held[kind, name]:
            self.remove(kind, self._settings.namespace, name)

    def missing(self) -> bool:
        """Tell whether the leader should make an issuer's Secret."""
        return self.brought is None and not self.refused and self._settings.ca_create

    def bundle_behind(self) -> bool:
        """Tell whether the ConfigMap lacks a root that is trusted, or has one that is to go."""
        return self.issuer is not None and (
            not self._written >= set(self._memory()) or bool(self._going(self._written))
        )

    async def make(self, cluster: Cluster) -> None:
        """Make the issuer's Secret, of the issuer in use where there is one; another replica may have been faster."""
        namespace, name = self._settings.namespace, self._settings.ca_secret
        data = self.kept.data if self.kept else issuers.new_root(self._settings.trust_domain, now=self.now())
        try:
            await cluster.create(path_of("v1", "secrets", namespace), self._secret(name, data))
            what = "found the issuer in use" if self.kept else "made a root"
            log.info("%s for trust domain %s: Secret %s/%s", what, self._settings.trust_domain, namespace, name)
        except ApiError as error:
            if error.code != 409:
                raise

    async def keep(self, cluster: Cluster, step: Step) -> None:
        """Keep the issuer in use and how far a change has come; raises ApiError, 409 when the Secret is no more what the step was decided on."""
        namespace = self._settings.namespace
        secret = self._secret(self._settings.kept_secret, step.held.data)
        secret["metadata"]["annotations"] = {names.ROOT_CHANGE: step.record.dumps()}
        path = path_of("v1", "secrets", namespace, self._settings.kept_secret)
        try:
            fresh = await cluster.get(path)
        except ApiError as error:
            if error.code != 404 or step.seen is not None:
                raise
            await cluster.create(path_of("v1", "secrets", namespace), secret)
            return
        if (fresh.get("data") or {}) != step.seen or _recorded(fresh, step.before) != step.before:
            raise ApiError(
                409,
                "Conflict",
                f"Secret {namespace}/{self._settings.kept_secret} is not as it was when this was decided",
            )
        secret["metadata"]["resourceVersion"] = fresh["metadata"]["resourceVersion"]
        await cluster.patch(path, secret, content=APPLY_PATCH, manager=names.FIELD_MANAGER)

    async def write_bundle(self, cluster: Cluster) -> None:
        """Write the trusted roots where later replicas find them; what somebody else wrote meanwhile stays."""
        namespace = self._settings.namespace
        path = path_of("v1", "configmaps", namespace, self._settings.bundle_config_map)
        metadata: dict[str, Any] = {"name": self._settings.bundle_config_map, "namespace": namespace}
        try:
            fresh = await cluster.get(path)
            metadata["resourceVersion"] = fresh["metadata"]["resourceVersion"]
            there = issuers.parse_bundle((fresh.get("data") or {}).get(issuers.ROOTS, ""))
        except ApiError as error:
            if error.code != 404:
                raise
            there = ()
        except BadIssuerError:
            there = ()
        going = self._going(there)
        roots = issuers.union([one for one in there if one not in going], self._memory(), now=self.now())
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {issuers.ROOTS: issuers.pem(roots)},
        }
        await cluster.patch(path, config_map, content=APPLY_PATCH, manager=names.FIELD_MANAGER)

    def _secret(self, name: str, data: dict[str, str]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "namespace": self._settings.namespace, "labels": _MANAGED}
        return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}

    def _going(self, roots: Iterable[x509.Certificate]) -> set[x509.Certificate]:
        """Which of some roots are to be trusted no more."""
        there = {fingerprint(root): root for root in roots}
        wanted = fingerprints(self._extra) | (self.brought.roots if self.brought else frozenset())
        signing = self.kept.roots if self.kept else frozenset()
        staying = rootchange.trusted(self.record, wanted, signing, frozenset(there))
        return {root for name, root in there.items() if name not in staying}

    def _holds(self) -> list[Held]:
        return [held for held in (self.kept, self.brought) if held is not None]

    def _memory(self) -> tuple[x509.Certificate, ...]:
        """The roots that are to be remembered."""
        going = self._going(self._bundle)
        # What is remembered first: so replicas whose issuers differ for a while (the Secret's name was changed) agree on the text.
        bundle = [root for root in self._bundle if root not in going]
        return issuers.union(bundle, *(held.issuer.roots for held in self._holds()), self._extra, now=self.now())

    def _settle(self, *, changed: bool = False) -> None:
        trusted = issuers.pem(issuers.union(self._memory(), self._lent, now=self.now()))
        used = self.used
        signed = used.signer if used else ""
        if not changed and signed == self._signed and trusted == self.roots_pem and not self.bundle_behind():
            return
        self._signed, self.roots_pem = signed, trusted
        if used is not None:
            self.ready.set()
        for listener in self._listeners:
            listener()


class Source:
    """One object the trust is made of; the sink of its reflector."""

    def __init__(self, kind: Kind, name: str, trust: Trust) -> None:
        self.kind = kind
        self.name = name
        self._trust = trust

    def apply(self, kind: str, obj: Mapping[str, Any], /) -> None:
        """It is there, or changed."""
        self._trust.apply(kind, obj)

    def remove(self, kind: str, namespace: str, name: str, /) -> None:
        """It was removed."""
        self._trust.remove(kind, namespace, name)

    def retain(self, kind: str, places: set[tuple[str, str]], /) -> None:
        """A list held it, or did not."""
        if not places:
            self._trust.absent(kind, self.name)


def _recorded(secret: Mapping[str, Any], before: Record) -> Record:
    """Read the record beside an issuer; one that somebody spoiled is as it was before, and written again with the next step."""
    said = (secret["metadata"].get("annotations") or {}).get(names.ROOT_CHANGE)
    try:
        return Record.loads(said) if said else Record()
    except ValueError as error:
        log.error("%s; going on with %s", error, before.stage.value)  # noqa: TRY400 - a sentence
        return before


_REMOVED = "it was removed: a replica that starts anew has no issuer"
_REMOVED_IN_USE = "it was removed: the issuer in use goes on signing"
