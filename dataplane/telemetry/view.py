"""What a scrape shows, before anybody writes it: pairs of peers, and families of a few samples.

In: `Metrics`. Out: nouns; `told` puts them together, `scrape` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataplane.telemetry.metrics import Metrics, RequestGroup, TcpSeries
from meshapi.records import field, record


@record
class Row:
    """A family of a few samples, told apart by one label or none."""

    name: str
    help: str
    kind: str
    label: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    """By value of the label; words of our own."""


@record
class View:
    """What a scrape shows."""

    groups: Sequence[RequestGroup] = ()
    tcps: Sequence[TcpSeries] = ()
    rows: Sequence[Row] = ()
    besides: Sequence[Mapping[bytes, RequestGroup]] = ()
    """Groups of other workers by their labels; their numbers are added."""
    tcps_besides: Sequence[Mapping[bytes, TcpSeries]] = ()


def rows_of(metrics: Metrics) -> list[Row]:
    """Tell the plain counters and the gauges as they are now."""
    found = [
        Row(name=f.name, help=f.help, kind="counter", label=f.label, values={k: c.value for k, c in f.values.items()})
        for f in metrics.families()
        if f.values
    ]
    for name, (help_, read) in metrics.gauges.items():
        found.append(Row(name=name, help=help_, kind="gauge", values={"": read()}))
    return found
