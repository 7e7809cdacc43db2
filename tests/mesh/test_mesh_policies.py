"""What the Mesh object and PeerAuthentication say of ports and of destinations nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask
from tests.support.objects import SERVER, container, deployment, pod, service

TWO_PORTS = SERVER.replace("http.server.Thr", "import threading\nS=http.server.Thr").replace(
    ".serve_forever()\n", "\nthreading.Thread(target=S.serve_forever).start()\n"
)
TWO_PORTS += "http.server.ThreadingHTTPServer(('0.0.0.0',9090),H).serve_forever()\n"


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """A server with two ports and a client in the mesh, and two strangers."""
    serving = [container(command=["python", "-c", TWO_PORTS], ports=[{"containerPort": 8080}, {"containerPort": 9090}])]
    ports = service("server")
    ports["spec"]["ports"].append({"name": "http-more", "port": 90, "targetPort": 9090})
    shop.apply(deployment("server", annotations=ON, containers=serving), ports)
    shop.apply(pod("client", annotations=ON), pod("stranger"), pod("unknown"))
    shop("rollout", "status", "deployment/server", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/client", "pod/stranger", "pod/unknown", "--timeout=60s")


def answers(shop: Kube, who: str, url: str) -> int:
    return ask(shop, who, url)[0][0]


def test_one_port_may_be_strict_and_another_not(shop: Kube) -> None:
    """`portLevel` goes by the app's own port; what is left open stays open, and mesh clients reach both."""
    shop.apply(
        {
            "apiVersion": "tulle.dev/v1alpha1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "one-port"},
            "spec": {
                "targetRefs": [{"group": "apps", "kind": "Deployment", "name": "server"}],
                "mtls": {"mode": "STRICT"},
                "portLevel": [{"port": 9090, "mode": "PERMISSIVE"}],
            },
        }
    )
    try:
        shop.until(lambda: answers(shop, "stranger", "http://server/") == 0, 20, "STRICT on 8080")
        assert answers(shop, "stranger", "http://server:90/") == 200
        assert [answers(shop, "client", f"http://server{port}/") for port in ("", ":90")] == [200, 200]
        assert "True" in shop("get", "peerauthentication", "one-port")
    finally:
        shop("delete", "peerauthentication", "one-port")
    shop.until(lambda: answers(shop, "stranger", "http://server/") == 200, 20, "the way back")


@pytest.fixture
def nobody_unknown(mesh: Mesh) -> Iterator[None]:
    """Destinations outside the mesh's knowledge are refused."""
    change = ["patch", "mesh", "default", "--type=merge", "-p"]
    mesh.system(*change, json.dumps({"spec": {"outbound": "DENY"}}))
    yield
    mesh.system(*change, json.dumps({"spec": {"outbound": "ALLOW"}}))


def test_unknown_destinations_pass_through_by_default(shop: Kube) -> None:
    """An address that is no Service and no mesh pod is plain Kubernetes."""
    assert answers(shop, "client", f"http://{unknown(shop)}:8080/") == 200


@pytest.mark.usefixtures("nobody_unknown")
def test_unknown_destinations_are_refused_when_the_mesh_says_so(shop: Kube, mesh: Mesh) -> None:
    """`outbound: DENY`: Services are reached, an address nobody knows is not, and pods outside the mesh are not concerned."""
    where = f"http://{unknown(shop)}:8080/"
    shop.until(lambda: answers(shop, "client", where) != 200, 20, "DENY")

    assert answers(shop, "client", "http://server/") == 200
    assert answers(shop, "stranger", where) == 200
    assert "DENY" in mesh.system("get", "mesh")


def unknown(shop: Kube) -> str:
    address: str = shop.get("pod", "unknown")["status"]["podIP"]
    return address
