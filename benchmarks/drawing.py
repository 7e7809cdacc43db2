"""Draw the cost over load: a table for the page, and a plot with both axes logarithmic.

In: a `Curve`. Out: lines of Markdown, and SVG. Idle has no place on a logarithmic axis: it stands at its left end, apart.
"""

from __future__ import annotations

import math

from benchmarks.curve import MOST, Curve, Point

_COLORS = {"tulle": "#3a7d5d", "envoy": "#b5523b"}
_NAMES = {"tulle": "Tulle", "envoy": "Envoy"}
_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 30, 640, 320
_IDLE = 40
"""Where idle stands, from the left."""
_LEAST, _FULL = 0.01, 100.0
"""Per cent of a core at the two ends of the axis."""


def table(curve: Curve) -> list[str]:
    """Give a row for each load."""
    rows = ["| requests a second | Tulle | answered | Envoy | answered | ratio |", "|---|---|---|---|---|---|"]
    for ours, theirs in zip(curve["tulle"], curve["envoy"], strict=True):
        asked = "idle" if ours.asked == 0 else "as many as go" if ours.asked == MOST else f"{ours.asked:,}"
        figures = f"{_figures(ours)} | {_figures(theirs)}"
        rows.append(f"| {asked} | {figures} | {_ratio(ours, theirs)} |")
    return rows


def _figures(point: Point) -> str:
    return f"{point.cpu:.2f} % | {point.answered:,.0f}" if point.asked else f"{point.cpu:.2f} % | "


def _ratio(ours: Point, theirs: Point) -> str:
    """Compare all of it while both answer all; where one is saturated, what a request costs."""
    if ours.asked in {0, MOST} or min(ours.answered, theirs.answered) < ours.asked * 0.98:
        if not ours.asked:
            return f"{ours.cpu / theirs.cpu:.2f}" if theirs.cpu else ""
        return f"{ours.cpu / ours.answered / (theirs.cpu / theirs.answered):.2f} a request"
    return f"{ours.cpu / theirs.cpu:.2f}"


def plot(curve: Curve) -> str:
    """Draw a line for each peer."""
    most = max(point.answered for points in curve.values() for point in points)
    decades = max(math.ceil(math.log10(max(most, 100.0))), 2)
    parts = [_axes(decades)]
    for number, (peer, points) in enumerate(curve.items()):
        color = _COLORS[peer]
        places = [_place(point, decades) for point in points]
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in sorted(places))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{color}"/>' for x, y in places]
        parts.append(f'<text x="{_LEFT + 20}" y="{_TOP + 20 + number * 18}" fill="{color}">{_NAMES[peer]}</text>')
    width, height = _LEFT + _WIDTH + 30, _TOP + _HEIGHT + 50
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _axes(decades: int) -> str:
    bottom = _TOP + _HEIGHT
    parts = [
        f'<text x="{_LEFT}" y="{_TOP - 10}">both sidecars, per cent of a core</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{bottom + 38}" text-anchor="end">requests answered a second</text>',
        f'<text x="{_LEFT + _IDLE}" y="{bottom + 18}" text-anchor="middle">idle</text>',
    ]
    for power in range(1, decades + 1):
        x = _across(10.0**power, decades)
        parts.append(f'<line x1="{x:.0f}" y1="{_TOP}" x2="{x:.0f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(-2, 3):
        y = _up(10.0**power)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.0f}" x2="{_LEFT + _WIDTH}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g} %</text>')
    return "".join(parts)


def _place(point: Point, decades: int) -> tuple[float, float]:
    return (_across(point.answered, decades) if point.asked else _LEFT + _IDLE, _up(point.cpu))


def _across(answered: float, decades: int) -> float:
    """Requests a second from 10 on, behind idle's place."""
    begin = _LEFT + 2 * _IDLE
    return begin + (math.log10(max(answered, 10.0)) - 1) / (decades - 1) * (_LEFT + _WIDTH - begin)


def _up(cpu: float) -> float:
    share = math.log(min(max(cpu, _LEAST), _FULL) / _LEAST) / math.log(_FULL / _LEAST)
    return _TOP + _HEIGHT * (1 - share)
