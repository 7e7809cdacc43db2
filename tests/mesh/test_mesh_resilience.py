"""What goes on when something else stops: the control plane, a pod under load, a certificate's half-life."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask, bring_pair, is_injected, pods
from tests.support.objects import container, deployment, pod, service

STRICT = {
    "apiVersion": "tulle.dev/v1alpha1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "mode"},
    "spec": {"mtls": {"mode": "STRICT"}},
}

HAMMER = (
    "import http.client,json,sys,time\n"
    "seconds=float(sys.argv[1]); end=time.time()+seconds; bad=[]; n=0; c=None\n"
    "while time.time()<end:\n"
    "  n+=1\n"
    "  try:\n"
    "    c=c or http.client.HTTPConnection('server',80,timeout=5); c.request('GET','/'); r=c.getresponse(); b=r.read()\n"
    "    if r.status!=200: bad.append([r.status,b.decode()])\n"
    "    if r.will_close: c.close(); c=None\n"
    "  except Exception as x: bad.append([0,repr(x)]); c=None\n"
    "  time.sleep(0.01)\n"
    "print(json.dumps({'requests':n,'bad':bad}))\n"
)

READINESS = (
    "import http.client\n"
    "c=http.client.HTTPConnection('127.0.0.1',15020); c.request('GET','/healthz/ready'); print(c.getresponse().read().decode(),end='')\n"
)

KILL = (
    "import os\n"
    "for pid in filter(str.isdigit,os.listdir('/proc')):\n"
    "  if b'/tulle'+b'-proxy' in open(f'/proc/{pid}/cmdline','rb').read(): os.kill(int(pid),9)\n"
)


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """Two servers and a client in the mesh."""
    bring_pair(shop, replicas=2)


def test_sidecar_knows_that_the_whole_pod_goes_whatever_hooks_its_app_has(shop: Kube) -> None:
    """Told by its own hook, at once and for good: a restart of the app alone is forgotten after a while, and an app may take long to end."""
    bye = {"preStop": {"exec": {"command": ["sleep", "60"]}}}
    shop.apply(pod("slow", annotations=ON, containers=[container(lifecycle=bye)], terminationGracePeriodSeconds=90))
    shop("wait", "--for=condition=Ready", "pod/slow", "--timeout=60s")
    asking = ("exec", "slow", "-c", "app", "--", "python", "-c", READINESS)
    assert shop(*asking) == "ready\n"
    shop("delete", "pod", "slow", "--wait=false")

    shop.until(lambda: shop(*asking) == "draining\n", 20, "the hook of the sidecar")
    shop("delete", "pod", "slow", "--force", "--grace-period=0")


def hammering(shop: Kube, seconds: float, pod: str = "client") -> subprocess.Popen[str]:
    """Requests in a row from a pod, on one connection as long as it lives, in the background."""
    command = shop.command("exec", pod, "-c", "app", "--", "python", "-c", HAMMER, str(seconds))
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> dict:
    out, _ = process.communicate(timeout=90)
    result: dict = json.loads(out)
    return result


def test_rolling_restart_under_load_loses_no_request(shop: Kube) -> None:
    """Pods come and go; the client sees only answers."""
    with hammering(shop, 12) as load:
        shop("rollout", "restart", "deployment/server")
        shop("rollout", "status", "deployment/server", "--timeout=60s")
        seen = outcome(load)

    assert seen["requests"] > 100
    assert seen["bad"] == []


@pytest.mark.parametrize(("change", "injected"), [("tulle.dev/inject-", False), ("tulle.dev/inject=enabled", True)])
def test_going_out_of_the_mesh_and_in_again_loses_no_request(shop: Kube, change: str, injected: bool) -> None:
    """The README's promise: the workload rolls either way, and its clients see only answers."""
    with hammering(shop, 12) as load:
        shop("annotate", "deployment", "server", change)
        shop.until(
            lambda: (found := pods(shop, "server")) and all(is_injected(p) is injected for p in found),
            60,
            "the pods of the other kind",
        )
        shop("rollout", "status", "deployment/server", "--timeout=60s")
        seen = outcome(load)

    assert seen["requests"] > 100
    assert seen["bad"] == []


def test_traffic_goes_on_while_the_control_plane_is_away(shop: Kube, mesh: Mesh) -> None:
    """Known destinations are served and unknown ones pass through as plain Kubernetes."""
    shop.apply(deployment("unknown"), service("unknown"))
    shop("rollout", "status", "deployment/unknown", "--timeout=60s")
    mesh.system("scale", "deploy/tulle", "--replicas=0")
    try:
        mesh.system("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=tulle", "--timeout=40s")
        answers = ask(shop, "client", "http://server/", count=20)
        assert [s for s, _ in answers] == [200] * 20
        assert ask(shop, "client", "http://unknown/")[0][0] == 200
    finally:
        mesh.system("scale", "deploy/tulle", "--replicas=1")
        mesh.system("rollout", "status", "deploy/tulle", "--timeout=60s")


def test_control_plane_restart_is_not_seen_by_traffic(shop: Kube, mesh: Mesh) -> None:
    """Streams drain, sidecars reconnect and resume; no request fails."""
    with hammering(shop, 12) as load:
        mesh.system("rollout", "restart", "deploy/tulle")
        mesh.system("rollout", "status", "deploy/tulle", "--timeout=60s")
        seen = outcome(load)

    assert seen["bad"] == []
    shop.until(lambda: "client" in mesh.tulle("proxy-status").stdout, 30, "reconnection")


def test_open_connection_of_a_rolled_workload_outlives_control_planes_that_forgot_it(shop: Kube, mesh: Mesh) -> None:
    """Its destinations were hinted at by a control plane that is gone; no later one remembers them, and the app goes on using them."""
    shop.apply(deployment("caller", annotations=ON))
    shop("rollout", "status", "deployment/caller", "--timeout=60s")
    assert ask(shop, "deploy/caller", "http://server/")[0][0] == 200
    shop("rollout", "restart", "deployment/caller")
    shop("rollout", "status", "deployment/caller", "--timeout=60s")
    with hammering(shop, 14, "deploy/caller") as load:
        for _ in range(2):
            mesh.system("delete", "pod", "-l", "app.kubernetes.io/name=tulle", "--grace-period=0", "--force")
            mesh.system("rollout", "status", "deploy/tulle", "--timeout=60s")
            shop.until(lambda: "caller" in mesh.tulle("proxy-status").stdout, 30, "reconnection")
        seen = outcome(load)

    assert seen["requests"] > 100
    assert seen["bad"] == []


def test_killed_sidecar_costs_its_app_no_more_than_its_start(shop: Kube) -> None:
    """The app runs on, and under STRICT: its calls are refused until the next container listens, then they wait for the configuration and succeed."""
    assert ask(shop, "client", "http://server/")[0][0] == 200
    shop.apply(STRICT)
    with hammering(shop, 10) as load:
        command = shop.command("exec", "client", "-c", "tulle-proxy", "--", "python", "-c", KILL)
        subprocess.run(command, capture_output=True, timeout=30, check=False)
        seen = outcome(load)
    shop("delete", "peerauthentications.tulle.dev", "mode")
    kinds = ["refused" if "ConnectionRefused" in words else words for _, words in seen["bad"]]

    assert 0 < kinds.count("refused") < seen["requests"] / 2
    assert len(kinds) - kinds.count("refused") <= 1, kinds  # what was in flight


def test_config_follows_after_a_control_plane_restart(shop: Kube) -> None:
    """A pod made afterwards is reached: streams really work again."""
    shop.apply(
        deployment("later", annotations=ON, containers=[container(env=[{"name": "SAY", "value": "later"}])]),
        service("later"),
    )
    shop("rollout", "status", "deployment/later", "--timeout=60s")

    assert shop.until(lambda: ask(shop, "client", "http://later/") == [(200, "later")], 20)
