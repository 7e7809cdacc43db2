"""The commands against an API server that says what it is told: what they ask, what they tell, how they fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from meshapi import names
from tests.support.fakeapi import FakeApi, fake_api
from tulle.cli import cli

Object = dict[str, Any]
ASKED = "/api/v1/namespaces/tulle-system/pods/a/portforward:15014/sidecars/shop/web-1"
"""Where a replica asks a sidecar."""
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """An API server of the test's own."""
    with fake_api(tmp_path) as fake:
        yield fake


def run(api: FakeApi, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["--kubeconfig", str(api.kubeconfig), *arguments], input=stdin)


def pod(name: str, *, namespace: str = "shop", injected: bool = True) -> Object:
    annotations = {names.STATUS: "{}"} if injected else {}
    return {"metadata": {"name": name, "namespace": namespace, "annotations": annotations}, "status": READY}


def proxy(name: str, since: str, **more: Any) -> Object:
    synced = {"t.Listener": {"sent": "1", "acked": "1", "nacked_reason": ""}}
    return {
        "pod": name,
        "namespace": "shop",
        "identity": f"spiffe://cluster.local/ns/shop/sa/{name}",
        "connected_since": since,
        "version": "0.1.0",
        "certificate_expires_at": "2999-01-01T00:00:00Z",
        "resources": synced,
    } | more


@pytest.fixture
def replicas(api: FakeApi) -> FakeApi:
    """Two replicas of the control plane; both remember `web`, which moved from the first to the second."""
    system = "/api/v1/namespaces/tulle-system/pods"
    api.answers[system] = {"items": [pod("a", namespace="tulle-system"), pod("b", namespace="tulle-system")]}
    api.answers[f"{system}/a:15014/proxy/proxies"] = {
        "proxies": [proxy("web", "2026-01-01T00:00:00Z"), proxy("cart", "2026-01-01T00:00:00Z")]
    }
    refused = {"t.Listener": {"sent": "2", "acked": "1", "nacked_reason": "no such filter"}}
    api.answers[f"{system}/b:15014/proxy/proxies"] = {
        "proxies": [proxy("web", "2026-01-02T00:00:00Z", resources=refused)]
    }
    return api


def test_proxy_status_merges_the_replicas(replicas: FakeApi) -> None:
    """Each sidecar once, from the replica it is connected to now."""
    found = json.loads(run(replicas, "proxy-status", "-o", "json").stdout)["proxies"]

    assert [(p["pod"], p["control_plane"]) for p in found] == [("cart", "a"), ("web", "b")]


def test_proxy_status_tells_what_was_refused(replicas: FakeApi) -> None:
    """A NACK is seen in the table with its reason."""
    said = run(replicas, "proxy-status").stdout

    assert "in sync" in said
    assert "REFUSED Listener: no such filter" in said


def test_proxy_status_counts_the_fields_that_were_passed_over(replicas: FakeApi) -> None:
    """A dash for none, and for a control plane that does not say."""
    system = "/api/v1/namespaces/tulle-system/pods"
    replicas.answers[f"{system}/b:15014/proxy/proxies"] = {
        "proxies": [proxy("web", "2026-01-02T00:00:00Z", passed_over=["a.B.c", "a.B.d"])]
    }
    lines = {line.split()[1]: line for line in run(replicas, "proxy-status").stdout.splitlines()}

    assert " 2 fields " in lines["web"]
    assert " - " in lines["cart"]


def test_proxy_status_lists_sidecars_that_no_replica_knows_with_what_they_say(replicas: FakeApi) -> None:
    """One that does not trust the control plane cannot tell it so."""
    gone = pod("gone") | {"status": {"phase": "Succeeded"}}
    strays = [pod(name) | {"status": READY | {"phase": "Running"}} for name in ("web", "lost", "late", "mute")]
    replicas.answers["/api/v1/pods"] = {"items": [*strays, gone]}
    base = "/api/v1/namespaces/shop/pods"
    replicas.answers[f"{base}/lost:15020/proxy/metrics"] = b"tulle_control_plane_untrusted 1\n"
    replicas.answers[f"{base}/late:15020/proxy/metrics"] = b"tulle_control_plane_untrusted 0\n"
    line = names.NOT_CONNECTED.encode()
    replicas.answers[f"{base}/late/log"] = (
        b"t WARNING " + line + b"before\nt WARNING " + line + b"it is refused\nt INFO x\n"
    )
    lines = {line.split()[1]: line for line in run(replicas, "proxy-status").stdout.splitlines()}

    assert set(lines) == {"POD", "cart", "web", "lost", "late", "mute"}
    assert "DOES NOT TRUST the control plane's root: make the pod anew" in lines["lost"]
    assert "not connected: it is refused" in lines["late"]
    assert "did not answer" in lines["mute"]


def test_proxy_status_without_a_control_plane_is_one_sentence(api: FakeApi) -> None:
    """Nothing to ask is no traceback."""
    api.answers["/api/v1/namespaces/tulle-system/pods"] = {"items": []}
    done = run(api, "proxy-status")

    assert done.exit_code == 1
    assert done.stderr == (
        "✗ no replica of the control plane is ready in namespace tulle-system; `tulle check` says more\n"
    )


@pytest.fixture
def shop(api: FakeApi) -> FakeApi:
    """A Deployment with one pod in the mesh, and a Service."""
    base = "/apis/apps/v1/namespaces/shop/deployments"
    api.answers[f"{base}/web"] = {"spec": {"selector": {"matchLabels": {"app": "web"}}}}
    api.answers["/api/v1/namespaces/shop/pods"] = {"items": [pod("old", injected=False), pod("web-1")]}
    api.answers["/api/v1/namespaces/shop/services/reviews"] = {"spec": {"clusterIP": "10.0.0.9"}}
    api.answers["/api/v1/namespaces/tulle-system/pods"] = {"items": [pod("a", namespace="tulle-system")]}
    api.answers[f"{ASKED}/route"] = {
        "route": "HTTPRoute/shop/told",
        "clusters": [{"name": "shop/v2:80", "weight": 1}],
        "empty": None,
    }
    return api


def test_routes_asks_the_sidecar_as_the_app_would(shop: FakeApi) -> None:
    """The Service's address is looked up, everything else is passed on as given."""
    done = run(
        shop,
        *("routes", "deploy/web", "-n", "shop", "--host", "reviews:8080", "--path", "/r", "--method", "post"),
        *("--header", "x-v: 2", "--header", "a:b"),
    )

    assert done.exit_code == 0, done.stderr
    assert "told" in done.stdout
    assert "shop/v2:80" in done.stdout
    assert shop.asked[-1][2] == {
        "host": ["reviews:8080"],
        "path": ["/r"],
        "method": ["POST"],
        "header": ["x-v: 2", "a:b"],
        "address": ["10.0.0.9:8080"],
    }


def test_routes_asks_the_replica_that_has_the_sidecar(shop: FakeApi) -> None:
    """Another one sends on; where none has it, or the sidecar is too old to be asked, there is one sentence."""
    system = "/api/v1/namespaces/tulle-system/pods"
    shop.answers[system]["items"].insert(0, pod("b", namespace="tulle-system"))
    shop.answers[f"{system}/b/portforward:15014/sidecars/shop/web-1/route"] = (421, b"not here")
    here = run(shop, "routes", "deploy/web", "-n", "shop", "--host", "reviews:8080")
    shop.answers[f"{ASKED}/route"] = (421, b"not here")
    nowhere = run(shop, "routes", "deploy/web", "-n", "shop", "--host", "reviews:8080")
    shop.answers[f"{ASKED}/route"] = (501, b"it is of release 0.1, which cannot be asked")
    old = run(shop, "routes", "deploy/web", "-n", "shop", "--host", "reviews:8080")

    assert here.exit_code == 0
    assert "connected to no ready replica of the control plane" in nowhere.stderr
    assert "it is of release 0.1, which cannot be asked" in old.stderr


def test_routes_without_a_host_lists_what_the_sidecar_knows(shop: FakeApi) -> None:
    """Destinations, matches and shares, in words."""
    match = {
        "prefix": "/",
        "separated_prefix": "/two",
        "method": {"exact": "GET"},
        "headers": [["x-v", {"regex": "1|2"}]],
    }
    targets = [{"cluster": "shop/v1:80", "weight": 90}, {"cluster": "shop/v2:80", "weight": 10}]
    facts = [["kind", "service"], ["service", "web"], ["namespace", "shop"], ["port", 80], ["protocol", "http"]]
    shop.answers[f"{ASKED}/config"] = {
        "listeners": {
            "in": {"inbound": True, "metadata": [], "chains": []},
            "out": {"inbound": False, "metadata": facts, "chains": [{"filter": {"route_name": "r"}}]},
        },
        "routes": {
            "r": {
                "hosts": [
                    {
                        "routes": [
                            {"match": match, "name": "HTTPRoute/shop/split#0", "action": {"targets": targets}},
                            {"match": {"prefix": "/"}, "name": "", "action": {"status": 503}},
                        ]
                    }
                ]
            }
        },
    }
    rows = run(shop, "routes", "deploy/web").stdout.splitlines()

    assert rows[1].split(maxsplit=2)[:2] == ["web.shop:80", "http"]
    assert "/two/* GET x-v=~1|2   HTTPRoute/shop/split#0   shop/v1:80 90%, shop/v2:80 10%" in rows[1]
    assert rows[2].split() == ["web.shop:80", "http", "everything", "-", "answered", "503"]


@pytest.mark.parametrize(
    ("workload", "host", "sentence"),
    [
        ("deploy/nobody", "reviews", "there is no deployment nobody in namespace shop"),
        ("pod/nobody", "reviews", "there is no pod nobody in namespace shop"),
        ("service/web", "reviews", "service/web names no workload"),
        ("deploy/web", "missing:80", "there is no Service missing in namespace shop"),
        ("deploy/web", "a:b:c:http", "is not of the form NAME[:PORT]"),
        ("deploy/web", "web:http", "is not of the form NAME[:PORT]"),
    ],
)
def test_routes_says_in_one_sentence_what_is_not_there(shop: FakeApi, workload: str, host: str, sentence: str) -> None:
    """A mistake costs one line."""
    done = run(shop, "routes", workload, "-n", "shop", "--host", host)

    assert done.exit_code == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_routes_of_a_workload_outside_the_mesh_says_so(shop: FakeApi) -> None:
    """No sidecar, nothing to ask."""
    shop.answers["/api/v1/namespaces/shop/pods"] = {"items": [pod("old", injected=False)]}

    assert "is not in the mesh" in run(shop, "routes", "deploy/web", "--host", "reviews").stderr


def test_version_tells_both(api: FakeApi) -> None:
    """Client and control plane."""
    path = "/apis/apps/v1/namespaces/tulle-system/deployments/tulle"
    api.answers[path] = {"metadata": {"labels": {"app.kubernetes.io/version": "0.0.9"}}}

    assert json.loads(run(api, "version", "-o", "json").stdout) == {"client": "0.1.0", "control_plane": "0.0.9"}


def test_check_before_installing_says_what_to_do(api: FakeApi) -> None:
    """An empty cluster is fine, and the next command is named."""
    api.answers["/version"] = {"gitVersion": "v1.33.1"}
    api.answers["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] = {"status": {"allowed": True}}
    done = run(api, "check")

    assert done.exit_code == 0
    assert "✓ Kubernetes is 1.29 or newer (v1.33.1)" in done.stdout
    assert "‼ the Gateway API's kinds are defined" in done.stdout
    assert "tulle install --wait" in done.stdout
    assert "✗" not in done.stdout


def test_check_fails_on_an_old_cluster(api: FakeApi) -> None:
    """A claim that does not hold is an exit code, too."""
    api.answers["/version"] = {"gitVersion": "v1.28.9"}
    api.answers["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] = {"status": {"allowed": False}}
    done = run(api, "check", "-o", "json")
    told = json.loads(done.stdout)

    assert (done.exit_code, told["ok"]) == (1, False)
    assert [c["claim"] for c in told["checks"] if c["status"] == "failed"] == ["Kubernetes is 1.29 or newer"]


def test_check_proves_the_mesh_by_two_looks_and_a_trial(replicas: FakeApi) -> None:
    """Everybody is asked, a pod is made as a dry run, and what was found is told with names; one replica's silence is looked at."""
    system = "/api/v1/namespaces/tulle-system/pods"
    replicas.answers["/version"] = {"gitVersion": "v1.33.1"}
    replicas.answers["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] = {"status": {"allowed": True}}
    replicas.answers["/apis/apps/v1/namespaces/tulle-system/deployments/tulle"] = {"spec": {"replicas": 2}}
    replicas.answers["/api/v1/pods"] = {"items": [pod("web"), pod("cart"), pod("alone")]}
    replicas.answers[f"{system}/b:15014/proxy/snapshot"] = {"services": {}}
    replicas.answers["/api/v1/namespaces/shop/pods"] = {"metadata": {}, "spec": {"containers": [{"name": "app"}]}}
    done = run(replicas, "check", "--look", "0", "-o", "json")
    told = {c["claim"]: (c["status"], c["detail"]) for c in json.loads(done.stdout)["checks"]}

    assert done.exit_code == 1
    assert told["every sidecar takes its configuration"] == ("failed", "shop/web refused no such filter")
    assert "shop/alone is not connected" in told["every sidecar is connected"][1]
    assert told["a pod made now is given its sidecar"][0] == "failed"
    assert told["every replica of the control plane answers"][0] == "warning"
    assert told["the sidecars answer"][0] == "failed"
    assert ("POST", "/api/v1/namespaces/shop/pods", {"dryRun": ["All"]}) in replicas.asked


@pytest.mark.parametrize(("kind", "version"), [("httproutes", "v1"), ("grpcroutes", "v1"), ("tcproutes", "v1alpha2")])
def test_check_looks_at_routes_of_every_kind(replicas: FakeApi, kind: str, version: str) -> None:
    """At the version the cluster serves; a route that is not in force is told of, whatever it routes."""
    group = "gateway.networking.k8s.io"
    versions = [{"name": "v1alpha1", "served": False}, {"name": version, "served": True, "storage": True}]
    crd = {"spec": {"group": group, "names": {"plural": kind}, "versions": versions}, "metadata": {"name": kind}}
    refused = {"type": "Accepted", "status": "False", "message": "There is no Service shop/typo."}
    parent = {"controllerName": names.CONTROLLER_NAME, "conditions": [refused]}
    route = {"metadata": {"name": "r", "namespace": "shop"}, "status": {"parents": [parent]}}
    replicas.answers["/version"] = {"gitVersion": "v1.33.1"}
    replicas.answers["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"] = {"status": {"allowed": True}}
    replicas.answers["/apis/apps/v1/namespaces/tulle-system/deployments/tulle"] = {"spec": {"replicas": 2}}
    replicas.answers["/apis/apiextensions.k8s.io/v1/customresourcedefinitions"] = {"items": [crd]}
    replicas.answers[f"/apis/{group}/{version}/{kind}"] = {"items": [route]}
    done = run(replicas, "check", "--look", "0", "-o", "json")
    told = {c["claim"]: (c["status"], c["detail"]) for c in json.loads(done.stdout)["checks"]}

    found = told["every route is accepted and its backends are there"]
    assert found == ("warning", "shop/r: There is no Service shop/typo.")


def manifest(kind: str, annotations: Object | None = None) -> Object:
    inner = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [{"name": "app"}]}}
    if kind == "Pod":
        return {"kind": kind, "metadata": {"name": "p", "annotations": annotations or {}}, "spec": inner["spec"]}
    return {"kind": kind, "metadata": {"name": "w", "namespace": "shop"}, "spec": {"template": inner}}


def test_inject_puts_the_sidecar_into_pods_and_templates(api: FakeApi) -> None:
    """Everything else passes through, and standard error tells what was done."""
    api.answers["/api/v1/namespaces/tulle-system/configmaps/tulle-trust"] = {"data": {"ca.crt": "ROOTS"}}
    documents = [manifest("Pod"), manifest("Deployment"), {"kind": "Service", "metadata": {"name": "s"}}]
    listed = {"kind": "List", "items": [manifest("Job")]}
    done = run(api, "inject", "-", stdin=yaml.safe_dump_all([*documents, listed]))
    out = list(yaml.safe_load_all(done.stdout))

    assert out[0]["spec"]["initContainers"][1]["name"] == names.PROXY_CONTAINER
    assert {"name": names.ENV_CA_ROOTS, "value": "ROOTS"} in out[0]["spec"]["initContainers"][1]["env"]
    assert out[0]["metadata"]["annotations"][names.INJECT] == names.ENABLED
    assert out[1]["spec"]["template"]["spec"]["initContainers"][0]["name"] == names.INIT_CONTAINER
    assert out[2] == documents[2]
    assert names.STATUS in str(out[3]["items"][0])
    assert done.stderr.splitlines() == ["✓ pod/p injected", "✓ deployment/w injected", "✓ job/w injected"]


def test_inject_leaves_out_who_said_no_and_refuses_what_is_wrong(api: FakeApi) -> None:
    """The same rules and sentences as at admission."""
    no = run(api, "inject", "--offline", "-", stdin=yaml.safe_dump(manifest("Pod", {names.INJECT: names.DISABLED})))
    bad = run(api, "inject", "--offline", "-", stdin=yaml.safe_dump(manifest("Pod", {names.PROXY_LOG_LEVEL: "x"})))
    broken = run(api, "inject", "--offline", "-", stdin="a: [")

    assert "skipped: opted out" in no.stderr
    assert names.STATUS not in no.stdout
    assert (bad.exit_code, names.PROXY_LOG_LEVEL in bad.stderr) == (1, True)
    assert (broken.exit_code, broken.stderr.count("\n")) == (1, 1)


def test_inject_takes_files_as_kubectl_does_and_writes_json(api: FakeApi, tmp_path: Path) -> None:
    """`-f` may be given often; several objects are one List, and no file at all is a matter of usage."""
    paths = [tmp_path / f"{kind}.yaml" for kind in ("Pod", "Job")]
    for path in paths:
        path.write_text(yaml.safe_dump(manifest(path.stem)))
    named = [word for path in paths for word in ("-f", str(path))]
    both = json.loads(run(api, "inject", "--offline", "-o", "json", *named).stdout)
    one = json.loads(run(api, "inject", "--offline", "-o", "json", str(paths[0])).stdout)
    none = run(api, "inject", "--offline")

    assert [item["kind"] for item in both["items"]] == ["Pod", "Job"]
    assert names.STATUS in one["metadata"]["annotations"]
    assert (none.exit_code, "standard input" in none.stderr) == (2, True)


@pytest.mark.parametrize("command", [["check"], ["proxy-status"], ["routes", "web", "--host", "x"], ["install"]])
def test_nobody_to_talk_to_is_one_sentence(tmp_path: Path, command: list[str]) -> None:
    """No kubeconfig, or one that leads nowhere."""
    missing = CliRunner().invoke(cli, ["--kubeconfig", str(tmp_path / "none"), *command])
    fake = FakeApi(tmp_path)
    fake.write_kubeconfig(1)
    nowhere = CliRunner().invoke(cli, ["--kubeconfig", str(fake.kubeconfig), *command])

    assert (missing.exit_code, nowhere.exit_code) == (1, 1)
    assert "there is no kubeconfig at" in missing.stderr
    assert "cannot be reached" in nowhere.stderr
    assert "Traceback" not in missing.output + nowhere.output
