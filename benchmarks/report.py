"""Tell what was measured: JSON for programs, tables in docs/performance.md, plots, and the check against regressions.

In: results by case. Out: files. A case measured before and not now keeps its figures; `check` compares with what stands in
`results/summary.json` and names every case that got worse by more than the noise allows.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks import drawing, limits
from benchmarks.cases import CASES, Case
from benchmarks.curve import Curve
from benchmarks.peers import ROOT
from benchmarks.rounds import Result

RESULTS = ROOT / "benchmarks" / "results"
SUMMARY = RESULTS / "summary.json"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
CURVE_PLOT = ROOT / "docs" / "performance-load.svg"
NOISE = 1.25
"""A ratio this much above the committed one is a regression; machines lent by the hour vary by a tenth."""
_BEGIN, _END = "<!-- table: written by `make bench` -->", "<!-- table ends -->"
_PEERS = ("tulle", "envoy", "envoy, HTTP/1.1 between", *limits.PEERS)
_CURVE, _CURVE_END = "<!-- load: written by `make bench` -->", "<!-- load ends -->"
_CURVE_IMAGE = "![CPU of both sidecars over requests a second](performance-load.svg)"
_PROFILES, _PROFILES_END = "<!-- profiles: written by `make bench` -->", "<!-- profiles end -->"


def write(results: Mapping[str, Result], *, page: bool) -> None:
    """Write one file a case, and the summary of all; with `page`, the tables of the page and the plot too."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    summary = read()
    for name, result in results.items():
        (RESULTS / f"{name}.json").write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n")
        summary[name] = {
            "tulle": round(result.tulle, 4),
            "envoy": round(result.envoy, 4),
            "ratio": round(result.ratio, 3),
            "unit": result.unit,
        }
    ordered = {name: summary[name] for name in CASES if name in summary}
    SUMMARY.write_text(json.dumps(ordered, indent=2) + "\n")
    if page:
        _write_table(ordered)
        PLOT.write_text(_plot(ordered))


def write_curve(curve: Curve) -> None:
    """Write the cost over load: its figures, its table on the page, its plot."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures = {peer: [dataclasses.asdict(point) for point in points] for peer, points in curve.items()}
    (RESULTS / "cost_over_load.json").write_text(json.dumps(figures, indent=2) + "\n")
    DOCUMENT.write_text(
        between(DOCUMENT.read_text(), _CURVE, ["", _CURVE_IMAGE, "", *drawing.table(curve)], _CURVE_END)
    )
    CURVE_PLOT.write_text(drawing.plot(curve))


def read() -> dict[str, dict[str, Any]]:
    """Return the committed summary; empty when there is none."""
    if not SUMMARY.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(SUMMARY.read_text())
    return found


def judged(case: Case, figures: Mapping[str, Any]) -> float:
    """Return the number its goal is about: seconds, megabytes, the growth itself, or the ratio to Envoy."""
    return float(figures["tulle"] if case.kind in {"start", "private", "churn", "growth"} else figures["ratio"])


def regressions(before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Result]) -> list[str]:
    """Say which cases got worse than the committed summary."""
    worse = []
    for name, result in now.items():
        case = CASES[name]
        if name not in before:
            continue
        old, new = judged(case, before[name]), judged(case, dataclasses.asdict(result))
        if new > old * NOISE and new > case.goal:
            worse.append(f"{name}: {new:.2f}, committed {old:.2f}")
    return worse


def line(case: Case, figures: Mapping[str, Any]) -> str:
    """Tell one case in one line."""
    value = judged(case, figures)
    goal = f"{case.goal:g}" if case.goal else "-"
    kept = ("yes" if value <= case.goal else "no") if case.goal else ""
    return f"| {case.title} | {figures['tulle']:.2f} | {figures['envoy']:.2f} | {case.unit} | {value:.2f} | {goal} | {kept} |"


def between(text: str, begin: str, lines: Iterable[str], end: str) -> str:
    """Put lines in place of what stands between two marks of a page."""
    head, _, rest = text.partition(begin)
    return head + "\n".join([begin, *lines, end]) + rest.partition(end)[2]


def _write_beside(text: str) -> str:
    """Put what else was measured, the nearer limits, and the profiles behind the table."""
    rows = [f"| case | figure | {' | '.join(_PEERS)} |", "|---|---|" + "---|" * len(_PEERS)]
    profiles = []
    for name, case in CASES.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        kept = json.loads(path.read_text())
        medians = {peer: statistics.median(values) for peer, values in kept["detail"].items()}
        if len(medians) > 2:
            rows.append(_row(case, case.unit, medians))
        rows += [_row(case, which, told) for which, told in kept.get("beside", {}).items()]
        if kept.get("profile"):
            profiles.append(f"**{case.title}**\n\n```\n" + "\n".join(kept["profile"]) + "\n```\n")
    where = "Where our time goes, the ten costliest symbols of the outbound proxy (of handshakes, the accepting one):\n"
    return between(text, _PROFILES, [*rows, "", where, *profiles], _PROFILES_END)


def _row(case: Case, which: str, figures: Mapping[str, float]) -> str:
    told = (f"{figures[peer]:.2f}" if peer in figures else "" for peer in _PEERS)
    return f"| {case.title} | {which} | {' | '.join(told)} |"


def _write_table(summary: Mapping[str, Mapping[str, Any]]) -> None:
    rows = ["| case | Tulle | Envoy | unit | ratio | goal | kept |", "|---|---|---|---|---|---|---|"]
    rows += [line(CASES[name], figures) for name, figures in summary.items()]
    DOCUMENT.write_text(_write_beside(between(DOCUMENT.read_text(), _BEGIN, rows, _END)))


def _plot(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw the ratios as bars, Envoy being 1."""
    width, row, left = 760, 26, 300
    scale = (width - left - 60) / 2.0
    bars = []
    for index, (name, figures) in enumerate(summary.items()):
        y = 30 + index * row
        ratio = min(float(figures["ratio"]), 2.0)
        color = "#3a7d5d" if ratio <= 1 else "#b5523b"
        bars.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{CASES[name].title}</text>'
            f'<rect x="{left}" y="{y}" width="{ratio * scale:.0f}" height="18" fill="{color}"/>'
            f'<text x="{left + ratio * scale + 6:.0f}" y="{y + 14}">{float(figures["ratio"]):.2f}</text>'
        )
    height = 50 + len(summary) * row
    one = left + scale
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/><text x="{one}" y="18" text-anchor="middle">Envoy = 1</text>'
        f'<line x1="{one}" y1="22" x2="{one}" y2="{height - 10}" stroke="#888"/>{"".join(bars)}</svg>\n'
    )
