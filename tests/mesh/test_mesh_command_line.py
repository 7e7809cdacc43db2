"""The command line against a running mesh."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import time
from typing import Any

import pytest
import yaml

from controlplane.ca import issuer
from meshapi import xds
from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, ask, is_injected
from tests.support.objects import container, deployment, pod, service


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


def claims(mesh: Mesh) -> dict[str, dict[str, str]]:
    """What `check` says, by claim."""
    return {c["claim"]: c for c in json.loads(mesh.tulle("check", "-o", "json", check=False).stdout)["checks"]}


def test_check_finds_a_pod_made_bare_while_the_webhook_failed_open(mesh: Mesh, shop: Kube) -> None:
    """A pod that asked and has nothing is named, and so is the webhook that nobody can call."""
    hooks = "mutatingwebhookconfiguration/tulle"
    before = mesh.system.get(hooks)["webhooks"]
    away = [
        {**hook, "failurePolicy": "Ignore", "clientConfig": {**hook["clientConfig"], "service": AWAY}}
        for hook in before
    ]
    mesh.system("patch", hooks, "--type=merge", "-p", json.dumps({"webhooks": away}))
    try:
        shop.until(lambda: not is_injected(made_bare(shop)), what="a webhook that fails open")
        found = claims(mesh)
    finally:
        mesh.system("patch", hooks, "--type=merge", "-p", json.dumps({"webhooks": before}))
        shop("delete", "pod", "bare", "--now", "--ignore-not-found")

    bare, trial = found["no pod that should have a sidecar is bare"], found["a pod made now is given its sidecar"]
    assert (bare["status"], trial["status"]) == ("failed", "failed")
    assert f"{shop.namespace}/bare: no sidecar, though its annotation says enabled" in bare["detail"]
    assert "bare" in trial["detail"]
    shop.until(lambda: mesh.tulle("check", check=False).returncode == 0, 30, "a mesh that is well again")


AWAY = {"name": "nobody", "namespace": "tulle-system", "path": "/inject", "port": 443}


def made_bare(shop: Kube) -> dict[str, Any]:
    """Make the pod anew."""
    shop("delete", "pod", "bare", "--now", "--ignore-not-found")
    shop.apply(pod("bare", annotations=ON))
    return shop.get("pod/bare")


def test_check_counts_the_errors_the_mesh_makes(mesh: Mesh, shop: Kube) -> None:
    """A destination without an endpoint, called during the look: the caller is named, with the word and the count."""
    shop.apply(service("nobody"))
    loop = (
        "import time,urllib.request as u\n"
        "while True:\n"
        " try: u.urlopen('http://nobody/',timeout=5).read()\n"
        " except Exception: pass\n"
        " time.sleep(0.05)\n"
    )
    shop.apply(pod("caller", annotations=ON, containers=[container(command=["python", "-c", loop])]))
    try:
        shop("wait", "--for=condition=Ready", "pod/caller", "--timeout=60s")
        found = shop.until(
            lambda: (c := claims(mesh)["no request gets an error the mesh made"])["status"] == "failed" and c,
            what="the errors",
        )
    finally:
        shop("delete", "pod/caller", "service/nobody", "--now")

    assert f"{shop.namespace}/caller: " in found["detail"]
    assert "requests no_healthy_upstream" in found["detail"]


SIGNAL = (
    "import os,sys\n"
    "wanted=sys.argv[2].encode()\n"
    "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
    " try:\n"
    "  if int(pid)!=os.getpid() and wanted in open(f'/proc/{pid}/cmdline','rb').read(): os.kill(int(pid),int(sys.argv[1]))\n"
    " except OSError: pass\n"
)
STOP, GO_ON = (str(int(signal.SIGSTOP)),), (str(int(signal.SIGCONT)),)


def test_check_names_a_control_plane_that_stands_still(mesh: Mesh, shop: Kube) -> None:
    """It neither publishes nor admits, and its port is open all the same: said soon, though every call of it hangs."""
    replica = mesh.system.get("pods", "-l", "app.kubernetes.io/name=tulle")["items"][0]["metadata"]["name"]
    stop = ("exec", replica, "--", "python", "-c", SIGNAL)
    mesh.system(*stop, *STOP, "/tulle-controlplane")
    try:
        began = time.monotonic()
        found = claims(mesh)
        took = time.monotonic() - began
    finally:
        mesh.system(*stop, *GO_ON, "/tulle-controlplane")
        mesh.system("rollout", "status", "deployment/tulle", "--timeout=60s")

    silent, trial = found["every replica of the control plane answers"], found["a pod made now is given its sidecar"]
    assert (silent["status"], replica in silent["detail"]) == ("failed", True), silent
    assert (trial["status"], "webhook hangs" in trial["detail"]) == ("failed", True), trial
    assert took <= 10
    shop.until(lambda: mesh.tulle("check", check=False).returncode == 0, 30, "a mesh that is well again")


def test_check_names_a_sidecar_that_stands_still(mesh: Mesh, shop: Kube) -> None:
    """It is connected and its pod counts as ready, yet it does nothing; said while it lasts."""
    shop.apply(pod("frozen", annotations=ON))
    shop("wait", "--for=condition=Ready", "pod/frozen", "--timeout=60s")
    try:
        shop("exec", "frozen", "-c", "tulle-proxy", "--", "python", "-c", SIGNAL, *STOP, "/tulle-proxy")
        began = time.monotonic()
        found = claims(mesh)
        took = time.monotonic() - began
    finally:
        shop("exec", "frozen", "-c", "tulle-proxy", "--", "python", "-c", SIGNAL, *GO_ON, "/tulle-proxy")
        shop("delete", "pod", "frozen", "--now", "--ignore-not-found")

    mute = found["the sidecars answer"]
    assert (mute["status"], f"{shop.namespace}/frozen: " in mute["detail"]) == ("failed", True), mute
    assert took <= 10


HOLD = (
    "import os,signal,time\n"
    "name=lambda pid: open(f'/proc/{pid}/cmdline','rb').read()\n"
    "found=[int(p) for p in os.listdir('/proc') if p.isdigit() and int(p)!=os.getpid() and b'/tulle-controlplane' in name(p)]\n"
    "print('held',flush=True)\n"
    "for _ in range(14):\n"
    " for number,seconds in ((signal.SIGSTOP,0.7),(signal.SIGCONT,0.15)):\n"
    "  for pid in found: os.kill(pid,number)\n"
    "  time.sleep(seconds)\n"
)
"""Holds whatever the program does for 0.7 s of each 0.85 s, for twelve seconds."""


def test_check_says_that_the_control_plane_s_loop_is_held(mesh: Mesh) -> None:
    """It answers all who call, each of them late."""
    replica = mesh.system.get("pods", "-l", "app.kubernetes.io/name=tulle")["items"][0]["metadata"]["name"]
    command = mesh.system.command("exec", replica, "--", "python", "-c", HOLD)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"held\n"
        began = time.monotonic()
        found = claims(mesh)["nothing holds the control plane's loop"]
        took = time.monotonic() - began

    assert (found["status"], f"{replica}: its loop was held for " in found["detail"]) == ("failed", True), found
    assert took <= 10


def test_check_says_that_the_issuer_is_over(mesh: Mesh) -> None:
    """A Secret nobody can use is not taken, and that is told; the last good issuer serves on."""
    before = mesh.system.get("secret/tulle-ca")["data"]
    over = issuer.new_root("cluster.local", now=dt.datetime.now(dt.UTC) - dt.timedelta(days=4000))
    text = "the issuer in the Secret is the one in use"
    mesh.system("patch", "secret/tulle-ca", "--type=merge", "-p", json.dumps({"data": over}))
    try:
        found = mesh.system.until(lambda: (c := claims(mesh)[text])["status"] == "failed" and c, what="the finding")
    finally:
        mesh.system("patch", "secret/tulle-ca", "--type=merge", "-p", json.dumps({"data": before}))

    assert "expired at" in found["detail"]
    mesh.system.until(lambda: claims(mesh)[text]["status"] == "ok", what="the issuer of before")


def test_check_has_two_sidecars_greet(mesh: Mesh, shop: Kube) -> None:
    """The caller's handshake with whom it calls is tried, and told."""
    assert ask(shop, "client", "http://web/")[0][0] == 200
    found = claims(mesh)["sidecars reach each other by mutual TLS"]

    assert found["status"] == "ok"
    assert "tried" in found["detail"]


def test_check_holds_while_a_workload_rolls(mesh: Mesh, shop: Kube) -> None:
    """What comes and goes is no outage."""
    shop("rollout", "restart", "deployment/web")
    said = mesh.tulle("check", check=False).stdout
    shop("rollout", "status", "deployment/web", "--timeout=60s")

    assert "✗" not in said, said


def test_check_speaks_json(mesh: Mesh) -> None:
    """The same for programs."""
    assert json.loads(mesh.tulle("check", "-o", "json").stdout)


def test_proxy_status_knows_every_sidecar(mesh: Mesh, shop: Kube) -> None:
    """Connected, versions acknowledged, and when the certificate ends."""
    proxies = mesh.proxies()
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
