"""What asks: h2load for requests, `steady` where they come one by one, a plain socket for bytes, many idle connections, many short ones.

In: a port and how much. Out: a `Load`: requests answered well, failures, latencies in milliseconds. A run with failures is
said so, and the case that made it fails: figures of failed requests mean nothing.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.certificates import Identity
from benchmarks.peers import OTHER_CPU, ROOT


class LoadError(RuntimeError):
    """A load that did not go as it should; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of one run."""

    requests: int
    seconds: float
    latencies: tuple[float, ...] = ()
    """Milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """How h2load is to ask."""

    connections: int = 32
    streams: int = 1
    version: int = 1
    path: str = "/"
    grpc: bool = False
    rate: int = 0
    """Requests a second over all connections; 0 is as many as go."""


_FINISHED = re.compile(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")
_STATUS = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
AT_ONCE = 4
"""Connections churned at the same time."""
WARM_UP = 0.3
"""Seconds h2load asks before it counts."""


def http(port: int, how: Http, seconds: float) -> Load:
    """Ask for so many seconds; raises LoadError when any answer was not 2xx."""
    with tempfile.TemporaryDirectory(prefix="tulle-load-") as folder:
        log = Path(folder) / "log"
        command = [
            "taskset",
            "-c",
            OTHER_CPU,
            "h2load",
            "-D",
            f"{seconds * 1000:.0f}ms",
            "--warm-up-time",
            f"{WARM_UP * 1000:.0f}ms",
        ]
        command += ["-c", str(how.connections), "-m", str(how.streams), "-t", "1"]
        if how.version == 1:
            command.append("--h1")
        if how.rate:
            command += ["--rps", f"{how.rate / how.connections:g}", f"--log-file={log}"]
        if how.grpc:
            body = Path(folder) / "body"
            body.write_bytes(b"\0\0\0\0\x40" + b"y" * 64)
            command += ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{how.path}"], capture_output=True, text=True, check=False, timeout=120
        )
        found, status = _FINISHED.search(done.stdout), _STATUS.search(done.stdout)
        if done.returncode or not found or not status:
            raise LoadError(f"h2load ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
        failed, other = int(found[3]) + int(found[4]), sum(int(status[kind]) for kind in (2, 3, 4))
        if failed or other:
            raise LoadError(f"{failed} requests failed, {other} were not 2xx: {done.stdout[-800:]}")
        latencies: tuple[float, ...] = ()
        if how.rate:
            latencies = tuple(int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines())
        return Load(requests=int(found[1]), seconds=seconds, latencies=latencies)


def steady(port: int, how: Http, seconds: float) -> Load:
    """Ask at a rate, one request by one; raises LoadError when any answer was not 200."""
    command = ["taskset", "-c", OTHER_CPU, sys.executable, "-m", "benchmarks.steady"]
    command += [str(port), str(how.connections), str(how.rate), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    if done.returncode:
        raise LoadError(f"asking at a rate of {how.rate} failed: {done.stderr[-800:]}")
    latencies = tuple(json.loads(done.stdout))
    return Load(requests=len(latencies), seconds=seconds, latencies=latencies)


def receive_bytes(port: int, count: int) -> None:
    """Receive so many bytes over one connection; raises LoadError when fewer come."""
    room = bytearray(1024 * 1024)
    left = count
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(count.to_bytes(8, "big"))
        while left:
            got = connection.recv_into(room)
            if not got:
                raise LoadError(f"the connection ended {left} bytes too early")
            left -= got


def first_bytes(port: int, count: int) -> list[float]:
    """Open one connection after another, have a byte come and end it; return the milliseconds each took to its byte."""
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall((1).to_bytes(8, "big"))
            if not connection.recv(1):
                raise LoadError("the connection ended without its byte")
            took.append((time.perf_counter() - begun) * 1000)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
    return took


def mutual_tls(me: Identity) -> ssl.SSLContext:
    """Build the context of a client of the mesh: TLS 1.3, its own certificate, the mesh's root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=me.root)
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(me.key + me.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def hold(port: int, count: int, tls: ssl.SSLContext | None) -> list[socket.socket]:
    """Open connections, ask once on each, and keep them open; raises LoadError when an answer is not 200."""
    request = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    held = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), 10)
        # Or the request waits for the acknowledgement of the handshake's last flight, which is delayed by 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection = tls.wrap_socket(connection)
        connection.sendall(request)
        answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"an answer was not 200: {answer[:200]!r}")
        held.append(connection)
    return held


def churn(port: int, count: int, tls: ssl.SSLContext | None) -> None:
    """Open a connection, ask, close; so many times, a few at once so that the proxy never waits for us."""

    def once(_: int) -> None:
        for connection in hold(port, 1, tls):
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(once, range(count)):
            pass
