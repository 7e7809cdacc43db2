"""What `tulle check` claims, by facts alone."""

from __future__ import annotations

from typing import Any

import pytest

from meshapi import names
from tulle import claims
from tulle.output import FAILED, OK, WARNING

Object = dict[str, Any]


def told(*policies: Object, mesh: Object | None = None, routes: tuple[Object, ...] = ()) -> dict[str, tuple[str, str]]:
    """The claims of a mesh with these policies and routes: status and detail by sentence."""
    facts = claims.MeshFacts(
        deployment={"spec": {"replicas": 1}},
        replicas=(),
        kinds=(),
        configured=claims.Configured(mesh=mesh, routes=routes, policies=policies),
        mutating=None,
        validating=None,
    )
    return {claim.text: (claim.status, claim.detail) for claim in claims.of_mesh(facts)}


def policy(*conditions: tuple[str, str, str]) -> Object:
    written = [{"type": type_, "status": status, "message": message} for type_, status, message in conditions]
    return {"metadata": {"name": "p", "namespace": "shop"}, "status": {"conditions": written}}


@pytest.mark.parametrize("where", ["policy", "mesh"])
def test_strict_that_a_pod_escapes_is_a_finding(where: str) -> None:
    """Plaintext under STRICT is what nobody notices by itself."""
    found = policy(("Accepted", "True", "In force."), ("Bypassed", "True", "STRICT does not hold for pods: web-1."))
    claimed = told(found) if where == "policy" else told(mesh=found)

    status, detail = claimed["every pod under STRICT has a sidecar"]
    assert status == FAILED
    assert "web-1" in detail
    assert told(policy(("Accepted", "True", "")))["every pod under STRICT has a sidecar"] == (OK, "")


def test_policy_that_waits_is_a_finding() -> None:
    """A name mistyped protects nothing."""
    claimed = told(policy(("Accepted", "False", "There is no pod of Deployment typo.")))

    assert claimed["every policy is in force"] == (WARNING, "shop/p: There is no pod of Deployment typo.")


def test_route_with_a_rule_that_was_dropped_is_a_finding() -> None:
    """Gateway API says so by a condition that is True; what the rule matches is answered with an error."""
    dropped = {"type": "PartiallyInvalid", "status": "True", "message": "Dropped Rule 1: no such filter."}
    accepted = {"type": "Accepted", "status": "True", "message": "In force on port 80."}
    parent = {"controllerName": names.CONTROLLER_NAME, "conditions": [accepted, dropped]}
    route = {"metadata": {"name": "r", "namespace": "shop"}, "status": {"parents": [parent]}}

    text = "every route is accepted and its backends are there"
    assert told(routes=(route,))[text] == (WARNING, "shop/r: Dropped Rule 1: no such filter.")
    parent["conditions"] = [accepted]
    assert told(routes=(route,))[text] == (OK, "")
