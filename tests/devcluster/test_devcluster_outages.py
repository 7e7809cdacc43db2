"""What a cluster can be made to go through: a deletion by force, an API server that is away, addresses used again at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devcluster.cluster import DevCluster
from devcluster.runtime.logs import LogOptions
from tests.support.cluster import IMAGES, Kube, KubectlError
from tests.support.node import Node, in_node
from tests.support.objects import READY, Object, container, pod, service

CAREFUL = (
    "import signal,sys,time\n"
    "def end(*_):\n  print('term',flush=True); time.sleep(1); print('done',flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM,end); print('up',flush=True)\n"
    "while True: time.sleep(60)\n"
)


def test_deletion_by_force_takes_the_object_and_leaves_the_program_its_grace(tmp_path: Path) -> None:
    """A kubelet that finds a pod gone stops it by its own grace period: preStop, SIGTERM, and time to end."""

    async def scenario(node: Node) -> None:
        hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/2/fd/1"]}}}
        app = container(command=["python", "-c", CAREFUL], lifecycle=hook)
        await node.make(pod("forced", terminationGracePeriodSeconds=10, containers=[app]))
        await node.ready("forced")
        await node.logged("forced", "up")
        chunks = await node.kubelet.logs("default", "forced", LogOptions(follow=True))
        begin = time.monotonic()
        await node.registry.delete("pods", "default", "forced", options={"gracePeriodSeconds": 0})
        await node.gone("pods", "forced")

        assert time.monotonic() - begin < 0.5
        assert b"".join([chunk async for chunk in chunks]) == b"up\nhook\nterm\ndone\n"

    in_node(tmp_path, scenario)


def test_addresses_are_used_again_at_once_when_asked_for(tmp_path: Path) -> None:
    """The next pod gets the address of the last that ended, and is reached at it."""

    async def scenario(node: Node) -> None:
        node.network.reuse_at_once = True
        seen = []
        for name in ("one", "two", "three"):
            await node.make(pod(name, containers=[container(readinessProbe=READY)]))
            seen.append((await node.ready(name))["status"]["podIP"])
            reader, writer = await asyncio.open_connection(seen[-1], 8080)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(name.encode())
            writer.close()
            await node.registry.delete("pods", "default", name)
            await node.gone("pods", name)

        assert len(set(seen)) == 1

    in_node(tmp_path, scenario)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    directory = tmp_path_factory.mktemp("outages")
    (directory / "images.json").write_text(json.dumps(IMAGES))
    with DevCluster(directory, images=directory / "images.json") as cluster:
        yield cluster


def knocking(host: str, port: int, seconds: float) -> Object:
    """A container that connects again and again, waits for so long, and says whether somebody is there or which error it was."""
    code = (
        "import socket,time\n"
        "while True:\n"
        f"  try: socket.create_connection(({host!r},{port}),{seconds}).close(); print('there',flush=True)\n"
        "  except OSError as error: print(type(error).__name__,flush=True)\n"
        "  time.sleep(0.1)\n"
    )
    return container(command=["python", "-c", code])


def test_api_server_that_is_away_refuses_and_cuts_and_comes_back(cluster: DevCluster) -> None:
    """A watch ends, a request is refused at once, and afterwards everything is as it was."""
    kube = Kube(kubeconfig=cluster.kubeconfig)
    kube("create", "configmap", "before")
    watching = subprocess.Popen(kube.command("get", "configmaps", "-w"), stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    while "before" not in watching.stdout.readline():
        pass
    cluster.stop_api()
    watching.communicate(timeout=10)
    with pytest.raises(KubectlError, match="refused"):
        kube("get", "configmap", "before")
    cluster.start_api()

    assert kube("get", "configmap", "before", "-o", "name") == "configmap/before\n"


def test_pods_run_on_while_the_api_server_is_away(cluster: DevCluster) -> None:
    """What runs is not touched, and inside the cluster the API's address refuses as well."""
    kube = Kube(kubeconfig=cluster.kubeconfig)
    kube.apply(pod("watcher", containers=[knocking("kubernetes.default", 443, 1)]))
    kube.until(lambda: "there" in kube("logs", "watcher"), 20)
    cluster.stop_api()
    time.sleep(0.5)  # what the pod says meanwhile can be read afterwards only
    cluster.start_api()
    said = kube("logs", "watcher").split()

    assert set(said) == {"there", "ConnectionRefusedError"}
    assert kube.get("pod", "watcher")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_unknown_outage_is_refused_with_a_sentence(cluster: DevCluster) -> None:
    """Whoever asks for what there is not is told what there is."""
    with pytest.raises(ValueError, match="there are"):
        cluster.order("api sideways")
    with pytest.raises(ValueError, match="does not appear to be an IPv4"):
        cluster.order("cut nowhere 80")


def test_orders_of_several_threads_are_answered_each(cluster: DevCluster) -> None:
    """One after the other, whoever asks."""
    with ThreadPoolExecutor(8) as pool:
        orders = [pool.submit(cluster.order, order) for order in ("addresses soon", "addresses late") * 20]
    refused = [one.exception() for one in orders if one.exception()]

    assert refused == []


def test_cut_connection_is_lost_in_silence_until_it_is_mended(cluster: DevCluster) -> None:
    """Nobody is told; what was sent meanwhile arrives late, as TCP has it."""
    kube = Kube(kubeconfig=cluster.kubeconfig)
    ready = container(readinessProbe=READY)
    kube.apply(pod("server", containers=[ready]), service("server"))
    kube.apply(pod("asker", containers=[knocking("server", 80, 0.2)]))

    def last() -> str:
        return (kube("logs", "asker", "--tail=1").split() or [""])[-1]

    kube.until(lambda: last() == "there", 20)
    cluster.cut(kube.get("pod", "server")["status"]["podIP"], 8080)
    kube.until(lambda: last() == "TimeoutError", 10)
    cluster.mend()
    kube.until(lambda: last() == "there", 10)
