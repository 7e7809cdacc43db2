"""The chart by real Helm against a cluster: upgraded, rolled back, and nothing left after uninstall is the fixture's own end."""

from __future__ import annotations

from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask
from tests.support.objects import deployment, pod, service
from tulle import helm


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


def test_rollback_brings_the_former_values_back_and_the_mesh_goes_on(mesh: Mesh, shop: Kube) -> None:
    """Helm's own rollback: the values before, the webhooks still trusted, the Mesh object still there."""

    def level() -> str:
        container = mesh.system.get("deployment", "tulle")["spec"]["template"]["spec"]["containers"][0]
        return next(e["value"] for e in container["env"] if e["name"] == "TULLE_LOG_LEVEL")

    mesh.tulle("install", "--wait", "--set", "logLevel=warning")
    assert level() == "warning"
    helm.call("rollback", timeout=60, namespace="tulle-system", kubeconfig=str(mesh.kubeconfig))

    assert level() == "info"
    assert mesh.system.get("mesh", "default")["spec"]["mtls"]["mode"] == "PERMISSIVE"
    shop.until(lambda: "✗" not in mesh.tulle("check", check=False).stdout, 30, "a healthy mesh")
    shop.apply(pod("rolled-back", annotations=ON))
    shop("wait", "--for=condition=Ready", "pod/rolled-back", "--timeout=60s")


def test_bad_value_is_refused_by_the_schema(mesh: Mesh) -> None:
    """A value of the wrong type never reaches the cluster."""
    done = mesh.tulle("install", "--set", "replicas=many", check=False)

    assert done.returncode != 0
    assert "replicas" in done.stderr


def test_field_somebody_else_owns_is_named_and_taken_over_only_by_force(mesh: Mesh) -> None:
    """An autoscaler or a person wanted it so; who installs decides, knowing whose it is."""
    mesh.system(
        "patch", "deployment", "tulle", "--field-manager=somebody", "--type=merge", "-p", '{"spec":{"replicas":2}}'
    )
    refused = mesh.tulle("install", "--set", "replicas=1", check=False)
    still = mesh.system.get("deployment", "tulle")["spec"]["replicas"]
    forced = mesh.tulle("install", "--wait", "--set", "replicas=1", "--force")

    assert refused.returncode == 1
    assert ".spec.replicas of Deployment tulle-system/tulle is owned by somebody" in refused.stderr
    assert "tulle install --force" in refused.stderr
    assert still == 2
    assert "taken over" in forced.stderr
    assert mesh.system.get("deployment", "tulle")["spec"]["replicas"] == 1
