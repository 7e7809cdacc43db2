"""The command line against a running mesh."""

from __future__ import annotations

import json

import pytest
import yaml

from meshapi import xds
from tests.support.cluster import Kube
from tests.support.mesh import Mesh, ask, is_injected
from tests.support.objects import deployment, pod, service

ON = {"tulle.dev/inject": "enabled"}


@pytest.fixture(scope="module", autouse=True)
def client(shop: Kube) -> None:
    """One service and a caller in the mesh."""
    shop.apply(deployment("web", annotations=ON), service("web"), pod("client", annotations=ON))
    shop("rollout", "status", "deployment/web", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")


def test_check_finds_a_healthy_mesh(mesh: Mesh) -> None:
    """Every line is a positive claim, and all hold."""
    done = mesh.tulle("check")

    assert "✓" in done.stdout
    assert "✗" not in done.stdout


def test_check_speaks_json(mesh: Mesh) -> None:
    """The same for programs."""
    assert json.loads(mesh.tulle("check", "-o", "json").stdout)


def test_proxy_status_knows_every_sidecar(mesh: Mesh, shop: Kube) -> None:
    """Connected, versions acknowledged, and when the certificate ends."""
    proxies = json.loads(mesh.tulle("proxy-status", "-o", "json").stdout)["proxies"]
    mine = {p["pod"]: p for p in proxies if p["namespace"] == shop.namespace}

    assert "client" in mine
    assert mine["client"]["identity"].endswith(f"/ns/{shop.namespace}/sa/default")
    assert mine["client"]["certificate_expires_at"]
    assert mine["client"]["contract"] == xds.CONTRACT
    assert "envoy.config.listener.v3.Listener.continue_on_listener_filters_timeout" in mine["client"]["passed_over"]


def test_offline_injection_is_what_the_webhook_does(mesh: Mesh) -> None:
    """`tulle inject` gives a pod with the sidecar, and says so on standard error."""
    done = mesh.tulle("inject", "-", stdin=yaml.safe_dump(pod("by-hand", annotations=ON)))

    assert is_injected(yaml.safe_load(done.stdout))
    assert "by-hand" in done.stderr


def test_version_names_client_and_control_plane(mesh: Mesh) -> None:
    """Both versions are told."""
    assert "0.1.0" in mesh.tulle("version").stdout


def test_mesh_and_routes_are_seen_at_a_glance(mesh: Mesh) -> None:
    """`kubectl get httproutes,mesh -A` has state in its columns."""
    said = mesh.system("get", "httproutes,mesh", "-A")

    assert "MTLS" in said
    assert "PERMISSIVE" in said


def test_routes_lists_the_destinations_a_sidecar_holds(mesh: Mesh, shop: Kube) -> None:
    """What the app called is known, and nothing else."""
    assert ask(shop, "client", "http://web/")[0][0] == 200
    said = mesh.tulle("routes", "pod/client", "-n", shop.namespace).stdout

    assert f"web.{shop.namespace}:80" in said
    assert len(said.splitlines()) == 2


def test_unknown_workload_is_said_in_one_sentence(mesh: Mesh, shop: Kube) -> None:
    """A mistake costs one line, not a traceback."""
    done = mesh.tulle("routes", "deploy/nobody", "-n", shop.namespace, check=False)

    assert done.returncode != 0
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
