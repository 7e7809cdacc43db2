"""What `tulle check` claims of a cluster and of a mesh, as functions of facts (pure).

In: objects as the API server has them. Out: claims, each a positive sentence with whether it holds and what to do where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshapi import names
from tulle.lookup import is_ready
from tulle.output import FAILED, OK, WARNING

Object = dict[str, Any]

OLDEST = (1, 29)
"""Native sidecars and CEL match conditions are on by default since then."""
_NAMED = 5
"""How many names a sentence lists before it counts the rest."""
_BAD_NEWS = frozenset({"PartiallyInvalid"})
"""Conditions of routes that are True where something is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One line of the report."""

    status: str
    text: str
    detail: str = ""
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give the claim for programs."""
        word = {OK: "ok", WARNING: "warning", FAILED: "failed"}[self.status]
        return {
            "status": word,
            "claim": self.text,
            "detail": self.detail,
            "advice": self.advice if self.status != OK else "",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What matters before Tulle is there."""

    server: str
    version: str
    gateway_kinds: tuple[str, ...]
    forbidden: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What users have written and the control plane judges."""

    mesh: Object | None
    routes: tuple[Object, ...]
    policies: tuple[Object, ...]

    @property
    def all(self) -> tuple[Object, ...]:
        """Every object."""
        return (*((self.mesh,) if self.mesh else ()), *self.routes, *self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFacts:
    """What matters once it is."""

    deployment: Object
    replicas: tuple[Object, ...]
    kinds: tuple[Object, ...]
    configured: Configured
    mutating: Object | None
    validating: Object | None


def claim(holds: bool, text: str, *, detail: str = "", advice: str = "", otherwise: str = FAILED) -> Claim:
    """Claim what holds or not."""
    return Claim(status=OK if holds else otherwise, text=text, detail=detail, advice=advice)


def of_cluster(facts: ClusterFacts) -> list[Claim]:
    """Claim what a cluster needs to take Tulle."""
    found = re.match(r"v?(\d+)\.(\d+)", facts.version)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return [
        Claim(status=OK, text="the API server answers", detail=facts.server),
        claim(
            version >= OLDEST,
            f"Kubernetes is {OLDEST[0]}.{OLDEST[1]} or newer",
            detail=facts.version,
            advice="upgrade the cluster; older ones know neither native sidecars nor match conditions",
        ),
        claim(
            "httproutes" in facts.gateway_kinds,
            "the Gateway API's kinds are defined",
            advice="routes need them: kubectl apply --server-side -f manifests/gateway-api (or the official CRDs)",
            otherwise=WARNING,
        ),
        claim(
            not facts.forbidden,
            "you may install Tulle",
            detail=f"not allowed: create {', '.join(facts.forbidden)}" if facts.forbidden else "",
            advice="installing and upgrading needs a cluster administrator; using the mesh does not",
            otherwise=WARNING,
        ),
    ]


def not_installed(system: str) -> Claim:
    """Claim that there is a mesh where there is none."""
    return Claim(
        status=WARNING,
        text="the control plane is installed",
        detail=f"there is no Deployment tulle in namespace {system}",
        advice="tulle install --wait",
    )


def of_mesh(facts: MeshFacts) -> list[Claim]:
    """Claim what makes a mesh well."""
    return [
        *_control_plane(facts),
        *_configuration(facts),
        *_webhooks(facts),
        *_policies(facts),
        *_routes(facts),
    ]


def _control_plane(facts: MeshFacts) -> list[Claim]:
    wanted = facts.deployment["spec"].get("replicas", 1)
    ready = sum(is_ready(pod) for pod in facts.replicas)
    return [
        claim(
            ready >= 1,
            "the control plane is ready",
            detail=f"{ready} of {wanted} replicas",
            advice="kubectl -n tulle-system describe deployment tulle; kubectl -n tulle-system logs deploy/tulle",
        ),
        claim(
            ready >= wanted,
            "every replica of the control plane is ready",
            advice="a rollout may be under way: kubectl -n tulle-system rollout status deployment/tulle",
            otherwise=WARNING,
        ),
    ]


def _configuration(facts: MeshFacts) -> list[Claim]:
    own = [crd for crd in facts.kinds if crd["spec"]["group"] == names.GROUP]
    missing = [
        crd["metadata"]["name"]
        for crd in own
        if not any(c["type"] == "Established" and c["status"] == "True" for c in _conditions(crd))
    ]
    refused = [
        c for c in _conditions(facts.configured.mesh or {}) if c["type"] == "Accepted" and c["status"] == "False"
    ]
    return [
        claim(
            bool(own) and not missing,
            "Tulle's kinds are defined",
            detail=f"not established: {some(missing)}" if missing else f"{len(own)} kinds",
            advice="tulle install (the kinds come with the chart)",
        ),
        claim(
            facts.configured.mesh is not None and not refused,
            "the Mesh object is there and accepted",
            detail=refused[0].get("message", "") if refused else "",
            advice="kubectl get mesh default -o yaml; without one the defaults hold",
            otherwise=FAILED if refused else WARNING,
        ),
    ]


def _webhooks(facts: MeshFacts) -> list[Claim]:
    told = []
    for what, found in (("injection", facts.mutating), ("validation", facts.validating)):
        bare = without_bundle(found) if found else []
        detail = "there is none" if found is None else f"no caBundle: {some(bare)}" if bare else ""
        told.append(
            claim(
                found is not None and not bare,
                f"the webhooks for {what} can be called",
                detail=detail,
                advice="the control plane writes their certificate when it is ready; tulle install makes them again",
            )
        )
    return told


def _policies(facts: MeshFacts) -> list[Claim]:
    told = [("/".join(_place(one)), c) for one in facts.configured.policies for c in _conditions(one)]
    told += [("Mesh default", c) for c in _conditions(facts.configured.mesh or {}) if c["type"] == "Bypassed"]
    refused = [f"{who}: {c.get('message')}" for who, c in told if (c["type"], c["status"]) == ("Accepted", "False")]
    bypassed = [f"{who}: {c.get('message')}" for who, c in told if (c["type"], c["status"]) == ("Bypassed", "True")]
    return [
        claim(
            not refused,
            "every policy is in force",
            detail="; ".join(refused[:_NAMED]),
            advice="kubectl describe peerauthentication <name> has the conditions",
            otherwise=WARNING,
        ),
        claim(
            not bypassed,
            "every pod under STRICT has a sidecar",
            detail="; ".join(bypassed[:_NAMED]),
            advice="annotate its workload tulle.dev/inject=enabled, or give it a policy of its own that says what it takes",
        ),
    ]


def _routes(facts: MeshFacts) -> list[Claim]:
    bad = []
    for route in facts.configured.routes:
        for parent in (route.get("status") or {}).get("parents") or ():
            if parent.get("controllerName") != names.CONTROLLER_NAME:
                continue
            wrong = [c for c in parent.get("conditions") or () if (c["status"] == "True") is (c["type"] in _BAD_NEWS)]
            bad += [f"{'/'.join(_place(route))}: {c.get('message') or c.get('reason')}" for c in wrong]
    return [
        claim(
            not bad,
            "every route is accepted and its backends are there",
            detail="; ".join(bad[:_NAMED]),
            advice="kubectl describe <kind of route> <name> has the conditions",
            otherwise=WARNING,
        )
    ]


def _conditions(obj: Object) -> list[Object]:
    found: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return found


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def without_bundle(configuration: Object) -> list[str]:
    """Name the webhooks of a configuration that no API server could verify."""
    return [hook["name"] for hook in configuration.get("webhooks") or () if not hook["clientConfig"].get("caBundle")]


def some(items: Sequence[str], between: str = ", ") -> str:
    """Name some of many, and count the rest."""
    more = len(items) - _NAMED
    return between.join(items[:_NAMED]) + (f" and {more} more" if more > 0 else "")
