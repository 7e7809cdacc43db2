"""The tools tell the truth: in each planted outage `tulle check` fails within ten seconds, names who and says why; with nothing wrong it holds.

Outages are real: packets that are lost, a webhook that fails open, a program that refuses what it is sent, a certificate that ends. That a control plane or a sidecar stands
still is planted in tests/mesh/test_mesh_command_line.py.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from controlplane.ca.issuer import ROOT_YEARS, new_root
from meshapi import names
from tests.chaos.world import BROKEN, World
from tests.support.cluster import Kube
from tests.support.mesh import ON, is_injected
from tests.support.objects import Object, container, pod

pytestmark = pytest.mark.timeout(180)
WITHIN = 10.0
"""Seconds `tulle check` has to tell of an outage."""
API_PORT = 6443
SOON = "what changes is acknowledged by every sidecar in time"
HOLDS = "every sidecar holds the destinations the cluster has"
TRUSTS = "every sidecar trusts what the control plane trusts"
CONNECTED = "every sidecar is connected"
JUDGED = "every route and policy is judged as it was last written"
FOLLOWS = "the control plane follows the cluster's endpoints"


def told(world: World) -> dict[str, str]:
    """What `tulle check` says does not hold, and why; asserts that it says so soon, and by its exit code."""
    began = time.monotonic()
    done = world.mesh.tulle("check", "-o", "json", check=False)
    took = time.monotonic() - began
    found = {c["claim"]: c["detail"] for c in json.loads(done.stdout)["checks"] if c["status"] == "failed"}

    assert took <= WITHIN, f"{took:.1f} s"
    assert bool(done.returncode) == bool(found)
    return found


@pytest.fixture(autouse=True)
def mended(world: World) -> Iterator[None]:
    """End with a mesh that is well."""
    yield
    world.cluster.mend()
    world.settled()


@pytest.fixture
def plane(world: World) -> str:
    """The control plane's address."""
    return address(world.system, world.ready(world.system, "tulle")[0])


def address(kube: Kube, name: str) -> str:
    found: str = kube.get("pod", name)["status"]["podIP"]
    return found


def test_nothing_is_said_where_nothing_is_wrong(world: World) -> None:
    """Under load, and while a workload rolls."""
    world.party.until(lambda: told(world) == {}, 70, "a last minute without errors")
    rolling = threading.Thread(target=world.roll, args=(world.party, "echo"))
    rolling.start()
    found = told(world)
    rolling.join()

    assert found == {}


def test_sidecar_that_is_cut_off_has_frozen_destinations_and_a_stale_bundle(world: World) -> None:
    """Its traffic goes on by what it knew, so that nobody would notice."""
    # Heard of just now, it counts as connected for half a minute; else that may be over before `tulle check` has looked twice.
    world.scale(world.party, "solo", 2)
    world.cluster.cut(address(world.party, "caller"), names.XDS_PORT)
    new = new_root("cluster.local", now=dt.datetime.now(dt.UTC))
    patch_secret(world, {"roots": new["ca.crt"]})
    world.scale(world.party, "solo", 3)
    root = base64.b64decode(new["ca.crt"]).decode().strip()
    world.system.until(lambda: root in roots(world), 20, "the new root in tulle-trust")
    try:
        found = told(world)
    finally:
        world.scale(world.party, "solo", 1)

    assert "party/caller: party/other:8080 lacks " in found[HOLDS]
    assert "party/caller has a stale bundle" in found[TRUSTS]
    assert "party/caller: a change has waited for " in found[SOON]
    world.cluster.mend()
    # Its old stream looks alive to both ends for a while, and is then made anew: the next test would meet that.
    world.party.until(
        lambda: not {HOLDS, TRUSTS, CONNECTED, SOON} & told(world).keys(), 60, "a sidecar that follows again"
    )


def test_control_plane_that_lags_lets_destinations_vanish_and_the_bundle_go_stale(world: World, plane: str) -> None:
    """It answers, admits and serves; it only does not hear of anything any more."""
    before = world.system.get("configmap", "tulle-trust")["data"]
    world.party.apply(route("edited"))
    world.party.until(lambda: "status" in world.party.get("httproute", "edited"), 20, "the status of the route")
    world.cluster.cut(plane, API_PORT)
    world.party.apply(fresh(), route("edited", timeouts={"request": "5s"}))
    world.party("patch", "configmap", "tulle-trust", "-n", "tulle-system", "-p", json.dumps({"data": spoilt(before)}))
    command = world.party.command("exec", "caller", "-c", "app", "--", "python", "-c", ASK_ON)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"200\n"
        try:
            found = told(world)
        finally:
            asking.kill()
            said = asking.stdout.read().split()
            world.cluster.mend()
            world.party("delete", "service/fresh", "httproute/edited")

    assert world.ready(world.system, "tulle")[0] in found[FOLLOWS]
    assert "party/fresh is unknown" in found[FOLLOWS]
    assert HOLDS in found, (said, found)
    assert "party/caller: party/fresh:8080 has vanished for it" in found[HOLDS]
    assert "route party/edited: generation 2 is not judged, 1 is" in found[JUDGED]
    assert "is stale" in found["the bundle remembers every root that is trusted"]
    world.system.until(lambda: roots(world).strip() != spoilt(before)["roots"].strip(), 60, "the bundle of before")


ASK_ON = (
    "import time,urllib.request as u\n"
    "for _ in range(60):\n"
    "  try: print(u.urlopen('http://fresh:8080/').status,flush=True)\n"
    "  except OSError as error: print(repr(error),flush=True)\n"
    "  time.sleep(0.5)\n"
)
"""Passes through, and keeps the destination in use for half a minute, also where a call fails."""


def fresh() -> Object:
    ports = [{"name": "http", "port": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "fresh"},
        "spec": {"selector": {"app": "echo"}, "ports": ports},
    }


def spoilt(data: dict[str, str]) -> dict[str, str]:
    """A bundle that has another root only."""
    other = new_root("cluster.local", now=dt.datetime.now(dt.UTC))
    return {**data, "roots": SPOILT.setdefault("roots", base64.b64decode(other["ca.crt"]).decode())}


SPOILT: dict[str, str] = {}


def test_webhook_that_cannot_be_called_and_the_pods_it_left_bare(world: World, plane: str) -> None:
    """Its policy was turned to Ignore, so that pods start without their sidecar."""
    world.cluster.cut(plane, names.WEBHOOK_PORT)
    hooks = world.system.get("mutatingwebhookconfiguration", "tulle")["webhooks"]
    open_ = [{**hook, "failurePolicy": "Ignore", "timeoutSeconds": 1} for hook in hooks]
    patch_hooks(world, open_)
    world.party.apply(pod("bare", annotations=ON))
    assert not is_injected(world.party.get("pod", "bare"))
    patch_hooks(world, hooks)
    try:
        found = told(world)
    finally:
        world.party("delete", "pod", "bare", "--now")

    assert "webhook" in found["a pod made now is given its sidecar"]
    assert found["no pod that should have a sidecar is bare"] == (
        "party/bare: no sidecar, though its annotation says enabled"
    )


def patch_hooks(world: World, hooks: list[Object]) -> None:
    change = json.dumps({"webhooks": hooks})
    world.system("patch", "mutatingwebhookconfiguration", "tulle", "--type=merge", "-p", change)


def test_sidecar_that_refuses_its_configuration(world: World) -> None:
    """A build that reads less than it is sent: it keeps the last good form and says what it refused."""
    loop = "import time,urllib.request as u\nwhile True:\n try: u.urlopen('http://echo:8080/').read()\n except OSError: pass\n time.sleep(1)\n"
    annotations = ON | {names.PROXY_IMAGE: BROKEN}
    world.party.apply(pod("refuser", annotations=annotations, containers=[container(command=["python", "-c", loop])]))
    world.party("wait", "--for=condition=Ready", "pod/refuser", "--timeout=60s")
    try:
        world.party.until(lambda: "refuser" in refusing(world), 20, "its refusal")
        found = told(world)
    finally:
        world.party("delete", "pod", "refuser", "--now")

    assert "party/refuser refused " in found["every sidecar takes its configuration"]
    assert "this build does not read it" in found["every sidecar takes its configuration"]


def refusing(world: World) -> set[str]:
    """Pods whose sidecars refused something, as the control plane knows it."""
    proxies = world.mesh.proxies()
    return {p["pod"] for p in proxies if any(one.get("nacked_reason") for one in p["resources"].values())}


def test_leader_that_may_not_write(world: World) -> None:
    """A role lost a right: what is wanted is told with the API server's own words."""
    role = world.system.get("clusterrole", "tulle")
    fewer = [
        {**rule, "resources": [r for r in rule["resources"] if r != "httproutes/status"]} for rule in role["rules"]
    ]
    change = json.dumps({"rules": [rule for rule in fewer if rule["resources"]]})
    world.system("patch", "clusterrole", "tulle", "--type=merge", "-p", change)
    world.party.apply(route("refused"))
    try:
        found = told(world)
    finally:
        world.system("patch", "clusterrole", "tulle", "--type=merge", "-p", json.dumps({"rules": role["rules"]}))

    assert "status HTTPRoute party refused for " in found["the control plane writes what it wants to"]
    assert "httproutes" in found["the control plane writes what it wants to"]
    assert "route party/refused: generation 1 is not judged" in found[JUDGED]
    world.party.until(lambda: "status" in world.party.get("httproute", "refused"), 60, "the status of the route")
    world.party("delete", "httproute", "refused")


def route(name: str, **more: Object) -> Object:
    parent = {"group": "", "kind": "Service", "name": "quiet", "port": 8080}
    rules = [{"backendRefs": [{"name": "quiet", "port": 8080}], **more}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [parent], "rules": rules},
    }


def test_issuer_that_has_ended(world: World) -> None:
    """It was good when it was taken; from then on nobody gets a certificate."""
    before = world.system.get("secret", "tulle-ca")["data"]
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=12)
    life = dt.timedelta(days=365 * ROOT_YEARS)
    hurry(world, new_root("cluster.local", now=ends - life))
    try:
        time.sleep(max(0.0, (ends - dt.datetime.now(dt.UTC)).total_seconds()) + 1)
        found = told(world)
    finally:
        hurry(world, before)

    assert "it expired " in found["the issuer is valid, and for a while"]
    assert world.ready(world.system, "tulle")[0] in found["the issuer is valid, and for a while"]
    world.system.until(lambda: told(world) == {}, 60, "a mesh that is well again")


def hurry(world: World, data: dict[str, str]) -> None:
    """Exchange the issuer without stages, as docs/operations.md has it for one that is to be revoked."""
    patch_secret(world, data)
    world.system("delete", "secret", "tulle-signing", "--ignore-not-found")


def patch_secret(world: World, data: dict[str, str]) -> None:
    world.system("patch", "secret", "tulle-ca", "--type=merge", "-p", json.dumps({"data": data}))


def roots(world: World) -> str:
    found: str = world.system.get("configmap", "tulle-trust")["data"]["roots"]
    return found
