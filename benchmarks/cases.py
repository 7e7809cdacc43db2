"""What is measured: name, work, unit, and the goal as a ratio to Envoy in the same run.

In: nothing. Out: `CASES` by name; `GOALS` are those `--quick` runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from benchmarks.bootstrap import Plan
from benchmarks.load import Http


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table."""

    name: str
    title: str
    unit: str
    kind: str
    """Which of `rounds` measures it."""
    plan: Plan = field(default_factory=Plan)
    http: Http = field(default_factory=Http)
    limit: bool = False
    """Whether haproxy and nginx can do this work too, as the nearer limit."""
    base: Plan | None = None
    """What the figure is put in relation to, for cases of growth."""
    goal: float = 0.0
    """Highest ratio to Envoy we want; 0 is none set. For `start_to_ready` seconds, for `idle_private_mb` megabytes, for growths the ratio to itself."""


def _requests(name: str, title: str, goal: float = 0.0, *, plan: Plan | None = None, http: Http) -> Case:
    return Case(
        name=name,
        title=title,
        unit="µs CPU a request and proxy",
        kind="cpu",
        plan=plan or Plan(),
        http=http,
        goal=goal,
        limit=http.version == 1 and http.connections == 32 and plan is None,
    )


def _bytes(name: str, title: str, goal: float, *, secure: bool) -> Case:
    plan = Plan(between="tcp", app="tcp", secure=secure)
    return Case(name=name, title=title, unit="CPU s a GB and proxy", kind="bytes", plan=plan, goal=goal, limit=True)


_H2 = Plan(app="h2")
_LISTED: Final = (
    _requests("http1_64b_c1", "HTTP/1.1, 64 B, 1 connection", 0.4, http=Http(connections=1)),
    _requests("http1_64b_c32", "HTTP/1.1, 64 B, 32 connections", 0.6, http=Http()),
    Case(
        name="cpu_1000rps",
        title="HTTP/1.1, 64 B, 1,000 requests a second over 20 connections",
        unit="µs CPU a request and proxy",
        kind="rate",
        http=Http(connections=20, rate=1000),
        goal=0.35,
    ),
    _requests("http1_64b_c256", "HTTP/1.1, 64 B, 256 connections", http=Http(connections=256)),
    _requests("http1_16k_c1", "HTTP/1.1, 16 KB, 1 connection", http=Http(connections=1, path="/16k")),
    _requests("http1_16k_c32", "HTTP/1.1, 16 KB, 32 connections", 0.8, http=Http(path="/16k")),
    _requests("http1_16k_c256", "HTTP/1.1, 16 KB, 256 connections", http=Http(connections=256, path="/16k")),
    _requests(
        "http2_64b", "HTTP/2, 64 B, 4 x 16 streams", 0.8, plan=_H2, http=Http(version=2, connections=4, streams=16)
    ),
    _requests(
        "grpc_unary",
        "gRPC unary, 64 B, 4 x 16 streams",
        0.8,
        plan=_H2,
        http=Http(version=2, connections=4, streams=16, grpc=True, path="/bench.Echo/Say"),
    ),
    _requests(
        "grpc_stream",
        "gRPC, a stream of 100 messages of 64 B",
        plan=_H2,
        http=Http(version=2, connections=4, streams=16, grpc=True, path="/bench.Echo/List"),
    ),
    _bytes("tcp_plain_gb", "TCP, plaintext", 0.4, secure=False),
    _bytes("tcp_mtls_gb", "TCP, mutual TLS", 1.0, secure=True),
    Case(
        name="p99_added_1000rps",
        title="p99 added at 1,000 requests a second",
        unit="ms",
        kind="latency",
        http=Http(connections=20, rate=1000),
        goal=1.0,
    ),
    Case(
        name="opaque_connect",
        title="a new connection to an opaque port, mutual TLS",
        unit="ms CPU a connection, both proxies",
        kind="opaque",
        plan=Plan(between="tcp", app="tcp", mesh=True),
        goal=0.6,
    ),
    Case(name="handshake", title="mutual TLS handshake", unit="ms CPU a connection", kind="handshakes", goal=1.3),
    Case(name="idle_rss", title="memory, idle", unit="MB", kind="idle", goal=0.6),
    Case(name="idle_private_mb", title="private memory, idle", unit="MB", kind="private", goal=13.0),
    Case(name="rss_1000_idle_mtls", title="memory, 1,000 idle mTLS connections", unit="MB", kind="held", goal=1.0),
    Case(name="start_to_ready", title="start to ready", unit="s", kind="start", goal=1.0),
    Case(name="rss_churn", title="memory after 10,000 connections / after 1,000", unit="x", kind="churn", goal=1.1),
    *(
        _requests(f"routes_{count}", f"HTTP/1.1, the last of {count} routes", plan=Plan(routes=count), http=Http())
        for count in (10, 100, 1000)
    ),
    Case(
        name="routes_1000_over_10",
        title="HTTP/1.1, the last of 1000 routes / of 10",
        unit="x",
        kind="growth",
        plan=Plan(routes=1000),
        base=Plan(routes=10),
        goal=1.1,
    ),
    *(
        _requests(f"endpoints_{count}", f"HTTP/1.1, {count} endpoints", plan=Plan(endpoints=count), http=Http())
        for count in (10, 100, 1000)
    ),
)

CASES: Final = {case.name: case for case in _LISTED}
GOALS: Final = tuple(case.name for case in _LISTED if case.goal)
