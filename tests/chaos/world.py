"""A cluster with the mesh, the shop and the party under load, and hands to do things to it.

In: a directory. Out: a `World` whose load runs; its verbs are what happens in the table's rows. It asks by kubectl and `tulle`, as a user does, and by
`DevCluster` for what no user can do to a cluster.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from devcluster.cluster import DevCluster
from tests.chaos.losses import Failure, Tally, read
from tests.support.cluster import IMAGES, ROOT, TREE, Kube, KubectlError
from tests.support.mesh import SYSTEM, Mesh

SHOP = ("web", "catalog", "reviews-v1", "reviews-v2", "cart", "ledger")
PARTY = ("echo", "solo", "quiet")
KINDS = ("http1", "http2", "unary", "stream", "lines", "other", "page")
"""What the load never pauses with; `quiet` it does on purpose."""
HERE = Path(__file__).parent
BROKEN = "tulle:broken"
"""The image of a sidecar that refuses some of its configuration."""
AWAY = 90.0
"""Seconds kubectl waits for the API server."""
OVERLAP = 3.0
"""Seconds of its log that are read twice. Not all of it each time: after half an hour that kept the cluster from its probes."""
BACK = 60.0
"""Seconds the load has to be served again after an event."""
KILL = (
    "import os,sys\n"
    "for pid in filter(str.isdigit,os.listdir('/proc')):\n"
    "  if int(pid)!=os.getpid() and sys.argv[1].encode() in open(f'/proc/{pid}/cmdline','rb').read().replace(b'\\0',b' '): os.kill(int(pid),9)\n"
)


class Patient(Kube):
    """kubectl that waits while the API server is away."""

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        end = time.monotonic() + AWAY
        while True:
            try:
                return super().__call__(*arguments, stdin=stdin, timeout=timeout)
            except KubectlError as error:
                if "was refused" not in str(error) or "webhook" in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.2)


class World:
    """A mesh under load."""

    def __init__(self, cluster: DevCluster, dice: random.Random, *, full: bool) -> None:
        self.cluster = cluster
        self.random = dice
        self.full = full
        """Whether events take their real time; else they are pressed together where the sense is kept."""
        self.mesh = Mesh(kubeconfig=cluster.kubeconfig)
        self.system, self.shop, self.party = (
            Patient(kubeconfig=cluster.kubeconfig, namespace=name) for name in (SYSTEM, "shop", "party")
        )
        self.tally = Tally()
        """What the load has told since it was last begun anew."""
        self._lock = threading.Lock()
        self._heard_until = time.time() - 3600
        self._lines: set[str] = set()
        """What was said when it was last asked: what is asked for overlaps."""
        self._unanswered: dict[str, int] = {}
        self._sums: Counter[str] = Counter()

    # --- the load -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a new tally; what came before is no row's."""
        self.heard()
        self._unanswered = self._probes_unanswered()
        with self._lock:
            self.tally = Tally()

    def unanswered(self) -> int:
        """Count the readiness probes nobody answered in time since the tally was begun: Kubernetes takes such a pod out, whoever is to blame.

        Where that is many pods at once it is this machine, which is too slow to be judged on.
        """
        before = self._unanswered
        return sum(count - before.get(event, 0) for event, count in self._probes_unanswered().items())

    def _probes_unanswered(self) -> dict[str, int]:
        """Count by Event, which end an hour after they were last told."""
        events = self.party.get("events", "-A", "--field-selector=reason=Unhealthy")["items"]
        failed = (one for one in events if "Readiness probe failed: context" in one["message"])
        return {one["metadata"]["uid"]: int(one.get("count") or 1) for one in failed}

    def heard(self) -> Tally:
        """What the load has told since this was last asked, by whomever; fails while the API server is away."""
        with self._lock:
            since = dt.datetime.fromtimestamp(self._heard_until - OVERLAP, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            asked_at = time.time()
            said = self.party("logs", "caller", "-c", "app", f"--since-time={since}").splitlines()
            done, failures = read(one for one in said if one not in self._lines)
            self._lines, self._heard_until = set(said), asked_at
            new = Tally(done=done - self._sums if done else Counter(), failures=failures)
            self._sums = done or self._sums
            self.tally.take(new)
            return new

    def served(self, kinds: tuple[str, ...] = KINDS, *, each: int = 5) -> Tally:
        """Wait until every kind has been answered some times more; gives what was told meanwhile, and fails where one is not."""
        end = time.monotonic() + BACK
        told = Tally()
        while any(told.done[kind] < each for kind in kinds):
            missing = [kind for kind in kinds if told.done[kind] < each]
            if time.monotonic() > end:
                last = [str(one) for one in told.failures[-3:]]
                raise AssertionError(f"no answer for {', '.join(missing)} in {BACK:g} s; last: {last}")
            time.sleep(0.25)
            told.take(self.heard())
        return told

    def long(self, full: float, short: float) -> float:
        """Give the seconds something takes."""
        return full if self.full else short

    def sleep(self, full: float, short: float) -> None:
        """Let the load run for so long."""
        time.sleep(self.long(full, short))

    def some(self, all_: Sequence[str], few: Sequence[str]) -> Sequence[str]:
        """Give all, or in the short form a few that stand for them."""
        return all_ if self.full else few

    # --- verbs --------------------------------------------------------------------------------------------------------

    def roll(self, kube: Kube, *names: str) -> None:
        """Restart Deployments one after the other, each to its end."""
        for name in names:
            kube("rollout", "restart", f"deployment/{name}")
            self.rolled(kube, name)

    def rolled(self, kube: Kube, *names: str) -> None:
        """Wait until Deployments are what they should be."""
        for name in names:
            kube("rollout", "status", f"deployment/{name}", "--timeout=110s", timeout=120)

    def scale(self, kube: Kube, name: str, replicas: int) -> None:
        """Have so many, and wait for it."""
        kube("scale", f"deployment/{name}", f"--replicas={replicas}")
        if replicas:
            self.rolled(kube, name)
        kube.until(lambda: len(self.pods(kube, name)) == replicas, 60, f"{replicas} pods of {name}")

    def pods(self, kube: Kube, name: str) -> list[str]:
        """Names of the pods of a Deployment, those that end too."""
        selector = "app.kubernetes.io/name=tulle" if kube.namespace == SYSTEM else f"app={name.partition('-v')[0]}"
        return [p["metadata"]["name"] for p in kube.get("pods", "-l", selector)["items"]]

    def ready(self, kube: Kube, name: str) -> list[str]:
        """Names of the pods of a Deployment that are ready and do not end."""
        wanted = set(self.pods(kube, name))
        return [
            p["metadata"]["name"]
            for p in kube.get("pods")["items"]
            if p["metadata"]["name"] in wanted
            and "deletionTimestamp" not in p["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or ())
        ]

    def kill(self, kube: Kube, pod: str, container: str, program: str) -> None:
        """End a program in a container by SIGKILL and wait until it runs again."""
        before = self._restarts(kube, pod, container)
        with self.ignoring(KubectlError):  # the exec may end with what it killed
            kube("exec", pod, "-c", container, "--", "python", "-c", KILL, program)
        kube.until(lambda: self._restarts(kube, pod, container) > before, 30, f"restart of {container} in {pod}")
        kube("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=90s", timeout=100)

    def leader(self) -> str:
        """The pod that writes."""
        held = self.system.get("lease", "tulle")["spec"].get("holderIdentity") or ""
        return next((p for p in self.ready(self.system, "tulle") if p in held), "")

    def root_change(self) -> str:
        """The stage a change of roots is in, as a replica says; empty while none answers."""
        for pod in self.ready(self.system, "tulle"):
            path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod}:15014/proxy/snapshot"
            with self.ignoring(KubectlError):
                return str(json.loads(self.system("get", "--raw", path))["authority"]["root_change"]["stage"])
        return ""

    def connected(self) -> bool:
        """Tell whether every sidecar is connected to some replica."""
        out = self.mesh.proxies()
        known = {(one["namespace"], one["pod"]) for one in out}
        wanted = {(kube.namespace, pod) for kube in (self.shop, self.party) for pod in self.injected(kube)}
        return wanted <= known

    def settled(self) -> None:
        """Wait until everything runs that should, nothing ends any more, and every sidecar is connected."""
        self.party.until(lambda: not self._unsettled(), 120, "the end of every rollout")
        self.party.until(self.connected, 60, "connection of every sidecar")

    def _unsettled(self) -> list[str]:
        """Name the Deployments that are not yet what they should be."""
        found = []
        for one in self.system.get("deployments", "-A")["items"]:
            spec, status, metadata = one["spec"], one.get("status") or {}, one["metadata"]
            counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
            if status.get("observedGeneration") != metadata["generation"] or counts != {spec["replicas"]}:
                found.append(metadata["name"])
        return found

    @staticmethod
    def injected(kube: Kube) -> list[str]:
        """Names of the pods that carry a sidecar and do not end."""
        return [
            p["metadata"]["name"]
            for p in kube.get("pods")["items"]
            if "deletionTimestamp" not in p["metadata"]
            and "tulle.dev/status" in (p["metadata"].get("annotations") or {})
        ]

    @staticmethod
    def _restarts(kube: Kube, pod: str, container: str) -> int:
        status = kube.get("pod", pod)["status"]
        listed = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        return next(int(c["restartCount"]) for c in listed if c["name"] == container)

    @staticmethod
    @contextmanager
    def ignoring(*kinds: type[Exception]) -> Iterator[None]:
        try:
            yield
        except kinds:
            return


def repeat(seconds: float, *steps: Callable[[], object], every: float = 1.0) -> None:
    """Take steps in turn, one each `every` seconds, for so long."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        due = time.monotonic() + every
        steps[number % len(steps)]()
        number += 1
        time.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def running(directory: Path, seed: int, *, full: bool) -> Iterator[World]:
    """Start a cluster, the mesh, the shop and the party, and give them when the load is served."""
    directory.mkdir(parents=True, exist_ok=True)
    images = directory / "images.json"
    images.write_text(json.dumps({BROKEN: {"path": [broken(directory / "broken"), *TREE["path"]]}} | IMAGES))
    with DevCluster(directory, images=images) as cluster:
        world = World(cluster, random.Random(seed), full=full)
        world.party("apply", "--server-side", "-f", str(ROOT / "manifests" / "gateway-api"))
        world.mesh.tulle("install", "--wait", "--set", f"proxy.allowedImages={{{BROKEN}}}")
        world.shop.apply(*shop(world.shop))
        world.party("create", "namespace", "party")
        world.party.apply(*party())
        world.settled()
        world.party("wait", "--for=condition=Ready", "pod/caller", "--timeout=60s")
        world.served()
        yield world


def shop(kube: Kube) -> list[dict[str, Any] | str]:
    """The shop without its own load, and with probes that a busy machine answers: a pod that Kubernetes takes out for them is no finding."""
    objects = []
    for one in yaml.safe_load_all(kube("kustomize", str(ROOT / "manifests" / "samples" / "shop"))):
        if one["metadata"]["name"] == "load":
            continue
        if one["kind"] == "Deployment":
            for container in one["spec"]["template"]["spec"]["containers"]:
                container["readinessProbe"] |= {"timeoutSeconds": 5, "failureThreshold": 6}
        objects.append(one)
    return objects


def broken(directory: Path) -> str:
    """Make an image whose sidecar refuses the cluster it is told of for `echo`, as one that reads less than it is sent would."""
    directory.mkdir()
    program = directory / "tulle-proxy"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "from dataplane.xds import decode\n"
        "real = decode.decode_message\n"
        "def decode_message(kind, message, notes=None):\n"
        "    if kind.name == 'CLUSTER' and message.name == 'party/echo:8080':\n"
        "        raise decode.RefusedError('this build does not read it')\n"
        "    return real(kind, message, notes)\n"
        "decode.decode_message = decode_message\n"
        "from dataplane.__main__ import main\n"
        "sys.exit(main())\n"
    )
    program.chmod(0o755)
    directory.chmod(0o755)
    return str(directory)


def party() -> list[dict[str, Any] | str]:
    """The party's objects."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "party"},
        "data": {"party.py": (HERE / "party.py").read_text()},
    }
    objects: list[dict[str, Any] | str] = [config]
    text = (HERE / "party.yaml").read_text()
    for name, replicas in (("echo", 2), ("solo", 1), ("quiet", 1)):
        objects += yaml.safe_load_all(text.replace("NAME", name).replace("COUNT", str(replicas)))
    other = yaml.safe_load(text.split("---")[0].replace("NAME", "solo"))
    objects.append(other | {"metadata": {"name": "other"}})
    objects += yaml.safe_load_all((HERE / "caller.yaml").read_text())
    return objects


def failed(failures: list[Failure]) -> str:
    """Name failures, a few of each sort."""
    counts = Counter(str(one)[:160] for one in failures)
    return "; ".join(f"{n} x {words}" for words, n in counts.most_common(6))
