"""Tell what was measured of the control plane: JSON for programs, a table in docs/performance.md, a plot over size, and the check.

In: figures by size. Out: files. What was not measured this time keeps its figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks import report as sidecar
from benchmarks.control.synthetic import SIZES
from benchmarks.peers import ROOT

RESULTS: Final = sidecar.RESULTS / "control_plane.json"
PLOT: Final = ROOT / "docs" / "performance-control.svg"
NOISE = 1.5
"""A figure so much above the committed one, and above its goal, is a regression: machines lent by the hour vary by a third."""
_BEGIN, _END = "<!-- control plane: written by `make bench-control-plane` -->", "<!-- control plane ends -->"
Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    title: str
    unit: str
    goal: float = 0.0
    large_goal: float = 0.0
    """At 5,000 Services, where it is another one."""

    def wanted(self, size: str) -> float:
        """The goal at a size."""
        return self.large_goal if self.large_goal and size.startswith("5000") else self.goal


FIGURES: Final = {
    "flip_ms": Figure(title="an endpoint flips: a pod and a slice event", unit="ms CPU", goal=0.8, large_goal=1.0),
    "flip_hot_ms": Figure(title="... where many come at once", unit="ms CPU"),
    "flip_wakes": Figure(title="... wake-ups of all its threads, one by one", unit=""),
    "flip_bare_ms": Figure(title="... of a pod outside the mesh", unit="ms CPU", goal=0.8, large_goal=1.0),
    "flip_of_1000_ms": Figure(title="... of a Service of 1,000 endpoints", unit="ms CPU"),
    "told_each_ms": Figure(title="... and for each subscribed sidecar told", unit="ms CPU", goal=0.15),
    "unread_ms": Figure(title="a pod's status of which nothing is read", unit="ms CPU", goal=0.1),
    "unread_mesh_ms": Figure(title="... of a mesh pod", unit="ms CPU", goal=0.1),
    "unread_hot_ms": Figure(title="... where many come at once", unit="ms CPU"),
    "unrelated_ms": Figure(title="a node's heartbeat", unit="ms CPU", goal=0.1),
    "route_edit_ms": Figure(title="a route is edited, its status written", unit="ms CPU", goal=5),
    "new_service_ms": Figure(title="a new Service with a slice", unit="ms CPU", goal=5),
    "new_pod_ms": Figure(title="a new mesh pod behind a Service", unit="ms CPU", goal=5),
    "start_to_ready_s": Figure(title="start to ready", unit="s"),
    "first_snapshot_s": Figure(title="first snapshot", unit="s", goal=1.5),
    "rss_first_mb": Figure(title="resident memory then", unit="MB", goal=150),
    "rss_streams_mb": Figure(title="... with all streams", unit="MB", goal=400),
    "streams": Figure(title="streams", unit=""),
    "connect_s": Figure(title="... opened", unit="s"),
    "latency_50_p50_ms": Figure(title="change to last sidecar told, 20 changes/s of 50 each, p50", unit="ms", goal=30),
    "latency_50_p99_ms": Figure(title="... p99", unit="ms", goal=100),
    "latency_all_ms": Figure(title="... one change that concerns all", unit="ms", goal=200),
    "storm_changes_s": Figure(title="changes a second of the storm", unit="1/s"),
    "storm_share": Figure(title="... share of a core", unit="", goal=0.2),
    "storm_admission_p99_ms": Figure(title="... admission p99", unit="ms", goal=50),
    "storm_admissions_s": Figure(title="... admissions a second, ten asked for", unit="1/s"),
    "loop_lag_longest_ms": Figure(title="longest the loop was held since the start", unit="ms"),
    "gc_longest_ms": Figure(title="longest pause of the collector since the start", unit="ms"),
    "restart_ready_s": Figure(title="ready again after a kill", unit="s"),
    "back_s": Figure(title="all sidecars back after that", unit="s", goal=10),
    "back_admission_p99_ms": Figure(title="... admission p99 meanwhile", unit="ms", goal=50),
    "rss_back_mb": Figure(title="... resident memory then", unit="MB"),
    "follower_share": Figure(title="a replica without sidecars, in that storm: share of a core", unit=""),
    "follower_change_kb": Figure(title="... read of the API server for a change", unit="KB"),
    "follower_read_mb": Figure(title="... and for its start", unit="MB"),
    "follower_rss_mb": Figure(title="... resident memory then", unit="MB"),
    "hour_changes": Figure(title="an hour of sixty changes a second at speed (`--hour`): changes", unit=""),
    "hour_gc_longest_ms": Figure(title="... longest pause of the collector", unit="ms"),
    "hour_rss_mb": Figure(title="... resident memory then", unit="MB"),
    "rest_wakes_s": Figure(title="wake-ups a second at rest, without streams", unit="1/s"),
    "rest_share": Figure(title="share of a core at rest, with the streams there are", unit=""),
}


def read() -> dict[str, dict[str, float]]:
    """Return the committed figures; empty when there are none."""
    found: dict[str, dict[str, float]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def write(results: Figures) -> None:
    """Write the results, the table of the page and the plot."""
    whole = read()
    for size, one in results.items():
        whole[size] = {**whole.get(size, {}), **{name: round(value, 4) for name, value in one.items()}}
    ordered = {size: whole[size] for size in SIZES if size in whole}
    RESULTS.write_text(json.dumps(ordered, indent=2) + "\n")
    page = sidecar.DOCUMENT
    page.write_text(sidecar.between(page.read_text(), _BEGIN, table(ordered), _END))
    PLOT.write_text(plot(ordered))


def table(results: Figures) -> Iterator[str]:
    """Tell all sizes, a line a figure."""
    yield f"| | unit | {' | '.join(results)} | goal |"
    yield "|---|---|" + "---|" * (len(results) + 1)
    for name, figure in FIGURES.items():
        told = [_short(one[name]) if name in one else "" for one in results.values()]
        goal = f"{figure.goal:g}" if figure.goal else ""
        yield f"| {figure.title} | {figure.unit} | {' | '.join(told)} | {goal}{f' ({figure.large_goal:g})' if figure.large_goal else ''} |"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def regressions(before: Figures, now: Figures) -> list[str]:
    """Say which figures missed their goal and got worse."""
    worse = []
    for size, figures in now.items():
        for name, value in figures.items():
            goal = FIGURES[name].wanted(size) if name in FIGURES else 0.0
            old = before.get(size, {}).get(name)
            if goal and old is not None and value > max(goal, old * NOISE):
                worse.append(f"{size} {name}: {value:.3g}, committed {old:.3g}, goal {goal:g}")
    return worse


_DRAWN = ("flip_ms", "unread_ms", "new_pod_ms", "new_service_ms", "route_edit_ms")
_COLORS = ("#3a7d5d", "#888888", "#b5523b", "#3b6fb5", "#a07a1f")


def plot(results: Figures) -> str:
    """Draw what a change costs over the size of the cluster, on logarithmic axes."""
    width, height, left, bottom = 760, 360, 60, 40

    def x(pods: int) -> float:
        return left + (math.log10(pods) - 3) / 2 * (width - left - 200)

    def y(value: float) -> float:
        return height - bottom - (math.log10(max(value, 0.01)) + 2) / 4 * (height - bottom - 20)

    drawn = []
    for value in (0.01, 0.1, 1, 10, 100):
        drawn.append(f'<line x1="{left}" x2="{width - 190}" y1="{y(value):.0f}" y2="{y(value):.0f}" stroke="#ddd"/>')
        drawn.append(f'<text x="{left - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{value:g} ms</text>')
    for size in results:
        pods = SIZES[size].pods
        drawn.append(f'<text x="{x(pods):.0f}" y="{height - 15}" text-anchor="middle">{pods:,} pods</text>')
    for name, color in zip(_DRAWN, _COLORS, strict=True):
        points = [(x(SIZES[size].pods), y(one[name])) for size, one in results.items() if name in one]
        path = " ".join(f"{px:.0f},{py:.0f}" for px, py in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        drawn += [f'<circle cx="{px:.0f}" cy="{py:.0f}" r="3" fill="{color}"/>' for px, py in points]
    placed = 0.0
    for name, color in sorted(
        zip(_DRAWN, _COLORS, strict=True), key=lambda one: -list(results.values())[-1].get(one[0], 0)
    ):
        value = list(results.values())[-1].get(name)
        if value is not None:
            placed = max(y(value), placed + 14)
            drawn.append(
                f'<text x="{width - 180}" y="{placed + 4:.0f}" fill="{color}">{FIGURES[name].title.partition(":")[0]}</text>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>\n'
    )
