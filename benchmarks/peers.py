"""The proxies under test: pairs of our sidecar and of Envoy, started from the same configuration, pinned to one CPU.

In: a `Plan`. Out: a running `Pair` with the process ids to measure. A proxy that does not get ready raises PeerError with the
last lines it said. Everything listens on loopback only.
"""

from __future__ import annotations

import compileall
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bootstrap, certificates, inside, limits
from benchmarks.bootstrap import Plan, Ports
from benchmarks.certificates import Identity

ROOT = Path(__file__).resolve().parents[1]
ENVOY = Path(os.environ.get("TULLE_ENVOY", ROOT / ".venv-envoy" / "bin" / "envoy"))
PROXY_CPU = "0"
OTHER_CPU = "1"
READY_SECONDS = 15.0


class PeerError(RuntimeError):
    """A proxy that did not start; the message has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One running proxy."""

    pid: int
    seconds_to_ready: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A caller's proxy and a callee's."""

    outbound: Proxy
    inbound: Proxy
    ports: Ports
    peer: str
    caller: Identity


def free_ports(count: int) -> list[int]:
    """Find ports nobody uses now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def pair(peer: str, plan: Plan, app_port: int) -> Iterator[Pair]:
    """Run a pair of `tulle` or `envoy` proxies."""
    first, second, third, fourth = free_ports(4)
    ports = Ports(outbound=first, inbound=second, app=app_port, outbound_admin=third, inbound_admin=fourth)
    caller, callee = certificates.make("caller", "callee")
    with tempfile.TemporaryDirectory(prefix="tulle-bench-") as folder:
        home = Path(folder)
        documents = {
            "inbound": (bootstrap.inbound(plan, ports, callee, caller), ports.inbound_admin),
            "outbound": (bootstrap.outbound(plan, ports, caller, callee), ports.outbound_admin),
        }
        started: list[subprocess.Popen[bytes]] = []
        try:
            proxies = {}
            for name, (document, admin) in documents.items():
                path = home / f"{name}.json"
                path.write_text(json.dumps(document))
                if peer in limits.PEERS:
                    me = callee if name == "inbound" else caller
                    command = limits.command(peer, name, plan, ports, me, home)
                    ready = f"tcp:{ports.inbound if name == 'inbound' else ports.outbound}"
                else:
                    command, ready = _command(peer, path, admin)
                proxies[name] = start(command, ready, home / f"{name}.log", started)
            yield Pair(**proxies, ports=ports, peer=peer, caller=caller)
        finally:
            for process in started:
                process.kill()
                process.wait()


def start(command: list[str], ready: str, log: Path, started: list[subprocess.Popen[bytes]]) -> Proxy:
    """Start one proxy, pinned, and wait until it is ready; raises PeerError."""
    begin = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(["taskset", "-c", PROXY_CPU, *command], stdout=out, stderr=out, cwd=ROOT)
    started.append(process)
    while not _answers(ready):
        if process.poll() is not None or time.monotonic() - begin > READY_SECONDS:
            last = log.read_text(errors="replace")[-2000:]
            raise PeerError(f"`{' '.join(command[:6])}` did not get ready; it said last:\n{last}")
        time.sleep(0.005)  # readiness is asked for over the network: there is no event to await from outside
    return Proxy(pid=process.pid, seconds_to_ready=time.monotonic() - begin)


def _command(peer: str, path: Path, admin: int) -> tuple[list[str], str]:
    """Return how to run a proxy, and where it says that it is ready."""
    if peer == "envoy":
        command = [str(ENVOY), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        return command, f"http://127.0.0.1:{admin}/ready"
    arguments = [
        "--config",
        str(path),
        "--admin-port",
        str(admin),
        "--admin-host",
        "127.0.0.1",
        "--log-level",
        "warning",
    ]
    ready = f"http://127.0.0.1:{admin}/healthz/ready"
    if inside.ARCHIVE:
        return inside.command(arguments, path.parent), ready
    _write_bytecode()
    return [sys.executable, "-m", "dataplane", *arguments], ready


@functools.cache
def _write_bytecode() -> None:
    """Have what an installed sidecar has: a tree that only ran tests may have none, and would be compiled at each start."""
    for package in ("dataplane", "meshapi"):
        compileall.compile_dir(ROOT / package, quiet=1)


def _answers(url: str) -> bool:
    try:
        if url.startswith("tcp:"):
            with socket.create_connection(("127.0.0.1", int(url[4:])), 1):
                return True
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
