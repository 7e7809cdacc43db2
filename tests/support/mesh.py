"""Tulle in the cluster of the session, installed as a user does it, and ways to ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster import ROOT, Kube
from tests.support.objects import deployment, pod, service

SYSTEM = "tulle-system"
ON = {"tulle.dev/inject": "enabled"}
"""The annotation that takes a workload in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A running Tulle."""

    kubeconfig: Path

    @property
    def system(self) -> Kube:
        """Kubectl in the control plane's namespace."""
        return Kube(kubeconfig=self.kubeconfig, namespace=SYSTEM)

    def tulle(self, *arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        done = subprocess.run(
            [sys.executable, "-m", "tulle", "--kubeconfig", str(self.kubeconfig), *arguments],
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert not check or done.returncode == 0, (
            f"tulle {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def proxies(self, namespace: str = "") -> list[dict[str, Any]]:
        """What the control plane says of the sidecars it has, of all namespaces or of one."""
        scope = ("-n", namespace) if namespace else ()
        found: list[dict[str, Any]] = json.loads(self.tulle("proxy-status", *scope, "-o", "json").stdout)["proxies"]
        return found

    def control_plane_log(self) -> str:
        return self.system("logs", "deploy/tulle", "--tail=-1")


@contextmanager
def installed_mesh(kubeconfig: Path) -> Iterator[Mesh]:
    """Install Tulle unless it is there; take it out again if this made it."""
    mesh = Mesh(kubeconfig=kubeconfig)
    kube = Kube(kubeconfig=kubeconfig)
    if "tulle" in kube("-n", SYSTEM, "get", "deploy", "-o", "name", "--ignore-not-found"):
        yield mesh
        return
    if "httproutes" not in kube("api-resources", "--api-group=gateway.networking.k8s.io", "-o", "name"):
        kube("apply", "--server-side", "-f", str(ROOT / "manifests" / "gateway-api"))
    mesh.tulle("install", "--wait")
    yield mesh
    mesh.tulle("uninstall")


def bring_pair(kube: Kube, *strangers: str, replicas: int = 1) -> None:
    """Start `server` and its caller `client` in the mesh, and pods outside it; returns when they are ready."""
    served = deployment("server", replicas=replicas, annotations=ON), service("server")
    kube.apply(*served, pod("client", annotations=ON), *map(pod, strangers))
    kube("rollout", "status", "deployment/server", "--timeout=60s")
    kube("wait", "--for=condition=Ready", *(f"pod/{name}" for name in ("client", *strangers)), "--timeout=60s")


def pods(kube: Kube, app: str) -> list[dict[str, Any]]:
    """The pods of an app that are not going away."""
    found = kube.get("pods", "-l", f"app={app}")["items"]
    return [p for p in found if "deletionTimestamp" not in p["metadata"]]


def is_injected(found: dict[str, Any]) -> bool:
    """Tell whether a pod carries the sidecar."""
    spec = found["spec"]
    return any(c["name"] == "tulle-proxy" for c in spec["containers"] + spec.get("initContainers", []))


def ask(
    kube: Kube, target: str, url: str, *, headers: dict[str, str] | None = None, count: int = 1
) -> list[tuple[int, str]]:
    """GET a URL some times from inside a pod's app container, on one connection each; returns (status, body) pairs."""
    code = (
        "import urllib.request as u,urllib.error as e,json,sys\n"
        f"out=[]\nfor _ in range({count}):\n"
        f" r=u.Request({url!r},headers={headers or {}!r})\n"
        " try:\n  a=u.urlopen(r,timeout=10); out.append((a.status,a.read().decode()))\n"
        " except e.HTTPError as x: out.append((x.code,x.read().decode()))\n"
        " except Exception as x: out.append((0,repr(x)))\n"
        "print(json.dumps(out))"
    )
    said = kube("exec", target, "-c", "app", "--", "python", "-c", code)
    return [(status, body) for status, body in json.loads(said)]


def metrics(kube: Kube, name: str) -> str:
    """Scrape a pod's sidecar through the API server."""
    return kube("get", "--raw", f"/api/v1/namespaces/{kube.namespace}/pods/{name}:15020/proxy/metrics")
