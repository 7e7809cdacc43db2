"""What `tulle check` claims, by facts alone."""

from __future__ import annotations

from typing import Any

import pytest

from tulle import claims
from tulle.output import FAILED, OK, WARNING

Object = dict[str, Any]


def told(*policies: Object, mesh: Object | None = None) -> dict[str, tuple[str, str]]:
    """The claims of a mesh with these policies: status and detail by sentence."""
    facts = claims.MeshFacts(
        deployment={"spec": {"replicas": 1}},
        replicas=(),
        kinds=(),
        mesh=mesh,
        mutating=None,
        validating=None,
        routes=(),
        policies=policies,
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
