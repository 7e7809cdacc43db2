"""The chart by real Helm against a cluster: upgraded, rolled back, and nothing left after uninstall is the fixture's own end."""

from __future__ import annotations

from tests.support.cluster import Kube
from tests.support.mesh import Mesh, ask
from tests.support.objects import deployment, pod, service

ON = {"tulle.dev/inject": "enabled"}


def test_upgrade_changes_a_value_and_traffic_goes_on(mesh: Mesh, shop: Kube) -> None:
    """`tulle install` over an installed mesh is an upgrade; the webhook's certificate survives it."""
    shop.apply(deployment("web", annotations=ON), service("web"), pod("client", annotations=ON))
    shop("rollout", "status", "deployment/web", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
    mesh.tulle("install", "--wait", "--set", "logLevel=debug")
    assert ask(shop, "client", "http://web/")[0][0] == 200
    mesh.tulle("install", "--wait", "--set", "logLevel=info")

    assert ask(shop, "client", "http://web/")[0][0] == 200
    shop.apply(pod("after", annotations=ON))
    shop("wait", "--for=condition=Ready", "pod/after", "--timeout=60s")
    assert "tulle.dev/status" in shop.get("pod", "after")["metadata"]["annotations"]


def test_bad_value_is_refused_by_the_schema(mesh: Mesh) -> None:
    """A value of the wrong type never reaches the cluster."""
    done = mesh.tulle("install", "--set", "replicas=many", check=False)

    assert done.returncode != 0
    assert "replicas" in done.stderr
