"""Measure one case: both peers up at once, asked in turn, several rounds, medians.

In: a `Case`. Out: `Result` with a figure for each peer. Only one proxy works at a time; the other sleeps in epoll. Envoy is
measured with HTTP/1.1 and with HTTP/2 between its proxies where that makes a difference, and the better one counts.
"""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks import limits, load, measure, profiling
from benchmarks.cases import Case
from benchmarks.peers import OTHER_CPU, ROOT, Pair, Proxy, free_ports, pair

ROUNDS = 5
SECONDS = 3.0
GIGABYTE = 10**9
HELD = 1000
CHURNS = (1000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a case."""

    tulle: float
    envoy: float
    ratio: float
    unit: str
    detail: dict[str, list[float]]
    """Every round's figure by peer and setting."""
    profile: list[str] = field(default_factory=list)
    """Where our time goes, the ten costliest symbols of the outbound proxy; empty where `perf` cannot be used."""


@contextmanager
def _backend(case: Case) -> Iterator[int]:
    """Run the app at the far end."""
    (port,) = free_ports(1)
    kind = "tcp" if case.plan.app == "tcp" else "http"
    command = ["taskset", "-c", OTHER_CPU, sys.executable, "-m", "benchmarks.backend", kind, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            if process.stdout is None or process.stdout.readline() != b"ready\n":
                raise load.LoadError("the app at the far end did not start")
            yield port
        finally:
            process.kill()


def run(case: Case, *, quick: bool) -> Result:
    """Measure a case; raises LoadError or PeerError."""
    rounds = 3 if quick else ROUNDS
    measured = _MEASURES[case.kind]
    figures: dict[str, list[float]] = {}
    with _backend(case) as app, ExitStack() as stack:
        pairs = {"tulle": stack.enter_context(pair("tulle", case.plan, app))}
        pairs["envoy"] = stack.enter_context(pair("envoy", case.plan, app))
        if case.kind in {"cpu", "latency"}:
            slower = dataclasses.replace(case.plan, between="http/1.1")
            pairs["envoy, HTTP/1.1 between"] = stack.enter_context(pair("envoy", slower, app))
        if not quick and case.limit:
            for name in limits.available():
                if not (name == "nginx" and case.plan.app == "tcp"):
                    pairs[name] = stack.enter_context(
                        pair(name, dataclasses.replace(case.plan, between="http/1.1"), app)
                    )
        once = case.kind in {"start", "idle", "held", "churn"}
        for _ in range(1 if once else rounds):
            for name, running in pairs.items():
                figures.setdefault(name, []).append(measured(case, running, app, quick))
        profile = (
            profiling.top(case, pairs["tulle"]) if not quick and case.kind in {"cpu", "bytes"} and case.goal else []
        )
    medians = {name: measure.median(values) for name, values in figures.items()}
    envoy = min(value for name, value in medians.items() if name.startswith("envoy"))
    return Result(
        profile=profile,
        tulle=medians["tulle"],
        envoy=envoy,
        ratio=medians["tulle"] / envoy,
        unit=case.unit,
        detail=figures,
    )


def _used(running: Pair) -> list[int]:
    return [measure.cpu_ns(proxy.pid) for proxy in (running.outbound, running.inbound)]


def _cpu(case: Case, running: Pair, _: int, quick: bool) -> float:
    """CPU of a proxy for a request, microseconds: the mean of both sides of the pair."""
    load.http(running.ports.outbound, case.http, 0.5)
    before = _used(running)
    done = load.http(running.ports.outbound, case.http, 1.5 if quick else SECONDS)
    spent = sum(_used(running)) - sum(before)
    # h2load's warm-up is part of what the proxies did, but not of what it counts: the share of time is.
    counted = done.requests * (done.seconds + load.WARM_UP) / done.seconds
    return spent / 2 / counted / 1000


def _bytes(_: Case, running: Pair, __: int, ___: bool) -> float:
    """CPU of a proxy for a gigabyte, seconds."""
    load.receive_bytes(running.ports.outbound, 10**7)
    before = sum(_used(running))
    load.receive_bytes(running.ports.outbound, GIGABYTE)
    return (sum(_used(running)) - before) / 2 / 1e9


def _latency(case: Case, running: Pair, app: int, quick: bool) -> float:
    """Milliseconds the pair adds to the 99th percentile."""
    seconds = 3.0 if quick else 8.0
    direct = measure.percentile(list(load.http(app, case.http, seconds).latencies), 0.99)
    through = measure.percentile(list(load.http(running.ports.outbound, case.http, seconds).latencies), 0.99)
    return max(through - direct, 0.001)


def _handshakes(_: Case, running: Pair, __: int, quick: bool) -> float:
    """CPU of the accepting proxy for a handshake with one request, milliseconds."""
    tls = load.mutual_tls(running.caller)
    load.churn(running.ports.inbound, 20, tls)
    before = measure.cpu_ns(running.inbound.pid)
    count = 200 if quick else 500
    load.churn(running.ports.inbound, count, tls)
    return (measure.cpu_ns(running.inbound.pid) - before) / count / 1e6


def _idle(_: Case, running: Pair, __: int, ___: bool) -> float:
    return measure.rss_bytes(running.outbound.pid) / 1e6


def _held(_: Case, running: Pair, __: int, ___: bool) -> float:
    """Memory of the accepting proxy while it holds idle connections."""
    held = load.hold(running.ports.inbound, HELD, load.mutual_tls(running.caller))
    size = measure.rss_bytes(running.inbound.pid)
    for connection in held:
        connection.close()
    gc.collect()
    return size / 1e6


def _start(_: Case, running: Pair, __: int, ___: bool) -> float:
    return _slower(running.outbound, running.inbound).seconds_to_ready


def _slower(*proxies: Proxy) -> Proxy:
    return max(proxies, key=lambda proxy: proxy.seconds_to_ready)


def _churn(_: Case, running: Pair, __: int, ___: bool) -> float:
    """Growth of memory from 1,000 connections served to 10,000 more."""
    tls = load.mutual_tls(running.caller)
    load.churn(running.ports.inbound, CHURNS[0], tls)
    early = measure.rss_bytes(running.inbound.pid)
    load.churn(running.ports.inbound, CHURNS[1], tls)
    return measure.rss_bytes(running.inbound.pid) / early


_MEASURES: dict[str, Callable[[Case, Pair, int, bool], float]] = {
    "cpu": _cpu,
    "bytes": _bytes,
    "latency": _latency,
    "handshakes": _handshakes,
    "idle": _idle,
    "held": _held,
    "start": _start,
    "churn": _churn,
}
