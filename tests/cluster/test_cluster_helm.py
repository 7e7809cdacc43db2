"""Helm 4 (its own SDK, in a process of its own): a small chart from lint to uninstall."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Kube

DRIVER = """
import json, sys
import helm_python as helm
kubeconfig, namespace, action, chart, values = sys.argv[1:]
values = json.loads(values)
with helm.Config(kubeconfig_path=kubeconfig, namespace=namespace) as cfg:
    done = {
        "lint": lambda: helm.lint(chart),
        "install": lambda: cfg.install(chart, "tiny", values, wait="watcher", timeout=60),
        "upgrade": lambda: cfg.upgrade(chart, "tiny", values, wait="watcher", timeout=60),
        "rollback": lambda: cfg.rollback("tiny", version=1),
        "history": lambda: cfg.history("tiny"),
        "uninstall": lambda: cfg.uninstall("tiny"),
        "list": lambda: cfg.list(),
    }[action]()
print(json.dumps(done, default=str))
"""
TEMPLATES = {
    "Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.1.0\ndescription: A chart for a test\nicon: file://none\n",
    "values.yaml": "word: hello\nreplicas: 1\n",
    "templates/map.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
        "data:\n  word: {{ .Values.word | quote }}\n  version: {{ .Capabilities.KubeVersion.Version | quote }}\n"
    ),
    "templates/deployment.yaml": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n"
        "spec:\n  replicas: {{ .Values.replicas }}\n  selector:\n    matchLabels: {app: tiny}\n"
        "  template:\n    metadata:\n      labels: {app: tiny}\n    spec:\n      terminationGracePeriodSeconds: 1\n"
        "      containers:\n      - name: app\n        image: python:3.12-slim\n"
        '        command: [python, -c, "import signal; signal.pause()"]\n'
    ),
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small chart."""
    root = tmp_path_factory.mktemp("chart") / "tiny"
    for name, text in TEMPLATES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def helm(kube: Kube, action: str, chart: Path, **values: Any) -> Any:
    command = [sys.executable, "-c", DRIVER, str(kube.kubeconfig), kube.namespace, action, str(chart)]
    done = subprocess.run([*command, json.dumps(values)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_helm_takes_a_chart_from_lint_to_uninstall(kube: Kube, chart: Path) -> None:
    """Install waits until pods are ready, upgrade changes, rollback changes back, uninstall leaves nothing."""

    def word() -> str:
        return kube("get", "cm", "tiny", "-o", "jsonpath={.data.word}")

    assert not [m for m in helm(kube, "lint", chart).get("messages", []) if m.get("severity") == "ERROR"]
    assert helm(kube, "install", chart)["status"] == "deployed"
    assert word() == "hello"
    assert kube.get("deploy", "tiny")["status"]["readyReplicas"] == 1
    assert helm(kube, "upgrade", chart, word="bye", replicas=2)["revision"] == 2
    assert word() == "bye"
    assert kube.get("deploy", "tiny")["status"]["readyReplicas"] == 2
    helm(kube, "rollback", chart)
    assert word() == "hello"
    assert len(helm(kube, "history", chart)) == 3
    helm(kube, "uninstall", chart)

    assert kube("get", "deploy,cm,secret", "-o", "name").split() == ["configmap/kube-root-ca.crt"]
