"""kubectl on running things: rollouts, logs, exec, port-forward, wait, scale and cascading deletion."""

from __future__ import annotations

import subprocess
import urllib.request

import pytest

import tulle.kube
from tests.support.cluster import Kube
from tests.support.objects import container, deployment, pod, service
from tulle.portforward import ask_port


@pytest.fixture(scope="module", autouse=True)
def web(kube: Kube) -> None:
    """Two web servers behind a Service."""
    kube.apply(deployment("web", replicas=2), service("web"))
    kube("rollout", "status", "deployment/web", "--timeout=60s")


def fetch(kube: Kube, url: str) -> str:
    """GET a URL from inside the cluster."""
    code = f"import urllib.request as u;print(u.urlopen('{url}',timeout=10).read().decode())"
    return kube("exec", "deploy/web", "--", "python", "-c", code).strip()


def test_service_reaches_its_pods_by_name(kube: Kube) -> None:
    """Cluster DNS and the ClusterIP lead to the pods."""
    pods = {p["metadata"]["name"] for p in kube.get("pods", "-l", "app=web")["items"]}
    seen: set[str] = set()
    for _ in range(40):  # which pod is asked is chance: with two, forty misses of one are one in 10^12
        seen.add(fetch(kube, "http://web/"))
        if seen == pods:
            break

    assert seen == pods


def test_service_reaches_its_pods_by_full_name(kube: Kube) -> None:
    """The fully qualified name resolves too."""
    assert fetch(kube, f"http://web.{kube.namespace}.svc.cluster.local/").startswith("web-")


def test_logs_follow_what_is_written(kube: Kube) -> None:
    """`logs -f` goes on as lines come."""
    name = kube("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    assert "serving" in kube("logs", name)
    with subprocess.Popen(kube.command("logs", "-f", "--tail=0", name), stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        kube("exec", name, "--", "python", "-c", "import urllib.request as u;u.urlopen('http://127.0.0.1:8080/marker')")
        seen = ""
        while "/marker" not in seen:
            seen = logs.stdout.readline()
        logs.kill()


def test_one_request_is_forwarded_to_a_port(kube: Kube) -> None:
    """As `tulle` asks; a port nobody listens on is told of."""
    pod = kube.get("pods", "-l", "app=web")["items"][0]
    asking = tulle.kube.Kube.load(str(kube.kubeconfig))

    assert ask_port(asking, pod, 8080, "/").decode().strip() == pod["metadata"]["name"]
    with pytest.raises(tulle.kube.KubeError, match="port 9 of pod"):
        ask_port(asking, pod, 9, "/")


def test_exec_carries_input_output_and_exit_code(kube: Kube) -> None:
    """Standard input arrives, both outputs come back, the code is the command's own."""
    code = "import sys;sys.stderr.write('E');print(sys.stdin.read().upper());sys.exit(7)"
    done = subprocess.run(
        kube.command("exec", "-i", "deploy/web", "--", "python", "-c", code),
        input="hello",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.stdout.strip(), done.returncode) == ("HELLO", 7)
    assert "E" in done.stderr


def test_port_forward_reaches_the_pod(kube: Kube) -> None:
    """A local port leads into the pod."""
    with subprocess.Popen(
        kube.command("port-forward", "deploy/web", ":8080"), stdout=subprocess.PIPE, text=True
    ) as forward:
        assert forward.stdout is not None
        port = forward.stdout.readline().split("127.0.0.1:")[1].split(" ")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            body = answer.read().decode()
        forward.kill()

    assert body.startswith("web-")


def test_scale_changes_the_number_of_pods(kube: Kube) -> None:
    """Scaling up and down takes effect and status follows."""
    kube.apply(deployment("scaled", replicas=1))
    kube("scale", "deploy/scaled", "--replicas=3")
    kube("rollout", "status", "deployment/scaled", "--timeout=60s")
    assert kube.get("deploy", "scaled")["status"]["readyReplicas"] == 3
    kube("scale", "deploy/scaled", "--replicas=1")

    assert kube.until(lambda: len(kube.get("pods", "-l", "app=scaled")["items"]) == 1)
    kube("delete", "deploy", "scaled")


def test_rollout_restart_replaces_every_pod(kube: Kube) -> None:
    """A restart makes new pods and keeps the number."""
    before = set(kube("get", "pods", "-l", "app=web", "-o", "name").split())
    kube("rollout", "restart", "deployment/web")
    kube("rollout", "status", "deployment/web", "--timeout=60s")
    after = {
        p["metadata"]["name"]
        for p in kube.get("pods", "-l", "app=web")["items"]
        if "deletionTimestamp" not in p["metadata"]
    }

    assert len(after) == 2
    assert not {f"pod/{name}" for name in after} & before
    assert "REVISION" in kube("rollout", "history", "deployment/web")


def test_delete_takes_the_owned_with_it(kube: Kube) -> None:
    """Deleting a Deployment removes its ReplicaSets and Pods."""
    kube.apply(deployment("gone"))
    kube("rollout", "status", "deployment/gone", "--timeout=60s")
    kube("delete", "deployment", "gone", "--cascade=foreground", "--timeout=30s")

    assert kube("get", "rs,pods", "-l", "app=gone", "-o", "name") == ""


def test_wait_returns_when_the_condition_holds(kube: Kube) -> None:
    """`wait` sees a pod become ready and a job complete."""
    kube.apply(pod("once", restartPolicy="Never", containers=[container(command=["python", "-c", "print(1)"])]))
    kube("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=30s")
    kube("create", "job", "quick", "--image=python:3.12-slim", "--", "python", "-c", "print(2)")
    kube("wait", "--for=condition=complete", "job/quick", "--timeout=30s")

    assert kube("logs", "job/quick").strip() == "2"


def test_get_prints_pods_as_the_real_server_does(kube: Kube) -> None:
    """The table of pods has its columns, wide has more."""
    assert kube("get", "pods").split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert "2/2" in kube("get", "deploy", "web")
    assert "NODE" in kube("get", "pods", "-o", "wide")
