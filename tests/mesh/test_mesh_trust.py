"""Certificates and roots change while the mesh runs: connections live on, and everybody believes everybody meanwhile."""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
from collections.abc import Iterator

import pytest

from controlplane.ca.issuer import new_root
from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask, bring_pair
from tests.support.objects import container, deployment, pod, service

WEBHOOKS = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")

ECHO = (
    "import socketserver\n"
    "class H(socketserver.StreamRequestHandler):\n"
    "  def handle(self):\n"
    "    for line in self.rfile: self.wfile.write(line)\n"
    "socketserver.ThreadingTCPServer(('0.0.0.0',9000),H).serve_forever()\n"
)
TALK = (
    "import socket,sys,time\n"
    "s=socket.create_connection(('echo',9000),10); f=s.makefile('rwb'); end=time.time()+float(sys.argv[1])\n"
    "while time.time()<end:\n"
    "  f.write(b'hello\\n'); f.flush(); assert f.readline()==b'hello\\n'; time.sleep(0.2)\n"
    "print('one connection')\n"
)


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """A server and a client in the mesh."""
    bring_pair(shop)


@pytest.fixture
def short_lives(mesh: Mesh) -> Iterator[None]:
    """Certificates of a minute, the shortest life."""
    mesh.tulle("install", "--wait", "--set", "ca.certificateSeconds=60")
    yield
    mesh.tulle("install", "--wait", "--set", "ca.certificateSeconds=86400")


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("short_lives")
def test_certificate_is_renewed_several_times_under_one_connection(shop: Kube, mesh: Mesh) -> None:
    """A connection outlives the certificates it was made with, new ones are made all the time, and no request fails."""
    listening = [container(command=["python", "-c", ECHO], ports=[{"containerPort": 9000}])]
    shop.apply(
        deployment("echo", annotations=ON, containers=listening), service("echo", 9000, 9000, port_name="tcp-echo")
    )
    shop.apply(pod("talker", annotations=ON))
    shop("rollout", "status", "deployment/echo", "--timeout=60s")
    shop("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    first = ends(mesh, shop, "talker")
    command = shop.command("exec", "talker", "-c", "app", "--", "python", "-c", TALK, "75")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as talk:
        while talk.poll() is None:
            assert ask(shop, "talker", "http://server/")[0][0] == 200
        said = talk.communicate()[0]

    assert said.strip() == "one connection"
    assert first < dt.datetime.now(dt.UTC) < ends(mesh, shop, "talker")


def ends(mesh: Mesh, shop: Kube, name: str) -> dt.datetime:
    """When a sidecar's certificate is over."""
    proxies = mesh.proxies(shop.namespace)
    (found,) = [one for one in proxies if one["pod"] == name]
    return dt.datetime.fromisoformat(found["certificate_expires_at"])


def test_issuer_of_the_users_own_takes_over_with_overlap(shop: Kube, mesh: Mesh) -> None:
    """A Secret in cert-manager's shape: old and new certificates believe each other, and injection never stops."""
    data = new_root("cluster.local", now=dt.datetime.now(dt.UTC))
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "brought"}}
    mesh.system.apply(secret | {"data": data})
    root = base64.b64decode(data["ca.crt"]).decode().strip()
    try:
        mesh.tulle("install", "--wait", "--set", "ca.secret=brought", "--set", "ca.create=false")
        assert ask(shop, "client", "http://server/")[0][0] == 200
        shop.apply(deployment("younger", annotations=ON), service("younger"), pod("young", annotations=ON))
        shop("rollout", "status", "deployment/younger", "--timeout=60s")
        shop("wait", "--for=condition=Ready", "pod/young", "--timeout=60s")

        assert ask(shop, "young", "http://server/")[0][0] == 200
        assert ask(shop, "client", "http://younger/")[0][0] == 200
        bundle = mesh.system.get("configmap", "tulle-trust")["data"]["roots"]
        assert root in bundle
        assert bundle.count("BEGIN CERTIFICATE") >= 2
    finally:
        mesh.tulle("install", "--wait", "--set", "ca.secret=tulle-ca", "--set", "ca.create=true")
        mesh.system("delete", "secret", "brought")
    assert ask(shop, "young", "http://server/")[0][0] == 200
    assert ask(shop, "client", "http://younger/")[0][0] == 200


@pytest.mark.parametrize("kind", WEBHOOKS)
def test_ca_bundle_of_a_webhook_is_kept_right(shop: Kube, mesh: Mesh, kind: str) -> None:
    """Whoever spoils it, the control plane writes it again."""
    good = bundles(mesh, kind)
    assert all(good)
    change = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    mesh.system("patch", kind, "tulle", "--type=json", "-p", json.dumps(change))

    shop.until(lambda: bundles(mesh, kind) == good, 20, "the bundle")


def bundles(mesh: Mesh, kind: str) -> list[str]:
    return [hook["clientConfig"].get("caBundle", "") for hook in mesh.system.get(kind, "tulle")["webhooks"]]
