"""What happens in the table's rows, each as a function of the world. An event asserts what its row says, beside what is asserted of the load."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import time
from typing import Any

from controlplane.ca.issuer import new_root
from tests.chaos.losses import read
from tests.chaos.world import PARTY, SHOP, World, repeat
from tests.support.cluster import ROOT, Kube, KubectlError
from tests.support.mesh import ON, ask

SCHEMA = json.loads((ROOT / "charts" / "tulle" / "values.schema.json").read_text())
CONTROL_PLANE = "app.kubernetes.io/name=tulle"


def roll_each(world: World) -> None:
    """Restart one workload after the other."""
    world.roll(world.shop, *world.some(SHOP, ("catalog", "cart")))
    world.roll(world.party, *world.some(PARTY, ("echo",)))


def roll_control_plane(world: World) -> None:
    """Restart it as an upgrade does."""
    world.roll(world.system, "tulle")


def kill_control_plane(world: World) -> None:
    """End its process by SIGKILL, and delete a pod of it by force."""
    (pod,) = world.ready(world.system, "tulle")
    world.kill(world.system, pod, "controlplane", "tulle-controlplane")
    world.system("delete", "pod", "-l", CONTROL_PLANE, "--grace-period=0", "--force")
    world.rolled(world.system, "tulle")


def away_while_pods_roll(world: World) -> None:
    """Two minutes without one, in which workloads are to roll and cannot."""
    world.scale(world.system, "tulle", 0)
    before = set(world.ready(world.party, "echo"))
    world.party("rollout", "restart", "deployment/echo")
    world.sleep(120, 8)
    assert set(world.pods(world.party, "echo")) == before, "new pods wait, and what runs stays"
    assert "tulle" in world.party("get", "events", "--field-selector=reason=FailedCreate"), "the refusal is told"
    world.scale(world.system, "tulle", 1)
    world.rolled(world.party, "echo")
    assert set(world.ready(world.party, "echo")) <= set(world.injected(world.party)), "nobody is bare"


def scale_control_plane(world: World) -> None:
    """One, three, one."""
    world.scale(world.system, "tulle", 3)
    world.sleep(20, 5)
    world.scale(world.system, "tulle", 1)
    world.system.until(world.leader, 40, "a leader")


def kill_leader(world: World) -> None:
    """Three replicas, and the one that writes ends by SIGKILL."""
    world.scale(world.system, "tulle", 3)
    world.system.until(world.leader, 40, "a leader")
    first = world.leader()
    world.kill(world.system, first, "controlplane", "tulle-controlplane")
    world.system("delete", "pod", first, "--grace-period=0", "--force")
    world.system.until(lambda: world.leader() not in {"", first}, 60, "another leader")
    world.scale(world.system, "tulle", 1)


def stop_api(world: World) -> None:
    """A minute without the API server; a change made afterwards must be followed."""
    try:
        world.cluster.stop_api()
        world.sleep(60, 10)
    finally:
        world.cluster.start_api()
    world.roll(world.party, "solo")


def scale_service(world: World) -> None:
    """One, six, one (three in the short form)."""
    world.scale(world.party, "solo", 6 if world.full else 3)
    world.sleep(10, 2)
    world.scale(world.party, "solo", 1)


def recreate_service(world: World) -> None:
    """Delete a Service in use and make it again; it gets another address."""
    former = world.party.get("service", "other")
    world.party("delete", "service", "other")
    world.sleep(10, 3)
    spec = {key: former["spec"][key] for key in ("selector", "ports")}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"}, "spec": spec}
    world.party.apply(made)
    world.party.until(lambda: _answers(world, "http://other:8080/"), 20, "an answer of the new Service")


def kill_endpoint_while_away(world: World) -> None:
    """One of two servers goes for good while nobody can tell their callers."""
    world.scale(world.system, "tulle", 0)
    gone = world.ready(world.party, "echo")[0]
    world.party("delete", "pod", gone, "--grace-period=1")
    world.party("wait", "--for=delete", f"pod/{gone}", "--timeout=30s")
    world.served()
    world.sleep(30, 4)
    assert len(world.ready(world.party, "echo")) == 1
    world.scale(world.system, "tulle", 1)
    world.rolled(world.party, "echo")


def roll_what_is_idle(world: World) -> None:
    """The caller's sidecar has let a destination go when its pod is another; it is called every eleven seconds."""
    asked = ("routes", "pod/caller", "-n", "party", "-o", "json")

    def let_go() -> bool:
        said = world.mesh.tulle(*asked, check=False)
        return said.returncode == 0 and '"quiet.party:8080"' not in said.stdout

    world.party.until(let_go, 20, "the end of an idle destination")
    world.roll(world.party, "quiet")
    world.served(("quiet",), each=2)


def end_a_grpc_client(world: World) -> None:
    """A pod that calls by gRPC while it ends, until its app has ended."""
    volume = {"name": "party", "configMap": {"name": "party"}}
    app = {
        "name": "app",
        "image": "python:3.12-slim",
        "command": ["python", "/party/party.py", "linger"],
        "volumeMounts": [{"name": "party", "mountPath": "/party"}],
    }
    metadata = {"name": "lingerer", "annotations": ON}
    spec = {"containers": [app], "volumes": [volume], "terminationGracePeriodSeconds": 30}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    world.party.until(lambda: _admitted(world, made), 60, "the admission of a pod")
    world.party("wait", "--for=condition=Ready", "pod/lingerer", "--timeout=60s")
    world.party.until(lambda: "ready" in world.party("logs", "lingerer", "-c", "app"), 30, "its first call")
    command = world.party.command("logs", "-f", "lingerer", "-c", "app")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        world.party("delete", "pod", "lingerer", "--wait=false")
        said, _ = following.communicate(timeout=60)
    done, failures = read(said.splitlines())
    assert failures == [], failures
    assert done["ending"] > 20, done


def _admitted(world: World, made: dict[str, Any]) -> bool:
    """Create it; no while there is no control plane to ask, which is what `Fail` is for and what a controller would try anew."""
    try:
        world.party.apply(made)
    except KubectlError as error:
        if "failed calling webhook" not in str(error):
            raise
        return False
    return True


def change_app_protocol(world: World) -> None:
    """The ports of a Service in use are declared otherwise, again and again."""
    for http, tcp in (("tcp", "tcp"), ("http", None), (None, "tcp"), ("http", "tcp")):
        ports = [("http", http), ("tcp", tcp)]
        for name, protocol in ports:
            value = {"op": "add", "path": f"/spec/ports/{_index(world, name)}/appProtocol", "value": protocol}
            world.party("patch", "service", "echo", "--type=json", "-p", json.dumps([value]))
        world.sleep(8, 2)
        assert _answers(world, "http://echo:8080/")
    time.sleep(8.0)  # connections that were opened as opaque ones come to their end


def _index(world: World, name: str) -> int:
    return next(i for i, port in enumerate(world.party.get("service", "echo")["spec"]["ports"]) if port["name"] == name)


def flip(world: World) -> None:
    """Routes and modes change each second."""
    rule = {"backendRefs": [{"name": "echo", "port": 8080}]}
    heard = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-way", "value": "b"}]}}
    split = {"backendRefs": [{"name": "echo", "port": 8080, "weight": w} for w in (1, 3)], "filters": [heard]}
    routes = [_route([rule]), _route([split]), _route([rule | {"timeouts": {"request": "5s"}}])]
    modes = [_mode("STRICT"), _mode("PERMISSIVE")]
    steps = [lambda o=(routes[i % 3], modes[i % 2]): world.party.apply(*o) for i in range(6)]
    repeat(world.long(60, 10), *steps)
    conditions = world.party.get("httproute", "party")["status"]["parents"][0]["conditions"]
    assert all(c["status"] == "True" for c in conditions), conditions
    world.party("delete", "httproute", "party")
    world.party("delete", "peerauthentications.tulle.dev", "party")


def _route(rules: list[dict[str, object]]) -> dict[str, object]:
    parent = {"group": "", "kind": "Service", "name": "echo", "port": 8080}
    spec = {"parentRefs": [parent], "rules": rules}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "party"},
        "spec": spec,
    }


def _mode(word: str) -> dict[str, object]:
    return {
        "apiVersion": "tulle.dev/v1alpha1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "party"},
        "spec": {"mtls": {"mode": word}},
    }


def reinstall(world: World) -> None:
    """Take the mesh out under load and install it again: it finds the authority that the sidecars trust."""
    world.mesh.tulle("uninstall")
    world.sleep(20, 3)
    world.mesh.tulle("install", "--wait")
    world.roll(world.party, "solo")


def kill_sidecar(world: World) -> None:
    """SIGKILL under load."""
    world.kill(world.party, world.random.choice(world.ready(world.party, "echo")), "tulle-proxy", "tulle-proxy")


def kill_app(world: World) -> None:
    """SIGKILL under load."""
    world.kill(world.party, world.random.choice(world.ready(world.party, "echo")), "app", "party.py serve")


def delete_by_force(world: World) -> None:
    """The object goes at once; the kubelet stops the pod as the pod asks."""
    gone = world.random.choice(world.ready(world.party, "echo"))
    world.party("delete", "pod", gone, "--grace-period=0", "--force")
    ready = lambda: set(world.ready(world.party, "echo"))  # noqa: E731
    world.party.until(lambda: gone not in (found := ready()) and len(found) == 2, 90, "its successor")


def shortest_lives(world: World) -> None:
    """Certificates of the shortest life the chart takes, renewed under the connections made with them."""
    shortest = SCHEMA["properties"]["ca"]["properties"]["certificateSeconds"]["minimum"]
    world.mesh.tulle("install", "--wait", "--set", f"ca.certificateSeconds={shortest}")
    try:
        world.roll(world.party, "echo")
        pods = world.ready(world.party, "echo")
        first = _ends(world, pods)
        world.sleep(2.5 * shortest, 1.2 * shortest)
        assert all(first[pod] < dt.datetime.now(dt.UTC) < ends for pod, ends in _ends(world, pods).items())
    finally:
        world.mesh.tulle("install", "--wait", "--set", "ca.certificateSeconds=86400")
    world.roll(world.party, "echo")


def _ends(world: World, pods: list[str]) -> dict[str, dt.datetime]:
    proxies = world.mesh.proxies("party")
    return {p["pod"]: dt.datetime.fromisoformat(p["certificate_expires_at"]) for p in proxies if p["pod"] in pods}


def exchange_issuer(world: World) -> None:
    """Replace it in the Secret and look on: the change goes by stages until the new root signs; old and new certificates believe each other."""
    new = new_root("cluster.local", now=dt.datetime.now(dt.UTC))
    data = {key: new[key] for key in ("tls.crt", "tls.key", "ca.crt")}
    world.system("patch", "secret", "tulle-ca", "--type=merge", "-p", json.dumps({"data": data}))
    world.system.until(lambda: world.root_change() not in {"steady", ""}, 30, "the begin of the change")
    world.system.until(lambda: world.root_change() in {"outlive", "drop", "steady"}, 90, "the new root's signature")
    world.roll(world.party, "echo")
    assert _answers(world, "http://echo:8080/")


def reuse_addresses(world: World) -> None:
    """An address of one workload goes to another at once, and back."""
    world.cluster.reuse_addresses(at_once=True)
    try:
        for _ in range(2 if world.full else 1):
            before = _addresses(world.party, "echo")
            world.scale(world.party, "echo", 1)
            for replicas in (2, 3):  # the first may get the address of whoever else ended meanwhile
                world.scale(world.party, "solo", replicas)
                if before & _others(world, "echo"):
                    break
            world.scale(world.party, "echo", 2)
            assert before & _others(world, "echo"), "another workload got an address that was echo's"
            world.scale(world.party, "solo", 1)
            world.roll(world.party, "quiet")
    finally:
        world.cluster.reuse_addresses(at_once=False)


def _others(world: World, name: str) -> set[str]:
    """The addresses of pods that are of another workload."""
    pods = world.party.get("pods", "-A")["items"]
    return {p["status"].get("podIP", "") for p in pods if p["metadata"].get("labels", {}).get("app") != name}


def _addresses(kube: Kube, name: str) -> set[str]:
    return {p["status"]["podIP"] for p in kube.get("pods", "-l", f"app={name}")["items"]}


def _answers(world: World, url: str) -> bool:
    return ask(world.party, "caller", url)[0][0] == 200
