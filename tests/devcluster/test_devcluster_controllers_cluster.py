"""The loops around workloads: endpoints, accounts, the node, scheduling, budgets, events, and the queue they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from devcluster.api.errors import StatusError
from devcluster.controllers.events import Recorder
from devcluster.controllers.reconcile import Loop
from tests.support.loops import Cluster, running_loops
from tests.support.objects import container, deployment, pod, service


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Running loops."""
    async with running_loops() as cluster:
        yield cluster


def slices(cluster: Cluster, name: str) -> list[dict]:
    label = f"kubernetes.io/service-name={name}"
    return cluster.registry.list("endpointslices.discovery.k8s.io", "default", labels=label)


async def test_endpoints_follow_pods(cluster: Cluster) -> None:
    """Ready, not ready, leaving, gone."""
    cluster.running = False
    await cluster.make(
        service("web", target="http"), pod("web", containers=[container(ports=[{"name": "http", "containerPort": 9}])])
    )
    await cluster.until(lambda: cluster.get("pods", "web")["spec"].get("nodeName"))
    await cluster.tell("web", "Running")

    def state() -> list[dict]:
        return [e["conditions"] for s in slices(cluster, "web") for e in s["endpoints"]]

    await cluster.until(lambda: state() == [{"ready": False, "serving": False, "terminating": False}])
    await cluster.tell("web", "Running", is_ready=True)
    await cluster.until(lambda: state() == [{"ready": True, "serving": True, "terminating": False}])
    one = slices(cluster, "web")[0]
    assert one["ports"] == [{"name": "http", "protocol": "TCP", "port": 9}]
    assert one["endpoints"][0]["targetRef"]["name"] == "web"
    subsets = cluster.get("endpoints", "web")["subsets"]
    assert subsets[0]["addresses"][0]["ip"] == one["endpoints"][0]["addresses"][0]
    await cluster.registry.delete("pods", "default", "web")
    await cluster.until(lambda: state() == [])
    await cluster.registry.delete("services", "default", "web")


async def test_named_ports_may_differ_between_pods(cluster: Cluster) -> None:
    """A slice for each set of numbers; a Service without pods has an empty one."""
    both = [
        pod(n, labels={"app": "web"}, containers=[container(ports=[{"name": "http", "containerPort": p}])])
        for n, p in (("a", 1), ("b", 2))
    ]
    await cluster.make(service("web", target="http"), service("none"), *both)
    await cluster.until(lambda: sorted(s["ports"][0]["port"] for s in slices(cluster, "web") if s["ports"]) == [1, 2])

    await cluster.until(lambda: [s["endpoints"] for s in slices(cluster, "none")] == [[]])
    assert len(slices(cluster, "web")) == 2


async def test_unready_addresses_are_published_when_asked_for(cluster: Cluster) -> None:
    """With the host name a StatefulSet's pod has."""
    cluster.running = False
    await cluster.make(
        service("db", clusterIP="None", publishNotReadyAddresses=True), pod("db", hostname="db-0", subdomain="db")
    )
    await cluster.until(lambda: cluster.get("pods", "db")["spec"].get("nodeName"))
    await cluster.tell("db", "Running")
    one = await cluster.until(lambda: [e for s in slices(cluster, "db") for e in s["endpoints"]])

    assert one[0]["conditions"]["ready"] is True
    assert one[0]["hostname"] == "db-0"
    assert slices(cluster, "db")[0]["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


async def test_every_namespace_has_its_account_and_root(cluster: Cluster) -> None:
    """Made again when they are taken away."""
    await cluster.registry.create("namespaces", {"metadata": {"name": "shop"}})
    await cluster.until(lambda: cluster.registry.get("serviceaccounts", "shop", "default"))
    root = await cluster.until(lambda: cluster.registry.get("configmaps", "shop", "kube-root-ca.crt"))
    assert root["data"] == {"ca.crt": "ROOT"}
    await cluster.registry.delete("configmaps", "shop", "kube-root-ca.crt")
    await cluster.until(lambda: cluster.registry.get("configmaps", "shop", "kube-root-ca.crt"))


async def test_node_is_ready_and_found_by_its_services(cluster: Cluster) -> None:
    """Node, lease, API server and DNS."""
    node = cluster.registry.get("nodes", "", "devcluster")
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
    await cluster.until(lambda: cluster.registry.get("leases.coordination.k8s.io", "kube-node-lease", "devcluster"))

    assert cluster.registry.get("services", "default", "kubernetes")["spec"]["clusterIP"] == "10.96.0.1"
    assert cluster.registry.get("services", "kube-system", "kube-dns")["spec"]["clusterIP"] == "10.96.0.10"


async def test_pod_nobody_can_run_says_why(cluster: Cluster) -> None:
    """And is bound when the node comes to fit."""
    await cluster.make(pod("picky", nodeSelector={"disk": "fast"}))
    await cluster.until(lambda: cluster.events("FailedScheduling"))
    condition = cluster.get("pods", "picky")["status"]["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    await cluster.change("nodes", "devcluster", lambda o: o["metadata"]["labels"].update(disk="fast"))
    await cluster.until(lambda: cluster.get("pods", "picky")["spec"].get("nodeName") == "devcluster")


async def test_budget_counts_who_may_go(cluster: Cluster) -> None:
    """As evictions need it."""
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    }
    await cluster.make(budget, deployment("web", replicas=3))

    await cluster.until(lambda: cluster.get("poddisruptionbudgets.policy", "web")["status"]["disruptionsAllowed"] == 1)


async def test_same_event_counts_up(cluster: Cluster) -> None:
    """And one that cannot be stored disturbs nobody."""
    recorder = Recorder(cluster.registry, "test")
    task = asyncio.ensure_future(recorder.run())
    about = {"kind": "Pod", "metadata": {"name": "p", "namespace": "default", "uid": "u"}}
    recorder.say({"kind": "Pod", "metadata": {"name": "p", "namespace": "none", "uid": "u"}}, "Lost", "x")
    for _ in range(3):
        recorder.say(about, "Seen", "it")
    await cluster.until(lambda: [e["count"] for e in cluster.registry.list("events") if e["reason"] == "Seen"] == [3])
    task.cancel()


async def test_queue_never_works_on_a_key_twice_at_once() -> None:
    """What is added meanwhile is done after; what fails is tried again; one key does not hold up another."""
    running: set[str] = set()
    done: list[str] = []
    all_done = asyncio.Event()

    async def reconcile(_: str, name: str) -> float | None:
        assert name not in running
        running.add(name)
        await asyncio.sleep(0.01)
        running.discard(name)
        done.append(name)
        if [done.count(n) for n in ("a", "fails", "bad", "later")] == [2, 2, 2, 2]:
            all_done.set()
        if done.count("fails") == 1 and name == "fails":
            raise StatusError(409, "Conflict", "again")
        if done.count("bad") == 1 and name == "bad":
            raise ZeroDivisionError
        return 0.01 if done.count("later") == 1 and name == "later" else None

    loop = Loop("test", reconcile)
    task = asyncio.ensure_future(loop.run())
    for name in ("a", "a", "fails", "bad", "later"):
        loop.add("", name)
    await asyncio.sleep(0.005)
    loop.add("", "a")
    async with asyncio.timeout(2):
        await all_done.wait()
    task.cancel()
