"""Workload loops against a registry, with pods that only say they run."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.api.errors import StatusError
from devcluster.controllers.objects import hash_of, share, with_condition
from devcluster.controllers.rollouts import Count, recreate, rolling
from tests.support.loops import Cluster, running_loops
from tests.support.objects import container, deployment


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Running loops."""
    async with running_loops() as cluster:
        yield cluster


def complete(cluster: Cluster, name: str, count: int) -> bool:
    found = cluster.get("deployments.apps", name)
    status = found["status"]
    return (
        status["observedGeneration"] == found["metadata"]["generation"]
        and [status.get(k, 0) for k in ("replicas", "updatedReplicas", "availableReplicas")] == [count] * 3
    )


def next_template(obj: dict, word: str = "x") -> None:
    obj["spec"]["template"]["metadata"]["annotations"] = {"version": word}


async def test_deployment_rolls_within_its_bounds(cluster: Cluster) -> None:
    """Never more than surge allows nor fewer ready than promised; old ReplicaSets stay as revisions."""
    await cluster.make(deployment("web", replicas=4))
    await cluster.until(lambda: complete(cluster, "web", 4))
    cluster.most, cluster.fewest_ready = 0, 10**6
    await cluster.change("deployments.apps", "web", next_template)
    await cluster.until(lambda: complete(cluster, "web", 4))

    assert cluster.most <= 5
    assert cluster.fewest_ready >= 3
    sets = cluster.registry.list("replicasets.apps", "default")
    revisions = {s["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: s["spec"]["replicas"] for s in sets}
    assert revisions == {"1": 0, "2": 4}
    found = cluster.get("deployments.apps", "web")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    reasons = {c["type"]: c["reason"] for c in found["status"]["conditions"]}
    assert reasons == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}


async def test_going_back_takes_the_old_replicaset_again(cluster: Cluster) -> None:
    """An undo is a new revision of an old template; no third ReplicaSet is made."""
    await cluster.make(deployment("web", replicas=1))
    await cluster.until(lambda: complete(cluster, "web", 1))
    first = copy.deepcopy(cluster.get("deployments.apps", "web")["spec"]["template"])
    await cluster.change("deployments.apps", "web", next_template)
    await cluster.until(lambda: complete(cluster, "web", 1))
    await cluster.change("deployments.apps", "web", lambda o: o["spec"].update(template=first))
    await cluster.until(lambda: complete(cluster, "web", 1))
    sets = cluster.registry.list("replicasets.apps", "default")

    revisions = sorted(s["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for s in sets)
    assert revisions == ["2", "3"]


async def test_recreate_waits_for_the_last_old_pod(cluster: Cluster) -> None:
    """Old and new never run together."""
    one = deployment("web", replicas=2)
    one["spec"]["strategy"] = {"type": "Recreate"}
    await cluster.make(one)
    await cluster.until(lambda: complete(cluster, "web", 2))
    before = {p["metadata"]["name"] for p in cluster.pods()}
    cluster.most = 0
    await cluster.change("deployments.apps", "web", next_template)
    await cluster.until(lambda: complete(cluster, "web", 2) and len(cluster.pods()) == 2)

    assert cluster.most <= 2
    assert not before & {p["metadata"]["name"] for p in cluster.pods()}


async def test_paused_deployment_scales_but_does_not_roll(cluster: Cluster) -> None:
    """Resuming brings the new template in."""
    await cluster.make(deployment("web", replicas=1))
    await cluster.until(lambda: complete(cluster, "web", 1))
    await cluster.change(
        "deployments.apps", "web", lambda o: (o["spec"].update(paused=True, replicas=2), next_template(o))
    )
    await cluster.until(lambda: len(cluster.pods()) == 2)
    assert len(cluster.registry.list("replicasets.apps", "default")) == 1
    await cluster.change("deployments.apps", "web", lambda o: o["spec"].update(paused=False))
    await cluster.until(lambda: complete(cluster, "web", 2))

    assert len(cluster.registry.list("replicasets.apps", "default")) == 2


async def test_rejected_pods_are_told_on_the_way_up(cluster: Cluster) -> None:
    """The webhook's sentence stands in an event and in the conditions, and it goes on once it is allowed."""
    sentence = 'admission webhook "x.y.z" denied the request: no, because'
    allowed = False

    class Gate(type(cluster.registry.gate)):  # type: ignore[misc]
        async def mutate(self, step: object, obj: dict, old: object) -> dict:
            if obj["kind"] == "Pod" and old is None and not allowed:
                raise StatusError(400, "BadRequest", sentence)
            return obj

    cluster.registry.gate = Gate()
    await cluster.make(deployment("web"))
    await cluster.until(lambda: cluster.events("FailedCreate"))
    assert cluster.events("FailedCreate") == [f"Error creating: {sentence}"]

    def told() -> bool:
        conditions = cluster.get("deployments.apps", "web")["status"]["conditions"]
        return any(c["type"] == "ReplicaFailure" and c["message"] == sentence for c in conditions)

    await cluster.until(told)
    allowed = True
    await cluster.until(lambda: complete(cluster, "web", 1))


async def test_scaling_down_takes_the_unready_first(cluster: Cluster) -> None:
    """What serves stays."""
    await cluster.make(deployment("web", replicas=2))
    await cluster.until(lambda: complete(cluster, "web", 2))
    cluster.running = False
    await cluster.change("deployments.apps", "web", lambda o: o["spec"].update(replicas=3))
    await cluster.until(lambda: len(cluster.pods()) == 3)
    good = {p["metadata"]["name"] for p in cluster.pods() if p["status"]["phase"] == "Running"}
    await cluster.change("deployments.apps", "web", lambda o: o["spec"].update(replicas=2))
    await cluster.until(lambda: len(cluster.pods()) == 2)

    assert {p["metadata"]["name"] for p in cluster.pods()} == good


def stateful(name: str, replicas: int, **spec: object) -> dict:
    made = deployment(name, replicas) | {"kind": "StatefulSet"}
    made["spec"] |= {"serviceName": name, **spec}
    return made


async def test_statefulset_starts_in_order_and_updates_from_the_end(cluster: Cluster) -> None:
    """Names stay, the partition holds back, the revision moves when all have."""
    cluster.running = False
    await cluster.make(stateful("db", 3))
    await cluster.until(lambda: [p["metadata"]["name"] for p in cluster.pods()] == ["db-0"])
    cluster.running = True
    await cluster.tell("db-0", "Running", is_ready=True)
    await cluster.until(lambda: cluster.get("statefulsets.apps", "db")["status"].get("readyReplicas") == 3)
    first = cluster.get("statefulsets.apps", "db")["status"]["currentRevision"]
    assert cluster.get("pods", "db-1")["spec"]["hostname"] == "db-1"

    def hold(obj: dict) -> None:
        next_template(obj)
        obj["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}

    def updated() -> list[str]:
        pods = {p["metadata"]["name"]: p["metadata"]["labels"]["controller-revision-hash"] for p in cluster.pods()}
        return sorted(n for n, r in pods.items() if r != first)

    await cluster.change("statefulsets.apps", "db", hold)
    await cluster.until(lambda: updated() == ["db-2"])
    status = cluster.get("statefulsets.apps", "db")["status"]
    assert status["currentRevision"] == first != status["updateRevision"]
    await cluster.change(
        "statefulsets.apps", "db", lambda o: o["spec"]["updateStrategy"]["rollingUpdate"].update(partition=0)
    )
    await cluster.until(lambda: updated() == ["db-0", "db-1", "db-2"])
    await cluster.until(lambda: cluster.get("statefulsets.apps", "db")["status"]["currentRevision"] != first)
    await cluster.change("statefulsets.apps", "db", lambda o: o["spec"].update(replicas=1))
    await cluster.until(lambda: [p["metadata"]["name"] for p in cluster.pods()] == ["db-0"])


async def test_daemonset_has_one_pod_and_replaces_it(cluster: Cluster) -> None:
    """Also when its node selector meets no node: none."""
    one = deployment("agent") | {"kind": "DaemonSet"}
    del one["spec"]["replicas"]
    nowhere = copy.deepcopy(one)
    nowhere["metadata"]["name"] = "nowhere"
    nowhere["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    await cluster.make(one, nowhere)
    await cluster.until(lambda: cluster.get("daemonsets.apps", "agent")["status"].get("numberReady") == 1)
    first = cluster.pods()[0]["metadata"]["name"]
    await cluster.change("daemonsets.apps", "agent", next_template)

    def moved() -> bool:
        status = cluster.get("daemonsets.apps", "agent")["status"]
        return (
            status["observedGeneration"] == 2
            and status.get("updatedNumberScheduled") == 1
            and status["numberReady"] == 1
        )

    await cluster.until(moved)
    assert first not in {p["metadata"]["name"] for p in cluster.pods()}
    assert cluster.get("daemonsets.apps", "nowhere")["status"]["desiredNumberScheduled"] == 0


def job(name: str, **spec: object) -> dict:
    template = {"spec": {"restartPolicy": "Never", "containers": [container()]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}}


def conditions(cluster: Cluster, name: str) -> list[str]:
    return [c["type"] for c in cluster.get("jobs.batch", name)["status"].get("conditions") or []]


async def test_job_completes_when_enough_pods_succeeded(cluster: Cluster) -> None:
    """No more run at once than asked for; then the conditions say so."""
    await cluster.make(job("work", completions=3, parallelism=2))
    for _ in range(3):
        await cluster.until(lambda: [p for p in cluster.pods() if p["status"]["phase"] == "Running"])
        assert len([p for p in cluster.pods() if p["status"]["phase"] in {"Running", "Pending"}]) <= 2
        name = next(p["metadata"]["name"] for p in cluster.pods() if p["status"]["phase"] == "Running")
        await cluster.tell(name, "Succeeded")
    await cluster.until(lambda: conditions(cluster, "work") == ["SuccessCriteriaMet", "Complete"])
    status = cluster.get("jobs.batch", "work")["status"]

    assert (status["succeeded"], status.get("active")) == (3, None)
    assert "completionTime" in status


async def test_job_fails_at_its_backoff_limit_or_deadline(cluster: Cluster) -> None:
    """What still runs is ended."""
    await cluster.make(job("bad", backoffLimit=0), job("late", activeDeadlineSeconds=1))
    await cluster.until(lambda: len([p for p in cluster.pods() if p["status"]["phase"] == "Running"]) == 2)
    name = next(p["metadata"]["name"] for p in cluster.pods() if p["metadata"]["labels"]["job-name"] == "bad")
    await cluster.tell(name, "Failed")
    await cluster.until(lambda: conditions(cluster, "bad") == ["FailureTarget", "Failed"])
    await cluster.until(lambda: conditions(cluster, "late") == ["FailureTarget", "Failed"])

    reasons = {n: cluster.get("jobs.batch", n)["status"]["conditions"][-1]["reason"] for n in ("bad", "late")}
    assert reasons == {"bad": "BackoffLimitExceeded", "late": "DeadlineExceeded"}


async def test_finished_job_goes_when_its_time_is_over(cluster: Cluster) -> None:
    """A time to live of nothing is at once."""
    await cluster.make(job("brief", ttlSecondsAfterFinished=0))
    await cluster.until(lambda: cluster.pods() and cluster.pods()[0]["status"]["phase"] == "Running")
    await cluster.tell(cluster.pods()[0]["metadata"]["name"], "Succeeded")
    await cluster.until(lambda: not cluster.registry.list("jobs.batch"))


@given(
    replicas=st.integers(0, 8),
    front=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    old=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=3),
    surge=st.sampled_from([0, 1, 3, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, 2, "25%", "50%"]),
)
def test_a_step_of_a_rollout_keeps_its_promises(
    replicas: int, front: tuple[int, int], old: list[tuple[int, int]], surge: int | str, unavailable: int | str
) -> None:
    """Whatever there is, nobody is taken away below the promise, and nothing is added above the surge."""
    spec = {"replicas": replicas, "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}
    new = front[0]
    head = Count(name="new", wanted=new, present=new, available=min(front))
    rest = [Count(name=f"old{i}", wanted=w, present=w, available=min(w, r)) for i, (w, r) in enumerate(old)]
    numbers = rolling(spec, head, rest)
    most = replicas + max(share(surge, replicas, up=True), 0)
    least = replicas - max(share(unavailable, replicas, up=False), 0 if share(surge, replicas, up=True) else 1)
    total = sum(numbers.get(c.name, c.wanted) for c in [head, *rest])
    available = sum(min(c.available, numbers.get(c.name, c.wanted)) for c in [head, *rest])
    before = sum(c.available for c in [head, *rest])

    assert all(0 <= numbers.get(c.name, c.wanted) <= max(c.wanted, replicas) for c in [head, *rest])
    assert total <= max(most, new + sum(w for w, _ in old))
    if new <= replicas:
        assert available >= min(before, least)


def test_recreation_waits() -> None:
    """First the old to nothing, then nothing, then the new."""
    spec = {"replicas": 2}
    new, old = Count(name="n", wanted=0, present=0, available=0), Count(name="o", wanted=2, present=2, available=2)
    gone = Count(name="o", wanted=0, present=0, available=0)

    assert recreate(spec, new, [old], old_pods=2) == {"o": 0}
    assert recreate(spec, new, [gone], old_pods=1) == {}
    assert recreate(spec, new, [gone], old_pods=0) == {"n": 2}


def test_conditions_keep_their_times_and_hashes_are_stable() -> None:
    """What says the same is not touched."""
    first = with_condition([], {"type": "A", "status": "True", "reason": "R", "message": "m"})
    assert with_condition(first, {"type": "A", "status": "True", "reason": "R", "message": "m"}) == first
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert len(hash_of("x", 5)) == 5
