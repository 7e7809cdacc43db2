"""The official Gateway API definitions, when this machine has them: they load, their defaults and CEL rules hold.

`GATEWAY_API_CRDS` names their directory; else `../shared/gateway-api` beside the repository is looked at. Where neither is there the
test says so and checks Tulle's own minimal definitions instead, so it never passes for nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.cluster import ROOT, Kube

ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "split"},
    "spec": {
        "parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
        "rules": [
            {"backendRefs": [{"name": "v1", "port": 80, "weight": 90}, {"name": "v2", "port": 80, "weight": 10}]}
        ],
    },
}


def directory() -> Path:
    named = os.environ.get("GATEWAY_API_CRDS")
    found = Path(named) if named else ROOT.parent / "shared" / "gateway-api"
    return found / "standard" if (found / "standard").is_dir() else found


@pytest.fixture(scope="module")
def official(kube: Kube, request: pytest.FixtureRequest) -> bool:
    """Gateway API, official where the machine has it; tells whether it has."""
    path = directory()
    found = path.is_dir()
    if not found:
        reporter = request.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            said = f"NOT RUN with the official Gateway API definitions: {path} is not there; set GATEWAY_API_CRDS"
            reporter.write_line(said)
        path = ROOT / "manifests" / "gateway-api"
    kube("apply", "--server-side", "--force-conflicts", "-f", str(path))
    kube("wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io", "--timeout=20s")
    return found


def test_gateway_api_route_is_stored_with_its_defaults(kube: Kube, official: bool) -> None:
    """A route with a Service as parent is taken as users write it; the official definitions fill their defaults in."""
    kube.apply(ROUTE)
    rule = kube.get("httproute", "split")["spec"]["rules"][0]

    assert [backend["weight"] for backend in rule["backendRefs"]] == [90, 10]
    assert "split" in kube("get", "httproutes")
    if official:
        assert rule["backendRefs"][0]["kind"] == "Service"
        assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]


def test_gateway_api_rules_refuse_what_makes_no_sense(kube: Kube, official: bool) -> None:
    """A path type that is not known is refused; so is, by the official CEL rules, a path without its slash."""
    bad = json.loads(json.dumps(ROUTE))
    bad["metadata"]["name"] = "bad"
    bad["spec"]["rules"][0]["matches"] = [{"path": {"type": "Somehow", "value": "/"}}]
    assert "Unsupported value" in kube.fails("create", "-f", "-", stdin=json.dumps(bad))
    if official:
        bad["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "nowhere"}}]
        assert "must be an absolute path" in kube.fails("create", "-f", "-", stdin=json.dumps(bad))
