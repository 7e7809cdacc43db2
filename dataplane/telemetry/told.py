"""What the other workers counted, as the first one knows it: packed numbers over the line, kept until newer ones are whole.

In: a worker's metrics and rows. Out: `parts`, each of a bounded number of series; `Mirror`, which takes them; `View`, in which all are added up. A worker that does not answer in time
counts with what it said last, so that sums never go back. Refuses nothing: both ends are this program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from dataplane.telemetry.labels import OVERFLOW
from dataplane.telemetry.metrics import Marks, Metrics, RequestGroup, RequestSeries, TcpSeries, Timing
from dataplane.telemetry.view import Row, View

PAIRS: Final = 32
"""Of a part."""

Part = tuple[Any, ...]


def parts(metrics: Metrics, rows: Sequence[Row]) -> Iterator[Part]:
    """Pack everything; the first part begins a telling, the last one ends it."""
    yield "begin", ()
    groups = list(metrics.groups.values())
    for begin in range(0, len(groups), PAIRS):
        yield "groups", [_packed(group) for group in groups[begin : begin + PAIRS]]
    tcps = list(metrics.tcps.values())
    for begin in range(0, len(tcps), PAIRS):
        yield "tcps", [(o.labels, o.opened, o.closed, o.sent, o.received) for o in tcps[begin : begin + PAIRS]]
    yield "rows", [(row.name, row.help, row.kind, row.label, dict(row.values)) for row in rows]


def _packed(group: RequestGroup) -> Part:
    timings = [(one.outcome, one.buckets, one.milliseconds, one.received, one.sent) for one in group.timings.values()]
    series = [(key, one.labels, one.timing.outcome, one.count) for key, one in group.series.items()]
    return group.prefix, timings, series


class Mirror:
    """What one worker said last."""

    def __init__(self) -> None:
        self.groups: dict[bytes, RequestGroup] = {}
        """By their labels, as the rest."""
        self.tcps: dict[bytes, TcpSeries] = {}
        self.rows: list[Row] = []
        self.told = False
        """Whether it said anything yet."""
        self._groups: dict[bytes, RequestGroup] = {}
        self._tcps: dict[bytes, TcpSeries] = {}
        self._owner = Metrics()

    def take(self, part: Part) -> None:
        """Take a part; with the last one what was said before is forgotten."""
        kind, packed = part
        if kind == "begin":  # what is left of one that was cut is none of it
            self._groups, self._tcps = {}, {}
        elif kind == "groups":
            for one in packed:
                group = self._unpacked(*one)
                self._groups[group.prefix] = group
        elif kind == "tcps":
            for labels, opened, closed, sent, received in packed:
                series = self._tcps[labels] = TcpSeries(labels)
                series.opened, series.closed, series.sent, series.received = opened, closed, sent, received
        else:
            self.rows = [
                Row(name=name, help=help_, kind=its, label=label, values=values)
                for name, help_, its, label, values in packed
            ]
            self.groups, self.tcps = self._groups, self._tcps
            self._groups, self._tcps = {}, {}
            self.told = True

    def drop(self, marks: Marks) -> None:
        """Forget what its worker was told to forget: it may be long until it says so."""
        for prefix in marks.keys() & self.groups.keys():
            if self.groups[prefix].drop(marks[prefix]):
                del self.groups[prefix]
        for labels in marks.keys() & self.tcps.keys():
            del self.tcps[labels]

    def _unpacked(self, prefix: bytes, timings: Iterable[Part], series: Iterable[Part]) -> RequestGroup:
        group = RequestGroup(self._owner, OVERFLOW, prefix)
        for outcome, buckets, milliseconds, received, sent in timings:
            timing = group.timings[outcome] = Timing(outcome)
            timing.buckets, timing.milliseconds, timing.received, timing.sent = buckets, milliseconds, received, sent
        for key, labels, outcome, count in series:
            found = group.series[key] = RequestSeries(labels, group.timings[outcome])
            found.count = count
        return group


def together(metrics: Metrics, rows: Sequence[Row], mirrors: Sequence[Mirror]) -> View:
    """Show what this worker and the others counted."""
    groups, tcps = list(metrics.groups.values()), list(metrics.tcps.values())
    if not mirrors:
        return View(groups=groups, tcps=tcps, rows=rows)
    besides: list[dict[bytes, RequestGroup]] = []
    tcps_besides: list[dict[bytes, TcpSeries]] = []
    known, known_tcps = {one.prefix for one in groups}, {one.labels for one in tcps}
    for mirror in mirrors:
        # A group only others have is shown for the first of them, and the later ones are added to it.
        fresh = [one for prefix, one in mirror.groups.items() if prefix not in known]
        fresh_tcps = [one for labels, one in mirror.tcps.items() if labels not in known_tcps]
        besides.append({prefix: one for prefix, one in mirror.groups.items() if prefix in known})
        tcps_besides.append({labels: one for labels, one in mirror.tcps.items() if labels in known_tcps})
        groups += fresh
        tcps += fresh_tcps
        known.update(one.prefix for one in fresh)
        known_tcps.update(one.labels for one in fresh_tcps)
    return View(
        groups=groups,
        tcps=tcps,
        rows=_added([rows, *(mirror.rows for mirror in mirrors)]),
        besides=besides,
        tcps_besides=tcps_besides,
    )


def _added(tellings: Sequence[Sequence[Row]]) -> list[Row]:
    """Add rows up by name and label."""
    found: dict[str, Row] = {}
    for row in (row for rows in tellings for row in rows):
        before = found.get(row.name)
        values = dict(before.values) if before is not None else {}
        for label, value in row.values.items():
            values[label] = values.get(label, 0) + value
        found[row.name] = Row(name=row.name, help=row.help, kind=row.kind, label=row.label, values=values)
    return list(found.values())
