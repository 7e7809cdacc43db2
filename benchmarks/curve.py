"""What a pair of proxies costs over load, from idle to saturation, beside Envoy.

In: requests a second asked for, in an open loop over some connections. Out: for each load and peer the share of a core both
proxies of the pair took, in per cent, and the requests a second that were answered: where that is less than was asked, the
pair is saturated, since both share one core. The last load is as many as go, in a closed loop. Of Envoy's two settings
the cheaper one of a load counts.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import load
from benchmarks.bootstrap import Plan
from benchmarks.load import Http
from benchmarks.peers import Pair, pair
from benchmarks.rounds import backend, used

LOADS = (0, 100, 300, 1000, 3000, 10_000)
"""Requests a second."""
ROUNDS = 3
SECONDS = 4.0
CONNECTIONS = 20
MOST = -1
"""The load that is as many as go."""
PEERS = {
    "tulle": Plan(),
    "envoy": Plan(),
    "envoy, HTTP/1.1 between": Plan(between="http/1.1"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one load came to."""

    asked: int
    """Requests a second; MOST for as many as go."""
    answered: float
    """Requests a second."""
    cpu: float
    """Both proxies, per cent of a core."""


Curve = dict[str, list[Point]]
"""By peer, `tulle` and `envoy`, a point for each load."""


def measure(
    loads: Sequence[int] = (*LOADS, MOST),
    *,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    peers: Sequence[str] = tuple(PEERS),
) -> Curve:
    """Ask every pair at each load, in turn; medians of the rounds. Raises LoadError or PeerError."""
    seen: dict[str, list[list[Point]]] = {name: [[] for _ in loads] for name in peers}
    with backend("http") as app, ExitStack() as stack:
        pairs = {name: stack.enter_context(pair(name.partition(",")[0], PEERS[name], app)) for name in peers}
        for running in pairs.values():
            _ask(running, 200, 0.5)
        for _ in range(rounds):
            for index, asked in enumerate(loads):
                for name, running in pairs.items():
                    seen[name][index].append(_point(running, asked, seconds))
    curve: Curve = {}
    for name, told in seen.items():
        points = [_middle(those) for those in told]
        peer = name.partition(",")[0]
        curve[peer] = [min(both, key=_cost) for both in zip(curve.get(peer, points), points, strict=True)]
    return curve


def _cost(point: Point) -> float:
    """What a request costs at saturation, else all of a second: less is better."""
    return (
        point.cpu / max(point.answered, 1.0)
        if point.answered < point.asked * 0.98 or point.asked == MOST
        else point.cpu
    )


def _middle(points: list[Point]) -> Point:
    return dataclasses.replace(
        points[0],
        answered=statistics.median(point.answered for point in points),
        cpu=statistics.median(point.cpu for point in points),
    )


def _point(running: Pair, asked: int, seconds: float) -> Point:
    before, begin = sum(used(running)), time.monotonic()
    answered = _ask(running, asked, seconds) / seconds
    # h2load warms up before it counts, and a program has to start: what all that took is shared out over all that time.
    took = time.monotonic() - begin if asked in {0, MOST} else seconds
    return Point(asked=asked, answered=answered, cpu=(sum(used(running)) - before) / took / 1e7)


def _ask(running: Pair, asked: int, seconds: float) -> int:
    """Ask for so long; return how many were answered."""
    if asked == 0:
        time.sleep(seconds)  # idle is what is measured
        return 0
    if asked == MOST:
        return load.http(running.ports.outbound, Http(), seconds).requests
    return load.steady(running.ports.outbound, Http(connections=CONNECTIONS, rate=asked), seconds).requests
