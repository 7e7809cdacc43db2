"""Setting the demo up: every step done with the tools a user has (kubectl, Helm through `tulle install`), nothing behind them.

In: a directory for everything the run leaves while it lives. Out: a cluster with the mesh and the shop in it, and ways
to ask it. A step that fails raises StageError with what was tried and what came back.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulle.demo.figures import LoadCounts
from tulle.demo.forward import forwarded
from tulle.shared import shared

NAMESPACE = "shop"
SYSTEM = "tulle-system"
DEPLOYMENTS = ("web", "catalog", "reviews-v1", "reviews-v2", "cart", "ledger", "load")


class StageError(RuntimeError):
    """A step of the demo did not work; the message says which command and what it answered."""


def program(name: str) -> str:
    """Find a program beside this interpreter, else on PATH; raises StageError."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise StageError(f"{name} is not installed; `make setup` brings it")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running cluster, seen through its kubeconfig."""

    kubeconfig: Path
    load_url: str = ""
    """Where the load generator tells how it goes."""

    def watching_load(self) -> AbstractContextManager[str]:
        """Give the URL of the load generator's own pod for as long as the context lasts."""
        target = ["-n", NAMESPACE, "port-forward", "deployment/load", ":8080"]
        return forwarded([program("kubectl"), "--kubeconfig", str(self.kubeconfig), *target])

    def kubectl(self, *arguments: str, timeout: float = 90.0) -> str:
        """Run kubectl and return what it printed; raises StageError."""
        return _run([program("kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments], timeout)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Run `kubectl get ... -o json`."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return answer

    def raw(self, path: str) -> str:
        """Ask the API server for a path, as `kubectl get --raw` does."""
        return self.kubectl("get", "--raw", path, timeout=30)

    def install_mesh(self) -> None:
        """Install the minimal Gateway API definitions and Tulle from its Helm chart, and wait until it is ready."""
        self.kubectl("apply", "--server-side", "-f", str(shared("manifests/gateway-api")))
        command = [sys.executable, "-m", "tulle", "--kubeconfig", str(self.kubeconfig), "install", "--wait"]
        _run(command, 120)

    def open_shop(self) -> None:
        """Apply the shop, opted in by an annotation on its Deployments, and wait until it is rolled out."""
        self.kubectl("apply", "-k", str(shared("manifests/samples/shop")))
        for name in DEPLOYMENTS:
            self.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=80s")

    def shop_pods(self) -> list[dict[str, Any]]:
        """List the shop's pods that are not going away."""
        pods = self.get("-n", NAMESPACE, "pods")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def metrics(self) -> list[str]:
        """Scrape the sidecar of every pod of the shop."""
        base = f"/api/v1/namespaces/{NAMESPACE}/pods"
        return [self.raw(f"{base}/{pod['metadata']['name']}:15020/proxy/metrics") for pod in self.shop_pods()]

    def load(self) -> LoadCounts:
        """Ask the load generator how it went so far."""
        answer = self._stats()
        versions = answer["versions"]
        return LoadCounts(
            requests=answer["requests"],
            failed=answer["failed"],
            v1=versions.get("v1", 0),
            v2=versions.get("v2", 0),
            p50_ms=answer["p50_ms"] or 0.0,
            p99_ms=answer["p99_ms"] or 0.0,
        )

    def load_errors(self) -> list[str]:
        """Fetch the last errors the load generator met, for the report."""
        errors: list[str] = self._stats()["errors"]
        return errors

    def _stats(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.load_url}/stats", timeout=10) as answer:  # noqa: S310 - our own loopback
                found: dict[str, Any] = json.load(answer)
        except OSError as problem:
            raise StageError(f"the load generator cannot be asked: {problem}") from None
        return found

    def restart(self, namespace: str, deployment: str) -> None:
        """Roll a Deployment and wait until the new pods have taken over."""
        self.kubectl("-n", namespace, "rollout", "restart", f"deployment/{deployment}")
        self.kubectl("-n", namespace, "rollout", "status", f"deployment/{deployment}", "--timeout=80s")

    def wait_for_requests(self, count: int, timeout: float) -> LoadCounts:
        """Follow the load until `count` more requests were answered; raises StageError when it takes too long."""
        begin = time.monotonic()
        first = last = self.load()
        while last.requests - first.requests < count:
            if time.monotonic() - begin > timeout:
                raise StageError(
                    f"the load made {last.requests - first.requests} of {count} requests in {timeout:.0f} s"
                )
            time.sleep(0.25)
            last = self.load()
        return last


def _run(command: list[str], timeout: float) -> str:
    """Run a program to its end; raises StageError with its words when it fails."""
    words = " ".join([Path(command[0]).name, *command[1:]])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as late:
        heard = (late.stderr or late.stdout or b"").decode(errors="replace")  # bytes, whatever `text` says
        raise StageError(f"`{words}` did not end in {timeout:.0f} s: {heard.strip()}") from None
    if done.returncode:
        raise StageError(f"`{words}` failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout
