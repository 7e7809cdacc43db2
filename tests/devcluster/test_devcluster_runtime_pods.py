"""Pods as processes: order, ends, restarts, probes, and what a container sees."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from devcluster.api.errors import StatusError
from tests.support.node import Node, in_node
from tests.support.objects import container, pod, service

PRINT = "import sys,time;print({},flush=True)"
STAY = (
    "import os,signal,sys,time\n"
    "signal.signal(signal.SIGTERM,lambda *_:(os.write(1,b'term %f\\n'%time.monotonic()),sys.exit(0)))\n"
)
WAIT = STAY + "print('up',time.monotonic(),flush=True)\nsignal.pause()\n"


def python(code: str) -> list[str]:
    return ["python", "-c", code]


def test_a_bare_pod_runs_and_succeeds(tmp_path: Path) -> None:
    """A pod is bound, runs, tells its end, and its log can be read."""

    async def scenario(node: Node) -> None:
        await node.make(pod("once", restartPolicy="Never", containers=[container(command=python("print('hi')"))]))
        done = await node.phase("once", "Succeeded")

        assert await node.log("once") == "hi\n"
        ended = done["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
        await node.until(lambda: node.events("Started") == ["Started container app"])
        await node.registry.delete("pods", "default", "once")
        await node.gone("pods", "once")

    in_node(tmp_path, scenario)


def test_failure_is_told_with_its_code(tmp_path: Path) -> None:
    """A program's own code, a signal's, and one that does not exist."""

    async def scenario(node: Node) -> None:
        ends = {
            "code": python("import sys;sys.exit(3)"),
            "kill": python("import os;os.kill(os.getpid(),9)"),
            "none": ["nonsense"],
        }
        await node.make(*[pod(n, restartPolicy="Never", containers=[container(command=c)]) for n, c in ends.items()])
        told = {}
        for name in ends:
            status = (await node.phase(name, "Failed"))["status"]["containerStatuses"][0]
            told[name] = status["state"]["terminated"]

        assert {name: told[name]["exitCode"] for name in ends} == {"code": 3, "kill": 137, "none": 128}
        assert told["none"]["message"] == 'exec: "nonsense": executable file not found in $PATH'

    in_node(tmp_path, scenario)


def test_init_containers_run_in_order_and_sidecars_stay(tmp_path: Path) -> None:
    """A sidecar that has started lets the next one begin, goes on beside the app, and ends after it."""

    async def scenario(node: Node) -> None:
        started = python("import pathlib,time;time.sleep(0.2);pathlib.Path('/s/ok').touch()\n" + WAIT)
        mounts = [{"name": "s", "mountPath": "/s"}]
        probe = {"exec": {"command": ["test", "-e", "/s/ok"]}}
        sidecar = container("side", started, restartPolicy="Always", startupProbe=probe, volumeMounts=mounts)
        after = container(
            "after", python("import os;assert os.path.exists('/s/ok');print('seen')"), volumeMounts=mounts
        )
        app = container(command=python(WAIT))
        made = pod("ordered", initContainers=[container("first", python("print(1)")), sidecar, after], containers=[app])
        made["spec"]["volumes"] = [{"name": "s", "emptyDir": {}}]
        await node.make(made)
        status = (await node.ready("ordered"))["status"]

        assert await node.log("ordered", "after") == "seen\n"
        assert [s["ready"] for s in status["initContainerStatuses"]] == [True, True, True]
        await node.logged("ordered", "up", "app")
        follow = {name: asyncio.ensure_future(node.log("ordered", name, follow=True)) for name in ("app", "side")}
        await node.registry.delete("pods", "default", "ordered")
        ends = {name: float((await log).split()[-1]) for name, log in follow.items()}
        await node.gone("pods", "ordered")
        assert ends["app"] < ends["side"]

    in_node(tmp_path, scenario)


def test_job_like_pod_succeeds_though_its_sidecar_runs_on(tmp_path: Path) -> None:
    """Only the app decides; the sidecar is ended for it."""

    async def scenario(node: Node) -> None:
        side = container("side", python(WAIT), restartPolicy="Always")
        app = container(command=python("print(1)"))
        await node.make(pod("work", restartPolicy="Never", initContainers=[side], containers=[app]))
        status = (await node.phase("work", "Succeeded"))["status"]

        assert "terminated" in status["initContainerStatuses"][0]["state"]

    in_node(tmp_path, scenario)


def test_failing_init_container_keeps_the_app_from_starting(tmp_path: Path) -> None:
    """With restartPolicy Never the pod has failed."""

    async def scenario(node: Node) -> None:
        bad = container("bad", python("import sys;sys.exit(1)"))
        await node.make(pod("stuck", restartPolicy="Never", initContainers=[bad]))
        status = (await node.phase("stuck", "Failed"))["status"]

        assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"

    in_node(tmp_path, scenario)


def test_crashing_container_restarts_and_backs_off(tmp_path: Path) -> None:
    """The first restart is at once, then CrashLoopBackOff; the previous run's log is kept."""

    async def scenario(node: Node) -> None:
        crash = python("import os,pathlib;p=pathlib.Path('/d/n');n=len(p.read_text()) if p.exists() else 0\n"
                       "p.write_text('x'*(n+1));print('run',n);raise SystemExit(1)")  # fmt: skip
        made = pod("crash", containers=[container(command=crash, volumeMounts=[{"name": "d", "mountPath": "/d"}])])
        made["spec"]["volumes"] = [{"name": "d", "emptyDir": {}}]
        await node.make(made)

        def waiting() -> bool:
            statuses = node.get("pods", "crash")["status"].get("containerStatuses") or [{"state": {}}]
            state = statuses[0]["state"]
            return state.get("waiting", {}).get("reason") == "CrashLoopBackOff"

        await node.until(waiting)
        status = node.get("pods", "crash")["status"]["containerStatuses"][0]

        assert status["restartCount"] == 1
        assert status["lastState"]["terminated"]["exitCode"] == 1
        assert status["state"]["waiting"]["message"].startswith(
            "back-off 10s restarting failed container=app pod=crash_"
        )
        assert await node.log("crash") == "run 1\n"
        assert await node.log("crash", previous=True) == "run 0\n"
        begin = time.monotonic()
        await node.registry.delete("pods", "default", "crash")
        await node.gone("pods", "crash")
        assert time.monotonic() - begin < 1

    in_node(tmp_path, scenario)


def test_probes_decide_readiness_and_life(tmp_path: Path) -> None:
    """HTTP, TCP and exec probes; a liveness probe that fails restarts the container."""

    async def scenario(node: Node) -> None:
        http = {"httpGet": {"path": "/x", "port": "web"}, "periodSeconds": 1}
        tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
        ports = [{"name": "web", "containerPort": 8080}]
        well = pod("well", containers=[container(ports=ports, readinessProbe=http, livenessProbe=tcp)])
        dead = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
        ill = pod("ill", terminationGracePeriodSeconds=0, containers=[container(livenessProbe=dead)])
        never = pod("never", containers=[container(readinessProbe={"tcpSocket": {"port": 1}, "periodSeconds": 1})])
        await node.make(well, ill, never)
        await node.ready("well")
        await node.until(lambda: node.events("Killing"))
        await node.until(lambda: node.get("pods", "ill")["status"]["containerStatuses"][0]["restartCount"])
        await node.until(lambda: node.events("Unhealthy"))

        assert not node.get("pods", "never")["status"]["containerStatuses"][0]["ready"]
        assert "Container app failed liveness probe, will be restarted" in node.events("Killing")
        address = node.get("pods", "never")["status"]["podIP"]
        await node.until(lambda: any("Readiness probe failed" in m and address in m for m in node.events("Unhealthy")))

    in_node(tmp_path, scenario)


def test_grace_is_given_and_then_over(tmp_path: Path) -> None:
    """A program that ignores SIGTERM is killed when its grace is over, with all its children; preStop runs before."""

    async def scenario(node: Node) -> None:
        deaf = "import signal,subprocess,time\nsignal.signal(signal.SIGTERM,signal.SIG_IGN)\nsubprocess.Popen(['sleep','987'])\n"
        hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo stopped > /proc/2/fd/1"]}}}
        app = container(command=python(deaf + "print('up',flush=True);time.sleep(60)"), lifecycle=hook)
        await node.make(pod("deaf", terminationGracePeriodSeconds=1, containers=[app]))
        await node.ready("deaf")
        await node.logged("deaf", "up")
        log = asyncio.ensure_future(node.log("deaf", follow=True))
        begin = time.monotonic()
        await node.registry.delete("pods", "default", "deaf")
        await node.gone("pods", "deaf")

        assert 1.0 <= time.monotonic() - begin < 4
        assert await log == "up\nstopped\n"

    in_node(tmp_path, scenario)
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x00987" in read(p)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_containers_run_as_whom_they_should(tmp_path: Path) -> None:
    """User, groups, capabilities, no new privileges and a read-only root are what the security contexts say."""

    async def scenario(node: Node) -> None:
        strict = {
            "runAsUser": 1000,
            "runAsGroup": 2000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        admin = {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}
        root = {"runAsNonRoot": True}
        made = pod(
            "who",
            securityContext={"fsGroup": 3000},
            containers=[
                container("strict", securityContext=strict, volumeMounts=[{"name": "t", "mountPath": "/tmp"}]),
                # It serves nothing: on one port the second would die, and whatever runs in it then is killed with it.
                container("admin", ["sleep", "1000"], securityContext=admin),
            ],
            volumes=[{"name": "t", "emptyDir": {}}],
        )
        await node.make(made, pod("root", containers=[container(securityContext=root)]))
        await node.ready("who")
        _, said = await node.run(
            "who",
            "sh",
            "-c",
            "id -u; id -g; id -G; touch /x; touch /tmp/x && echo wrote; grep -E 'CapEff|NoNew' /proc/self/status",
            container="strict",
        )
        _, admin_said = await node.run(
            "who", "sh", "-c", "grep CapEff /proc/self/status; nft add table ip t && nft list tables", container="admin"
        )

        assert said.split("\n")[:3] == ["1000", "2000", "2000 3000"]
        assert "Read-only file system" in said
        assert "wrote" in said
        assert "CapEff:\t0000000000000000" in said
        assert "NoNewPrivs:\t1" in said
        assert "CapEff:\t0000000000001000" in admin_said
        assert "table ip t" in admin_said
        states = node.get("pods", "who")["status"]["containerStatuses"]
        assert [state["restartCount"] for state in states] == [0, 0]
        state = node.get("pods", "root")["status"]["containerStatuses"][0]["state"]["waiting"]
        assert state["reason"] == "CreateContainerConfigError"
        assert state["message"].startswith("container has runAsNonRoot and image will run as root")

    in_node(tmp_path, scenario)


def test_the_machine_is_never_changed(tmp_path: Path) -> None:
    """What a container writes outside its volumes is gone with it, also as root."""
    marker = f"/usr/marker-{os.getpid()}"

    async def scenario(node: Node) -> None:
        write = f"touch {marker} /tmp/here && ls {marker} /tmp/here && test ! -e {tmp_path} && echo hidden"
        await node.make(pod("writer", restartPolicy="Never", containers=[container(command=["sh", "-c", write])]))
        await node.phase("writer", "Succeeded")

        assert await node.log("writer") == f"/tmp/here\n{marker}\nhidden\n"

    in_node(tmp_path, scenario)
    assert not Path(marker).exists()


def test_services_lead_to_ready_pods_and_refuse_at_once_otherwise(tmp_path: Path) -> None:
    """ClusterIP by name, also from the pod behind it; headless names give pods; nobody there is refused, not awaited."""

    async def scenario(node: Node) -> None:
        ready = {"httpGet": {"port": 8080}, "periodSeconds": 1}
        ports = [{"name": "http", "containerPort": 8080}]
        both = [
            pod(n, labels={"app": "web"}, containers=[container(ports=ports, readinessProbe=ready)])
            for n in ("w1", "w2")
        ]
        headless = service("pods", target="http", clusterIP="None", selector={"app": "web"})
        await node.make(service("web", target="http"), service("nobody"), headless, *both)
        await node.ready("w1")
        await node.ready("w2")
        await node.until(lambda: len(node.registry.list("endpointslices.discovery.k8s.io", "default")) >= 3)
        code = (
            "import urllib.request as u,socket,time\n"
            "print(sorted({u.urlopen('http://web',timeout=5).read().decode() for _ in range(20)}))\n"
            "print(len(socket.getaddrinfo('pods.default.svc.cluster.local',80,0,socket.SOCK_STREAM)))\n"
            "t=time.time()\n"
            "for host in ('http://nobody','http://absent'):\n"
            "  try: u.urlopen(host,timeout=5)\n"
            "  except OSError as e: print(e)\n"
            "print(time.time()-t<1)\n"
        )

        def settled() -> bool:
            piece = node.registry.list(
                "endpointslices.discovery.k8s.io", "default", labels="kubernetes.io/service-name=web"
            )
            return sum(e["conditions"]["ready"] for s in piece for e in s["endpoints"]) == 2

        await node.until(settled)
        await asyncio.sleep(0.2)
        _, said = await node.run("w1", *python(code))

        assert said.split("\n") == [
            "['w1', 'w2']",
            "2",
            "<urlopen error [Errno 111] Connection refused>",
            "<urlopen error [Errno -2] Name or service not known>",
            "True",
        ]

    in_node(tmp_path, scenario)


def test_exec_and_dial_reach_into_the_pod(tmp_path: Path) -> None:
    """Input, outputs, code, a terminal, and a connection to the pod's own loopback."""

    async def scenario(node: Node) -> None:
        await node.make(pod("in", containers=[container(readinessProbe={"tcpSocket": {"port": 8080}})]))
        await node.ready("in")

        async def typed() -> object:
            yield b"hello"

        code = "import sys;print(sys.stdin.read().upper());sys.exit(7)"
        assert await node.run("in", *python(code), stdin=typed()) == (7, "HELLO")
        assert await node.run("in", *python("import sys;sys.stderr.write('E')")) == (0, "E")
        assert (await node.run("in", "tty", tty=True))[1].startswith("/dev/pts/")
        assert (await node.run("in", "sh", "-c", "kill -9 $$"))[0] == 137
        with pytest.raises(StatusError, match="executable file not found"):
            await node.run("in", "nonsense")
        with pytest.raises(StatusError, match="container other is not valid for pod in"):
            await node.run("in", "true", container="other")
        reader, writer = await node.kubelet.dial("default", "in", 8080)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"in")
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await node.kubelet.dial("default", "in", 1)

    in_node(tmp_path, scenario)


def test_unknown_image_waits_with_a_sentence(tmp_path: Path) -> None:
    """The state says what this machine stands in for."""

    async def scenario(node: Node) -> None:
        await node.make(pod("odd", containers=[container() | {"image": "redis:7"}]))

        def state() -> dict:
            statuses = node.get("pods", "odd")["status"].get("containerStatuses") or [{"state": {}}]
            return statuses[0]["state"].get("waiting", {})

        await node.until(lambda: state().get("reason") == "ErrImagePull")
        assert 'failed to pull image "redis:7"' in state()["message"]
        assert "python:*" in state()["message"]
        with pytest.raises(StatusError, match='container "app" in pod "odd" is waiting to start: ErrImagePull'):
            await node.log("odd")

    in_node(tmp_path, scenario)


def test_host_network_and_hooks(tmp_path: Path) -> None:
    """A pod on the node's network has the node's address and name; a failed postStart restarts, a good one comes first."""

    async def scenario(node: Node) -> None:
        wait = {"postStart": {"exec": {"command": python("import time;time.sleep(0.2)")}}}
        bad = {"postStart": {"exec": {"command": ["false"]}}}
        await node.make(
            pod("host", hostNetwork=True, containers=[container(command=python(WAIT))]),
            pod("hooked", containers=[container(command=python(WAIT), lifecycle=wait)]),
            pod("bad", terminationGracePeriodSeconds=0, containers=[container(command=python(WAIT), lifecycle=bad)]),
        )
        status = (await node.ready("host"))["status"]
        assert status["podIP"] == status["hostIP"] == "172.18.0.2"
        assert await node.run("host", "hostname") == (0, "devcluster")
        await node.ready("hooked")
        await node.until(lambda: node.events("FailedPostStartHook"))
        await node.until(lambda: node.get("pods", "bad")["status"]["containerStatuses"][0]["restartCount"])

    in_node(tmp_path, scenario)


def test_sidecar_that_crashes_comes_back_while_the_app_goes_on(tmp_path: Path) -> None:
    """Also in a pod that never restarts its apps."""

    async def scenario(node: Node) -> None:
        side = container("side", python(WAIT), restartPolicy="Always")
        await node.make(
            pod("pair", restartPolicy="Never", initContainers=[side], containers=[container(command=python(WAIT))])
        )
        await node.ready("pair")
        await node.run("pair", "sh", "-c", "kill -9 2", container="side")

        def back() -> bool:
            status = node.get("pods", "pair")["status"]
            one = status["initContainerStatuses"][0]
            return one["restartCount"] == 1 and "running" in one["state"] and status["phase"] == "Running"

        await node.until(back)
        assert node.get("pods", "pair")["status"]["containerStatuses"][0]["restartCount"] == 0

    in_node(tmp_path, scenario)
