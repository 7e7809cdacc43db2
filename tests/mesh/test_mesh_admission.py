"""Injection beside others: Pod Security, another webhook that changes pods after ours, and the rarer ways of opting in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from meshapi import names
from tests.support.certs import Authority
from tests.support.cluster import Kube, fresh_namespace
from tests.support.mesh import ON, Mesh, is_injected, pods
from tests.support.objects import container, deployment, pod, service

TIGHT = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

OTHER = (
    "import base64,http.server,json,ssl\n"
    "EXTRA={'name':'extra','image':IMAGE,'command':['sleep','1000'],'readinessProbe':{'httpGet':{'port':8080,'path':'/x'}}}\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "  def do_POST(self):\n"
    "    q=json.loads(self.rfile.read(int(self.headers['content-length'])))['request']\n"
    "    patch=[] if any(c['name']=='extra' for c in q['object']['spec']['containers']) else [{'op':'add','path':'/spec/containers/-','value':EXTRA}]\n"
    "    a={'uid':q['uid'],'allowed':True,'patchType':'JSONPatch','patch':base64.b64encode(json.dumps(patch).encode()).decode()}\n"
    "    b=json.dumps({'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','response':a}).encode()\n"
    "    self.send_response(200); self.send_header('content-type','application/json'); self.send_header('content-length',str(len(b))); self.end_headers(); self.wfile.write(b)\n"
    "s=http.server.ThreadingHTTPServer(('0.0.0.0',8443),H)\n"
    "c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('/tls/tls.crt','/tls/tls.key'); s.socket=c.wrap_socket(s.socket,server_side=True)\n"
    "s.serve_forever()\n"
)


@pytest.fixture
def other_webhook(shop: Kube) -> Iterator[None]:
    """A webhook of somebody else's that adds a container, called after ours by its name."""
    authority = Authority("other")
    certificate, key = authority.issue(dns=(f"other.{shop.namespace}.svc",))
    data = {"tls.crt": certificate, "tls.key": key}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "other"},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }
    code = OTHER.replace("IMAGE", repr(container()["image"]))
    serving = container(
        command=["python", "-c", code],
        volumeMounts=[{"name": "tls", "mountPath": "/tls"}],
        readinessProbe={"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    )
    volumes = [{"name": "tls", "secret": {"secretName": "other"}}]
    shop.apply(secret, service("other", 443, 8443), pod("other", containers=[serving], volumes=volumes))
    shop("wait", "--for=condition=Ready", "pod/other", "--timeout=60s")
    shop.apply(registration(shop.namespace, authority.roots))
    yield
    shop("delete", "mutatingwebhookconfiguration", f"zz-{shop.namespace}")


def registration(namespace: str, roots: bytes) -> dict[str, Any]:
    """The other webhook, for pods of the namespace."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"zz-{namespace}"},
        "webhooks": [
            {
                "name": "other.example.com",
                "clientConfig": {
                    "service": {"namespace": namespace, "name": "other", "path": "/"},
                    "caBundle": base64.b64encode(roots).decode(),
                },
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


@pytest.mark.usefixtures("other_webhook")
def test_container_another_webhook_adds_later_is_taken_in_too(shop: Kube) -> None:
    """Asked again, the injector adds no second sidecar, and leads the new container's probe through the first."""
    made = json.loads(shop("create", "-o", "json", "-f", "-", stdin=json.dumps(pod("twice", annotations=ON))))
    every = made["spec"]["initContainers"] + made["spec"]["containers"]
    (extra,) = [c for c in every if c["name"] == "extra"]

    assert sorted(c["name"] for c in every) == ["app", "extra", names.INIT_CONTAINER, names.PROXY_CONTAINER]
    assert extra["readinessProbe"]["httpGet"]["port"] == names.PROXY_ADMIN_PORT


def test_restricted_namespace_minds_nothing_but_the_init_container(kubeconfig: Any, mesh: Mesh) -> None:
    """What Pod Security refuses is named, and it is `tulle-init`'s capabilities and user only (docs/injection.md)."""
    tight = pod("tight", annotations=ON, containers=[container(securityContext=TIGHT)])
    tight["spec"]["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    with fresh_namespace(kubeconfig, "tight", "pod-security.kubernetes.io/enforce=restricted") as kube:
        said = kube.fails("create", "-f", "-", stdin=json.dumps(tight))
        kube("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
        kube.apply(tight)
        kube("wait", "--for=condition=Ready", "pod/tight", "--timeout=60s")

    assert "NET_ADMIN" in said
    assert said.count('container "') == said.count(f'container "{names.INIT_CONTAINER}"')
    assert "Traceback" not in mesh.control_plane_log()


def test_cron_job_is_taken_in_through_its_jobs(shop: Kube) -> None:
    """The annotation of a CronJob reaches the pods of the Jobs made from it."""
    work = {"restartPolicy": "Never", "containers": [container(command=["python", "-c", "print('done')"])]}
    shop.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "nightly", "annotations": ON},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": work}}}},
        }
    )
    template = shop.get("cronjob", "nightly")["spec"]["jobTemplate"]["spec"]["template"]

    assert template["metadata"]["annotations"]["tulle.dev/inject"] == "enabled"


def test_cron_job_follows_its_annotation_later_too(shop: Kube) -> None:
    """Nobody rolls a CronJob: its next Jobs are made of the template as it is then."""
    work = {"restartPolicy": "Never", "containers": [container(command=["python", "-c", "print('done')"])]}
    spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": work}}}}
    shop.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "later"}, "spec": spec})

    def told() -> dict[str, str]:
        template = shop.get("cronjob", "later")["spec"]["jobTemplate"]["spec"]["template"]
        return (template.get("metadata") or {}).get("annotations") or {}

    assert told() == {}
    shop("annotate", "cronjob", "later", "tulle.dev/inject=enabled")
    assert told() == {"tulle.dev/inject": "enabled", "tulle.dev/injected-by": "CronJob/later"}
    shop("annotate", "cronjob", "later", "tulle.dev/inject-")
    assert told() == {}


def reviewed(mesh: Mesh) -> int:
    """How many workloads the control plane was asked about."""
    (replica,) = mesh.system.get("pods", "-l", "app.kubernetes.io/name=tulle")["items"]
    name = replica["metadata"]["name"]
    said = mesh.system("get", "--raw", f"/api/v1/namespaces/tulle-system/pods/{name}:15014/proxy/metrics")
    return sum(int(count) for count in re.findall(r'(?m)^tulle_admissions_total\{.*webhook="workload".*\} (\d+)', said))


def test_workload_that_is_replaced_is_not_rolled(shop: Kube, mesh: Mesh) -> None:
    """Argo CD's Replace sends the manifest of the repository, whose template is silent, at each sync; the webhook is asked about that, and not about what leaves both alone."""
    manifest = json.dumps(deployment("synced", annotations=ON))
    shop("create", "-f", "-", stdin=manifest)
    before = shop.get("deployment", "synced")
    asked = reviewed(mesh)
    shop("label", "deployment", "synced", "by=hand")
    assert reviewed(mesh) == asked
    shop("replace", "-f", "-", stdin=manifest)
    after = shop.get("deployment", "synced")

    assert reviewed(mesh) > asked

    assert after["spec"]["template"]["metadata"]["annotations"]["tulle.dev/inject"] == "enabled"
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


def test_copied_template_stays_in_the_mesh_without_the_annotation(shop: Kube) -> None:
    """Flagger's primary: the template of the workload that was opted in, and no annotation of its own."""
    shop.apply(deployment("canary", annotations=ON))
    copied = shop.get("deployment", "canary")["spec"]["template"]
    primary = deployment("canary-primary")
    labels = {"app": "canary-primary"}
    primary["spec"]["template"] = copied | {"metadata": copied["metadata"] | {"labels": labels}}
    shop.apply(primary)
    shop("rollout", "status", "deployment/canary-primary", "--timeout=60s")
    # The other is taken out after it, so the operator has seen both.
    shop("annotate", "deployment", "canary", "tulle.dev/inject-")
    shop.until(lambda: "tulle.dev/inject" not in annotations_of(shop, "canary"), 20, "the workload's own way out")

    assert annotations_of(shop, "canary-primary")["tulle.dev/inject"] == "enabled"
    assert shop.get("deployment", "canary-primary")["metadata"]["generation"] == 1
    assert all(is_injected(one) for one in pods(shop, "canary-primary"))


def annotations_of(shop: Kube, name: str) -> dict[str, str]:
    """What a Deployment's template says."""
    found: dict[str, str] = shop.get("deployment", name)["spec"]["template"]["metadata"].get("annotations") or {}
    return found


@pytest.mark.parametrize("way", ["namespace annotation", "pod label"])
def test_other_ways_of_opting_in(shop: Kube, way: str) -> None:
    """An annotation on the namespace, a label on the pod."""
    made = pod("quiet-" + way.partition(" ")[0])
    if way == "pod label":
        made["metadata"]["labels"]["tulle.dev/inject"] = "enabled"
        assert is_injected(dry(shop, made))
        return
    assert not is_injected(dry(shop, made))
    shop("annotate", "namespace", shop.namespace, "tulle.dev/inject=enabled")
    try:
        shop.until(lambda: is_injected(dry(shop, made)), 10, "the namespace's word")
        made["metadata"]["annotations"]["tulle.dev/inject"] = "disabled"
        assert not is_injected(dry(shop, made))
    finally:
        shop("annotate", "namespace", shop.namespace, "tulle.dev/inject-")


def dry(shop: Kube, obj: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server would store it."""
    found: dict[str, Any] = json.loads(
        shop("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(obj))
    )
    return found


@pytest.mark.parametrize("namespace", ["kube-system", "tulle-system"])
def test_system_namespaces_are_left_alone(mesh: Mesh, namespace: str) -> None:
    """Whatever a pod there says."""
    kube = Kube(kubeconfig=mesh.kubeconfig, namespace=namespace)
    tight = pod("ours", annotations=ON, containers=[container(securityContext=TIGHT)])
    tight["spec"]["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }

    assert not is_injected(dry(kube, tight))
