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
from benchmarks.peers import OTHER_CPU, ROOT, Pair, free_ports, pair

ROUNDS = 5
SECONDS = 3.0
GIGABYTE = 10**9
HELD = 1000
CHURNS = (1000, 10_000)
COUNTS = "counts"
"""The figure of a measure that goes into the summary."""
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a case."""

    tulle: float
    envoy: float
    ratio: float
    unit: str
    detail: dict[str, list[float]]
    """Every round's figure by peer and setting."""
    beside: dict[str, dict[str, float]] = field(default_factory=dict)
    """Figures told beside the one that counts, by what they are and peer: medians."""
    profile: list[str] = field(default_factory=list)
    """Where our time goes, the ten costliest symbols of one proxy; empty where `perf` cannot be used."""


@dataclass(slots=True)
class Turn:
    """One round: every pair is asked once."""

    app: int
    """Port of the app at the far end."""
    quick: bool
    bases: dict[str, Pair]
    """What each peer's figure is put in relation to, by the peer's name."""
    direct: list[float] = field(default_factory=list)
    """Latencies of the app alone, milliseconds; asked once a round, by the first pair that needs them."""


@contextmanager
def backend(kind: str) -> Iterator[int]:
    """Run the app at the far end, `http` or `tcp`; give its port."""
    (port,) = free_ports(1)
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
    beside: dict[str, dict[str, list[float]]] = {}
    with backend("tcp" if case.plan.app == "tcp" else "http") as app, ExitStack() as stack:
        pairs = {"tulle": stack.enter_context(pair("tulle", case.plan, app))}
        pairs["envoy"] = stack.enter_context(pair("envoy", case.plan, app))
        if case.kind in {"cpu", "rate", "latency"}:
            slower = dataclasses.replace(case.plan, between="http/1.1")
            pairs["envoy, HTTP/1.1 between"] = stack.enter_context(pair("envoy", slower, app))
        if not quick and case.limit:
            for name in limits.available():
                if not (name == "nginx" and case.plan.app == "tcp"):
                    pairs[name] = stack.enter_context(
                        pair(name, dataclasses.replace(case.plan, between="http/1.1"), app)
                    )
        bases = {}
        if case.base is not None:
            bases = {name: stack.enter_context(pair(name, case.base, app)) for name in pairs}
        once = case.kind in {"start", "idle", "private", "held", "churn"}
        for running in (*pairs.values(), *bases.values()):
            _connect(case, running)
        for _ in range(1 if once else rounds):
            turn = Turn(app, quick, bases)
            for name, running in pairs.items():
                for which, figure in measured(case, running, turn).items():
                    beside.setdefault(which, {}).setdefault(name, []).append(figure)
        figures = beside.pop(COUNTS)
        profile = profiling.top(case, pairs["tulle"]) if not quick and case.kind in profiling.KINDS else []
    medians = {name: measure.median(values) for name, values in figures.items()}
    envoy = min(value for name, value in medians.items() if name.startswith("envoy"))
    return Result(
        profile=profile,
        tulle=medians["tulle"],
        envoy=envoy,
        ratio=medians["tulle"] / envoy,
        unit=case.unit,
        detail=figures,
        beside={which: {name: measure.median(seen) for name, seen in told.items()} for which, told in beside.items()},
    )


def used(running: Pair) -> list[int]:
    """CPU time of both proxies so far, nanoseconds: outbound, inbound."""
    return [measure.cpu_ns(proxy.pid) for proxy in (running.outbound, running.inbound)]


def _connect(case: Case, running: Pair) -> None:
    """Have every endpoint connected to, with a handshake, before anything counts."""
    if case.kind in {"cpu", "rate", "growth"}:
        load.http(running.ports.outbound, case.http, 0.5 + case.plan.endpoints / 200)
    elif case.kind == "bytes":
        load.receive_bytes(running.ports.outbound, 10**7)


def _cpu(case: Case, running: Pair, turn: Turn) -> Figures:
    """CPU of a proxy for a request, microseconds: the mean of both sides of the pair."""
    before = used(running)
    done = load.http(running.ports.outbound, case.http, 1.0 if turn.quick else SECONDS)
    outbound, inbound = (now - then for now, then in zip(used(running), before, strict=True))
    # h2load's warm-up is part of what the proxies did, but not of what it counts: the share of time is.
    counted = done.requests * (done.seconds + load.WARM_UP) / done.seconds * 1000
    return {COUNTS: (outbound + inbound) / 2 / counted, "outbound": outbound / counted, "inbound": inbound / counted}


def _rate(case: Case, running: Pair, turn: Turn) -> Figures:
    """The same where requests come one by one, at a rate."""
    before = used(running)
    done = load.steady(running.ports.outbound, case.http, 1.5 if turn.quick else SECONDS)
    outbound, inbound = (now - then for now, then in zip(used(running), before, strict=True))
    counted = done.requests * 1000
    return {COUNTS: (outbound + inbound) / 2 / counted, "outbound": outbound / counted, "inbound": inbound / counted}


def _growth(case: Case, running: Pair, turn: Turn) -> Figures:
    """How many times what a request costs with the base's plan it costs with the case's."""
    small = _cpu(case, turn.bases[running.peer], turn)[COUNTS]
    large = _cpu(case, running, turn)[COUNTS]
    return {COUNTS: large / small, "µs before": small, "µs after": large}


def _bytes(_: Case, running: Pair, __: Turn) -> Figures:
    """CPU of a proxy for a gigabyte, seconds."""
    before = used(running)
    load.receive_bytes(running.ports.outbound, GIGABYTE)
    outbound, inbound = ((now - then) / 1e9 for now, then in zip(used(running), before, strict=True))
    return {COUNTS: (outbound + inbound) / 2, "outbound": outbound, "inbound": inbound}


def _latency(case: Case, running: Pair, turn: Turn) -> Figures:
    """Milliseconds the pair adds to the 99th percentile; beside it, to the median and the 99.9th."""
    seconds = 2.0 if turn.quick else 8.0
    turn.direct = direct = turn.direct or list(load.http(turn.app, case.http, seconds).latencies)
    through = list(load.http(running.ports.outbound, case.http, seconds).latencies)
    added = {
        name: max(measure.percentile(through, share) - measure.percentile(direct, share), 0.001)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }
    return {COUNTS: added.pop("p99"), **added}


def _handshakes(_: Case, running: Pair, turn: Turn) -> Figures:
    """CPU of the accepting proxy for a handshake with one request, milliseconds; beside it, what one CPU does a second."""
    tls = load.mutual_tls(running.caller)
    load.churn(running.ports.inbound, 20, tls)
    before = measure.cpu_ns(running.inbound.pid)
    count = 200 if turn.quick else 500
    load.churn(running.ports.inbound, count, tls)
    spent = (measure.cpu_ns(running.inbound.pid) - before) / count / 1e6
    return {COUNTS: spent, "a second and CPU": 1000 / spent}


def _opaque(_: Case, running: Pair, turn: Turn) -> Figures:
    """CPU of both proxies for a connection of one byte, milliseconds; beside it, how long the byte took."""
    load.first_bytes(running.ports.outbound, 20)
    before = sum(used(running))
    count = 300 if turn.quick else 1000
    took = load.first_bytes(running.ports.outbound, count)
    spent = (sum(used(running)) - before) / count / 1e6
    return {COUNTS: spent, "ms to the first byte": measure.median(took)}


def _idle(_: Case, running: Pair, __: Turn) -> Figures:
    return {COUNTS: measure.rss_bytes(running.outbound.pid) / 1e6}


def _private(_: Case, running: Pair, __: Turn) -> Figures:
    """Memory of one proxy that it does not share with the other of its pair."""
    return {COUNTS: measure.private_bytes(running.outbound.pid) / 1e6}


def _held(_: Case, running: Pair, __: Turn) -> Figures:
    """Memory of the accepting proxy while it holds idle connections."""
    held = load.hold(running.ports.inbound, HELD, load.mutual_tls(running.caller))
    size = measure.rss_bytes(running.inbound.pid)
    for connection in held:
        connection.close()
    gc.collect()
    return {COUNTS: size / 1e6}


def _start(_: Case, running: Pair, __: Turn) -> Figures:
    return {COUNTS: max(proxy.seconds_to_ready for proxy in (running.outbound, running.inbound))}


def _churn(_: Case, running: Pair, __: Turn) -> Figures:
    """Growth of memory from 1,000 connections served to 10,000 more."""
    tls = load.mutual_tls(running.caller)
    load.churn(running.ports.inbound, CHURNS[0], tls)
    early = measure.rss_bytes(running.inbound.pid)
    load.churn(running.ports.inbound, CHURNS[1], tls)
    late = measure.rss_bytes(running.inbound.pid)
    return {COUNTS: late / early, "MB before": early / 1e6, "MB after": late / 1e6}


_MEASURES: dict[str, Callable[[Case, Pair, Turn], Figures]] = {
    "cpu": _cpu,
    "rate": _rate,
    "growth": _growth,
    "bytes": _bytes,
    "latency": _latency,
    "handshakes": _handshakes,
    "opaque": _opaque,
    "idle": _idle,
    "private": _private,
    "held": _held,
    "start": _start,
    "churn": _churn,
}
