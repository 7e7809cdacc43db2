"""A Kubernetes to test against: the one KUBECONFIG names, or a devcluster started for the session.

The same tests, unchanged, hold for both: nothing here or in the tests that use it knows which one it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools import image

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = str(Path(sys.executable).with_name("kubectl"))
PYTHON_IMAGE = "python:3.12-slim"
TREE = {"path": [str(Path(sys.executable).parent)]}
"""Stands for an image: this machine, with the programs of this tree first."""
IMAGES = {"tulle:*": TREE, "python:*": TREE}


FORMER = "former"
"""Where a test may put the tree of a version before, beside the kubeconfig of a devcluster."""
FORMER_IMAGE = "tulle:former"
"""The image that runs it."""


class KubectlError(AssertionError):
    """kubectl ended with an error; the message has its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kube:
    """kubectl against one cluster, in one namespace."""

    kubeconfig: Path
    namespace: str = "default"

    def command(self, *arguments: str) -> list[str]:
        return [KUBECTL, "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        done = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stderr}{done.stdout}")
        return done.stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command that must fail and return what it said."""
        done = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0, done.stdout
        return done.stderr

    def apply(self, *objects: dict[str, Any] | str, server_side: bool = False) -> str:
        text = "\n---\n".join(o if isinstance(o, str) else yaml.safe_dump(o) for o in objects)
        return self("apply", *(["--server-side"] if server_side else []), "-f", "-", stdin=text)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def until(self, check: Any, timeout: float = 30, what: str = "it") -> Any:
        """Ask again until `check()` gives something true; for state no event of kubectl tells of."""
        end = time.monotonic() + timeout
        while True:
            value = check()
            if value:
                return value
            assert time.monotonic() < end, f"{what} did not come true in {timeout} s"
            time.sleep(0.1)


@contextmanager
def running_cluster(directory: Path) -> Iterator[Path]:
    """Give the kubeconfig of the cluster to test against."""
    named = os.environ.get("KUBECONFIG")
    if named:
        yield Path(named)
        return
    from devcluster.cluster import DevCluster

    directory.mkdir(parents=True, exist_ok=True)
    images = directory / "images.json"
    former = {FORMER_IMAGE: {**TREE, "env": {"PYTHONPATH": str(directory / FORMER)}}}
    built = image.present()  # what ships, where it was built of this very tree: `make test` sees to that
    tulle = {"tulle:*": TREE if built is None else {"archive": str(built)}}
    images.write_text(json.dumps(former | tulle | {"python:*": TREE}))
    with DevCluster(directory, images=images) as cluster:
        yield cluster.kubeconfig


@contextmanager
def fresh_namespace(kubeconfig: Path, prefix: str, *flags: str) -> Iterator[Kube]:
    """Give kubectl in a namespace of its own that goes away afterwards."""
    name = f"{prefix}-{uuid.uuid4().hex[:6]}"
    Kube(kubeconfig=kubeconfig)("create", "namespace", name)
    for flag in flags:
        Kube(kubeconfig=kubeconfig)("label", "namespace", name, flag)
    try:
        yield Kube(kubeconfig=kubeconfig, namespace=name)
    finally:
        Kube(kubeconfig=kubeconfig)("delete", "namespace", name, "--wait=false")
