"""Opting in and out: by annotation on workload or pod, by namespace, on every kind of workload."""

from __future__ import annotations

import json

import pytest

from tests.support.cluster import Kube
from tests.support.mesh import ON, Mesh, is_injected, pods
from tests.support.objects import container, deployment, pod, service

OFF = {"tulle.dev/inject": "disabled"}


def test_annotating_a_deployment_rolls_it_in_and_removing_rolls_it_out(shop: Kube) -> None:
    """The one command a user types takes a running service into the mesh, its removal out again."""
    shop.apply(deployment("roll"))
    shop("rollout", "status", "deployment/roll", "--timeout=60s")
    assert not any(is_injected(p) for p in pods(shop, "roll"))

    shop("annotate", "deployment", "roll", "tulle.dev/inject=enabled")
    shop.until(lambda: (found := pods(shop, "roll")) and all(is_injected(p) for p in found), 60, "injection")
    shop("rollout", "status", "deployment/roll", "--timeout=60s")

    shop("annotate", "deployment", "roll", "tulle.dev/inject-")
    shop.until(lambda: (found := pods(shop, "roll")) and not any(is_injected(p) for p in found), 60, "leaving")
    shop("rollout", "status", "deployment/roll", "--timeout=60s")


def test_deployment_made_with_the_annotation_does_not_roll_twice(shop: Kube) -> None:
    """Opted in from the start, the first pods already carry the sidecar."""
    shop.apply(deployment("first", annotations=ON))
    shop("rollout", "status", "deployment/first", "--timeout=60s")

    assert all(is_injected(p) for p in pods(shop, "first"))
    assert len(shop.get("rs", "-l", "app=first")["items"]) == 1


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_controllers_opt_in_by_annotation(shop: Kube, kind: str) -> None:
    """StatefulSets and DaemonSets are taken in like Deployments."""
    name = kind.lower()
    workload = deployment(name, annotations=ON) | {"kind": kind}
    if kind == "DaemonSet":
        del workload["spec"]["replicas"]
    else:
        workload["spec"]["serviceName"] = name
    shop.apply(service(name), workload)
    shop("rollout", "status", f"{kind}/{name}", "--timeout=60s")

    assert all(is_injected(p) for p in pods(shop, name))


def test_job_in_the_mesh_completes(shop: Kube) -> None:
    """The sidecar of a Job ends with its work."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "annotations": ON},
        "spec": {
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [container(command=["python", "-c", "print('done')"])]}
            }
        },
    }
    shop.apply(job)
    shop("wait", "--for=condition=complete", "job/work", "--timeout=60s")
    found = shop.get("pods", "-l", "job-name=work")["items"]

    assert [is_injected(p) for p in found] == [True]
    assert shop("logs", "job/work", "-c", "app").strip() == "done"


def test_app_starts_after_the_sidecar_and_init_containers_have_a_network(shop: Kube) -> None:
    """An init container of the app and the app's first act can both call a service."""
    shop.apply(deployment("peer", annotations=ON), service("peer"))
    shop("rollout", "status", "deployment/peer", "--timeout=60s")
    call = ["python", "-c", "import urllib.request as u;print(u.urlopen('http://peer/',timeout=10).read().decode())"]
    bare = pod(
        "eager",
        annotations=ON,
        restartPolicy="Never",
        initContainers=[container("before", call)],
        containers=[container(command=call)],
    )
    shop.apply(bare)
    shop("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/eager", "--timeout=60s")

    assert is_injected(shop.get("pod", "eager"))
    assert shop("logs", "eager", "-c", "before").startswith("peer-")
    assert shop("logs", "eager", "-c", "app").startswith("peer-")


def test_namespace_label_opts_in_and_the_pod_may_opt_out(shop: Kube) -> None:
    """The nearest word to the pod wins."""
    shop("label", "namespace", shop.namespace, "tulle.dev/inject=enabled", "--overwrite")
    try:
        shop.until(lambda: shop.apply(pod("by-label")) and is_injected(shop.get("pod", "by-label")))
        shop.apply(pod("not-me", annotations=OFF))
    finally:
        shop("label", "namespace", shop.namespace, "tulle.dev/inject-")

    assert not is_injected(shop.get("pod", "not-me"))
    shop("delete", "pod", "by-label", "not-me", "--wait=false")


def test_host_network_pod_is_skipped_with_its_reason(shop: Kube) -> None:
    """A pod on the node's network gets no sidecar, and the reason is on it."""
    shop.apply(
        pod(
            "on-host",
            annotations=ON,
            hostNetwork=True,
            restartPolicy="Never",
            containers=[container(command=["python", "-c", "0"])],
        )
    )
    found = shop.get("pod", "on-host")

    assert not is_injected(found)
    assert "hostNetwork" in found["metadata"]["annotations"]["tulle.dev/skipped"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("tulle.dev/exclude-outbound-ports", "80,http"),
        ("tulle.dev/exclude-inbound-ports", "70000"),
        ("tulle.dev/exclude-outbound-cidrs", "10.0.0.0/99"),
        ("tulle.dev/proxy-cpu-request", "lots"),
        ("tulle.dev/proxy-log-level", "chatty"),
        ("tulle.dev/inject", "yes"),
    ],
)
def test_bad_annotation_rejects_the_pod_with_a_sentence(shop: Kube, annotation: str, value: str) -> None:
    """The sentence names annotation and value, and nothing is made."""
    said = shop.fails("create", "-f", "-", stdin=json.dumps(pod("bad", annotations=ON | {annotation: value})))

    assert annotation in said
    assert value in said
    assert "not found" in shop.fails("get", "pod", "bad")


def test_control_plane_says_what_it_injected(mesh: Mesh, shop: Kube) -> None:
    """The status annotation is JSON with the containers added."""
    shop.apply(pod("told", annotations=ON))
    status = json.loads(shop.get("pod", "told")["metadata"]["annotations"]["tulle.dev/status"])

    assert "tulle-proxy" in json.dumps(status)
    shop("delete", "pod", "told", "--wait=false")
    assert "Traceback" not in mesh.control_plane_log()
