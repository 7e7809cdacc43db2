"""How pods are told and what their logs keep."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devcluster.runtime.logs import LogFile, LogOptions
from devcluster.runtime.status import ContainerState, PodState, pod_status
from tests.support.objects import container, pod

RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
WAITING = {"waiting": {"reason": "PodInitializing"}}


def ended(code: int) -> dict:
    return {"terminated": {"exitCode": code}}


def known(state: dict, *, init: bool = False, sidecar: bool = False, ready: bool = False) -> ContainerState:
    spec = container("init" if init else "app")
    return ContainerState(spec=spec, init=init, sidecar=sidecar, state=state, ready=ready, started=ready, identity="x")


@pytest.mark.parametrize(
    ("policy", "containers", "phase"),
    [
        ("Always", [known(WAITING)], "Pending"),
        ("Always", [known(RUNNING, init=True), known(WAITING)], "Pending"),
        ("Always", [known(ended(0), init=True), known(RUNNING)], "Running"),
        ("Always", [known(ended(1))], "Running"),
        ("Never", [known(ended(0))], "Succeeded"),
        ("Never", [known(ended(1))], "Failed"),
        ("OnFailure", [known(ended(0))], "Succeeded"),
        ("OnFailure", [known(ended(1))], "Running"),
        ("Never", [known(ended(1), init=True), known(WAITING)], "Failed"),
        ("Never", [known(RUNNING, init=True, sidecar=True, ready=True), known(ended(0))], "Succeeded"),
    ],
)
def test_phase_follows_containers_and_policy(policy: str, containers: list[ContainerState], phase: str) -> None:
    """As the kubelet decides it, once everything has ended."""
    assert pod_status(pod("p", restartPolicy=policy), PodState(containers=containers, over=True))["phase"] == phase


def test_no_final_phase_while_something_runs() -> None:
    """A sidecar that still ends keeps the pod running."""
    containers = [known(RUNNING, init=True, sidecar=True, ready=True), known(ended(0))]
    assert pod_status(pod("p", restartPolicy="Never"), PodState(containers=containers))["phase"] == "Running"


def test_conditions_say_what_is_missing_and_keep_their_time() -> None:
    """Ready needs every app, every sidecar and every gate."""
    made = pod("p", readinessGates=[{"conditionType": "x/y"}])
    own = {"type": "x/y", "status": "False"}
    made["status"] = {"conditions": [own]}
    first = pod_status(made, PodState(containers=[known(RUNNING, ready=True)], address="10.244.0.1"))
    by_type = {c["type"]: c for c in first["conditions"]}
    assert by_type["ContainersReady"]["status"] == "True"
    assert by_type["Ready"]["reason"] == "ReadinessGatesNotReady"
    assert by_type["x/y"] == own
    made["status"] = first | {"conditions": [c | {"lastTransitionTime": "then"} for c in first["conditions"]]}
    again = pod_status(made, PodState(containers=[known(RUNNING)], address="10.244.0.1"))
    times = {c["type"]: c["lastTransitionTime"] for c in again["conditions"]}

    assert times["Initialized"] == "then"
    assert times["ContainersReady"] != "then"


async def test_log_gives_what_is_asked_for(tmp_path: Path) -> None:
    """Tail, time stamps, limits; unfinished and over-long lines come back as they were."""
    log = LogFile(tmp_path / "0.log")
    log.write("stdout", b"one\ntwo\nthr")
    log.write("stderr", b"err\n")
    log.write("stdout", b"ee\n" + b"x" * 40000)

    async def read(**options: object) -> str:
        return b"".join([c async for c in log.read(LogOptions(**options))]).decode()

    assert (await read()).startswith("one\ntwo\nerr\nthree\n")
    assert await read(tail=0) == ""
    assert await read(limit_bytes=5) == "one\nt"
    assert (await read(timestamps=True)).split("\n")[0].endswith("Z one")
    assert await read(since_time="2100-01-01T00:00:00Z") == ""
    log.close()
    assert (await read()).split("\n")[-1] == "x" * 40000


async def test_follower_is_woken_by_each_write_until_the_end(tmp_path: Path) -> None:
    """Nothing is polled, nothing is lost."""
    log = LogFile(tmp_path / "0.log")
    log.write("stdout", b"old\n")
    seen: list[bytes] = []

    async def follow() -> None:
        async for chunk in log.read(LogOptions(follow=True, tail=0)):
            seen.append(chunk)  # noqa: PERF401 - what came is looked at meanwhile

    task = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    log.write("stdout", b"new\n")
    await asyncio.sleep(0)
    assert seen == [b"new\n"]
    log.write("stdout", b"last\n")
    log.close()
    await task

    assert seen == [b"new\n", b"last\n"]
