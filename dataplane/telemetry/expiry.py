"""Which series nobody counts in any more, told by several workers: all of them forget one, or none does, or their sum would go back.

In: groups and TCP series of each worker. Out: marks of what there is, of what was counted in, and of what is idle. What is marked idle is forgotten in every worker, even where
something was counted in it after it was looked at: the series begins anew as a whole then. What came into being since is not marked, and stays. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.telemetry.metrics import Marks, RequestGroup, TcpSeries


def known(groups: Iterable[RequestGroup], tcps: Iterable[TcpSeries]) -> Marks:
    """Mark all there is."""
    found = {one.labels: {0} for one in tcps}
    for group in groups:
        found[group.prefix] = {*group.series, *(-1 - outcome for outcome in group.timings)}
    return found


def touched(groups: Iterable[RequestGroup], tcps: Iterable[TcpSeries]) -> Marks:
    """Mark what was counted in since the last call, and TCP series with open connections."""
    found: Marks = {}
    for group in groups:
        marks = {key for key, one in group.series.items() if one.touched}
        marks |= {-1 - outcome for outcome, one in group.timings.items() if one.touched}
        if marks:
            found[group.prefix] = marks
        for one in group.series.values():
            one.touched = False
        for timing in group.timings.values():
            timing.touched = False
    for tcp in tcps:
        if tcp.touched or tcp.opened != tcp.closed:
            found[tcp.labels] = {0}
        tcp.touched = False
    return found


def together(told: Iterable[Marks]) -> Marks:
    """Mark what any of them marks."""
    found: Marks = {}
    for marks in told:
        for labels, its in marks.items():
            found[labels] = found.get(labels, set()) | its
    return found


def idle(there: Marks, counted_in: Marks) -> Marks:
    """Mark what is there and was not counted in."""
    left = {labels: its - counted_in.get(labels, set()) for labels, its in there.items()}
    return {labels: its for labels, its in left.items() if its}
