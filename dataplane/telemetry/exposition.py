"""The Prometheus text format (version 0.0.4) of everything counted.

In: `Metrics`. Out: the text of one scrape. Refuses nothing; label values were escaped when they were bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataplane.telemetry.metrics import Histogram, Metrics, RequestSeries, TcpSeries

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HISTOGRAMS = (
    ("tulle_request_duration_milliseconds", "Time from request head to last response byte.", "duration"),
    ("tulle_request_bytes", "Request body sizes.", "request_size"),
    ("tulle_response_bytes", "Response body sizes.", "response_size"),
)
_TCP = (
    ("tulle_tcp_connections_opened_total", "Opaque connections opened.", "opened"),
    ("tulle_tcp_connections_closed_total", "Opaque connections closed.", "closed"),
    ("tulle_tcp_sent_bytes_total", "Bytes sent to clients on opaque connections.", "sent"),
    ("tulle_tcp_received_bytes_total", "Bytes received from clients on opaque connections.", "received"),
)


def expose(metrics: Metrics) -> str:
    """Write out every family that has a sample."""
    series = [one for group in metrics.groups.values() for one in group.series.values()]
    lines = [*_requests(series), *_connections(list(metrics.tcps.values()))]
    for family in metrics.families():
        if family.values:
            lines += _head(family.name, family.help, "counter")
            lines += [f'{family.name}{{{family.label}="{k}"}} {c.value}' for k, c in sorted(family.values.items())]
    for name, (help_, read) in metrics.gauges.items():
        lines += _head(name, help_, "gauge")
        lines.append(f"{name} {_number(read())}")
    lines.append("")
    return "\n".join(lines)


def _number(value: float) -> str:
    """Write a number with all its digits: rounded sums make wrong rates."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _head(name: str, help_: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _requests(series: list[RequestSeries]) -> Iterator[str]:
    if not series:
        return
    yield from _head("tulle_requests_total", "Requests, by peers and outcome.", "counter")
    yield from (f"tulle_requests_total{{{one.labels}}} {one.count}" for one in series)
    for name, help_, field in _HISTOGRAMS:
        yield from _head(name, help_, "histogram")
        for one in series:
            yield from _histogram(name, one.labels, getattr(one, field))


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.buckets, strict=True):
        below += count
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        yield f'{name}_bucket{{{labels},le="{le}"}} {below}'
    yield f"{name}_sum{{{labels}}} {_number(histogram.total)}"
    yield f"{name}_count{{{labels}}} {below}"


def _connections(series: Iterable[TcpSeries]) -> Iterator[str]:
    shown = list(series)
    if not shown:
        return
    for name, help_, field in _TCP:
        yield from _head(name, help_, "counter")
        yield from (f"{name}{{{one.labels}}} {getattr(one, field)}" for one in shown)
