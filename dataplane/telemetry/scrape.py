"""One scrape, written in slices: what is counted never stands written down as a whole, and traffic has its turn between two slices.

In: what is to be shown (`View`), and who packs it, if anybody does. Out: slices, each of bounded lines, bytes and time. A number is read when its
line is written, so it may be newer than one above it; those of one histogram are of one moment. What comes into being meanwhile is told with the next scrape, what expires
meanwhile is still told with this one. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from dataplane.telemetry import outcomes
from dataplane.telemetry.metrics import DURATION_BOUNDS, Exemplars, RequestGroup, RequestSeries, TcpSeries, Timing
from dataplane.telemetry.view import Row, View

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
LINES: Final = 512
"""Lines of a slice, and at most those of a pair of peers more."""
BYTES: Final = 64 * 1024
"""Bytes of a slice, the same."""
BYTES_TO_PACK: Final = 256 * 1024
"""Bytes of text of a slice that is packed: it travels as a fiftieth, and packing as much takes half a millisecond."""
EXEMPLARS: Final = 1000
"""Of a scrape: nothing packs what stands for chance."""
SECONDS: Final = 0.0005
"""After so long a slice ends, the same."""

_COUNTS = ("tulle_requests_total", "Requests, by peers and outcome.")
_DURATION = (
    "tulle_request_duration_milliseconds",
    "Time from request head to last response byte, by peers and class of outcome: ok, client (4xx), server (5xx), mesh (answered by the sidecar).",
)
_SIZES = (
    ("tulle_request_bytes", "Request body bytes, by peers and class of outcome."),
    ("tulle_response_bytes", "Response body bytes, by peers and class of outcome."),
)
_TCP = (
    ("tulle_tcp_connections_opened_total", "Opaque connections opened, by peers."),
    ("tulle_tcp_connections_closed_total", "Opaque connections closed, by peers."),
    ("tulle_tcp_sent_bytes_total", "Bytes from the server to the client on opaque connections, as Istio counts them."),
    (
        "tulle_tcp_received_bytes_total",
        "Bytes from the client to the server on opaque connections, as Istio counts them.",
    ),
)
_BOUNDS = tuple(f',le="{bound}"}} '.encode() for bound in (*(f"{bound:g}" for bound in DURATION_BOUNDS), "+Inf"))
_FLOAT_BOUNDS = tuple(f',le="{bound}"}} '.encode() for bound in (*DURATION_BOUNDS, "+Inf"))
"""As OpenMetrics wants them."""
_CLASSES = tuple(b',outcome="%s"' % name.encode() for name in outcomes.NAMES)
_END = b"} "


class Pack(Protocol):
    """Packs slices (`packing.Gzip`)."""

    def add(self, data: bytes) -> bytes:
        """Pack a slice; whoever reads has it whole with these bytes."""

    def end(self) -> bytes:
        """Return what comes after the last slice."""


class Lines:
    """Lines, put together."""

    __slots__ = ("_out", "size")

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self.size = 0

    def take(self) -> bytes:
        """Return the bytes that are there."""
        out = b"".join(self._out)
        self._out.clear()
        self.size = 0
        return out

    def text(self, data: bytes) -> None:
        """Write bytes of any kind."""
        self._out.append(data)
        self.size += len(data)

    def line(self, head: bytes, block: bytes, mark: bytes, rest: bytes) -> None:
        """Write a line: a metric, labels, what ends them, a number."""
        self._out += (head, block, mark, rest)
        self.size += len(head) + len(block) + len(mark) + len(rest)

    def again(self, rest: bytes) -> None:
        """Go on with the line written last, in place of its end."""
        said = self._out[-1]
        self._out[-1] = said[:-1] + rest
        self.size += len(rest) - 1


class Scrape:
    """The slices of one scrape."""

    def __init__(
        self, view: View, clock: Callable[[], float], pack: Pack | None = None, *, openmetrics: bool = False
    ) -> None:
        self._view = view
        self._openmetrics = openmetrics
        self._bounds = _FLOAT_BOUNDS if openmetrics else _BOUNDS
        self._lines = Lines()
        self._clock = clock
        self._pack = pack
        self._most = BYTES if pack is None else BYTES_TO_PACK
        self._steps = self._written()

    def __iter__(self) -> Iterator[bytes]:
        """Be taken slice by slice."""
        return self

    def __next__(self) -> bytes:
        """Write a slice."""
        lines, clock = self._lines, self._clock
        until = clock() + SECONDS
        left = LINES
        while left > 0 and lines.size < self._most:
            wrote = next(self._steps, 0)
            left -= wrote
            if not wrote or (clock() >= until and lines.size):
                break
        pack = self._pack
        if lines.size:
            return lines.take() if pack is None else pack.add(lines.take())
        if pack is None:
            raise StopIteration
        self._pack = None
        return pack.end()

    def _written(self) -> Iterator[int]:
        """Write all, a pair of peers at a time; how many lines that were."""
        yield from self._counts()
        yield from self._durations()
        for which, (name, help_) in enumerate(_SIZES):
            yield from self._sizes(name, help_, which)
        for which, (name, help_) in enumerate(_TCP):
            yield from self._tcp(name, help_, which)
        for row in self._view.rows:
            yield self._row(row)
        if self._openmetrics:
            self._lines.text(b"# EOF\n")
            yield 1

    def _family(self, name: str, help_: str, kind: str) -> None:
        if self._openmetrics and kind == "counter":
            name = name.removesuffix("_total")
        self._lines.text(f"# HELP {name} {help_}\n# TYPE {name} {kind}\n".encode())

    def _groups(self) -> Iterator[RequestGroup]:
        besides = self._view.besides
        for group in self._view.groups:
            others = [there[group.prefix] for there in besides if group.prefix in there]
            yield merged([group, *others]) if others else group

    def _counts(self) -> Iterator[int]:
        lines = self._lines
        name, help_ = _COUNTS
        head = f"{name}{{".encode()
        said = False
        for group in self._groups():
            wrote = 0
            for one in list(group.series.values()):
                if not said:
                    said = True
                    self._family(name, help_, "counter")
                lines.line(head, group.prefix + one.labels, _END, b"%d\n" % one.count)
                wrote += 1
            if wrote:
                yield wrote

    def _timings(self, name: str, help_: str, kind: str) -> Iterator[list[tuple[bytes, Timing]]]:
        """Yield the classes of each pair that has some, after the family's head."""
        said = False
        for group in self._groups():
            found = [(group.prefix + _CLASSES[one.outcome], one) for one in list(group.timings.values())]
            if found and not said:
                said = True
                self._family(name, help_, kind)
            if found:
                yield found

    def _durations(self) -> Iterator[int]:
        name, help_ = _DURATION
        bucket, total, count = (f"{name}{end}{{".encode() for end in ("_bucket", "_sum", "_count"))
        exemplars = 0
        for found in self._timings(name, help_, "histogram"):
            for block, one in found:
                told = one.exemplars if self._openmetrics and exemplars < EXEMPLARS else None
                exemplars += len(told or ())
                _histogram(self._lines, (bucket, total, count), (block, one), self._bounds, told)
            yield len(found) * (len(_BOUNDS) + 2)
        if self._openmetrics:
            for group in self._view.groups:
                for one in list(group.timings.values()):
                    one.want()

    def _sizes(self, name: str, help_: str, which: int) -> Iterator[int]:
        lines = self._lines
        total, count = (f"{name}{end}{{".encode() for end in ("_sum", "_count"))
        for found in self._timings(name, help_, "summary"):
            for block, one in found:
                lines.line(total, block, _END, b"%d\n" % (one.sent if which else one.received))
                lines.line(count, block, _END, b"%d\n" % sum(one.buckets))
            yield 2 * len(found)

    def _tcp(self, name: str, help_: str, which: int) -> Iterator[int]:
        head = f"{name}{{".encode()
        besides = self._view.tcps_besides
        said = False
        for one in self._view.tcps:
            if not said:
                said = True
                self._family(name, help_, "counter")
            value = _tcp_value(one, which)
            for there in besides:
                if one.labels in there:
                    value += _tcp_value(there[one.labels], which)
            self._lines.line(head, one.labels, _END, b"%d\n" % value)
            yield 1

    def _row(self, row: Row) -> int:
        self._family(row.name, row.help, row.kind)
        for value, sample in sorted(row.values.items()):
            labels = f'{{{row.label}="{value}"}}' if row.label else ""
            self._lines.text(f"{row.name}{labels} ".encode() + number(sample))
        return len(row.values) + 2


def _histogram(
    lines: Lines,
    heads: tuple[bytes, bytes, bytes],
    what: tuple[bytes, Timing],
    bounds: tuple[bytes, ...],
    exemplars: Exemplars | None,
) -> None:
    """Write a histogram, labels and numbers; those are of one moment."""
    block, timing = what
    bucket, total, count = heads
    below = 0
    said = b"0\n"
    buckets = timing.buckets
    for index, bound in enumerate(bounds):
        more = buckets[index]
        if more:
            below += more
            said = b"%d\n" % below
        lines.line(bucket, block, bound, said)
        if exemplars is not None and index in exemplars:
            lines.again(_exemplar(*exemplars[index]))
    lines.line(total, block, _END, number(round(timing.milliseconds, 3)))
    lines.line(count, block, _END, said)


def _exemplar(trace: bytes, milliseconds: float, when: float) -> bytes:
    """Write what stands behind a bucket's number, and end the line."""
    return b' # {trace_id="%s"} %.3f %.3f\n' % (trace, milliseconds, when)


def number(value: float) -> bytes:
    """Write a number with all its digits, and end the line: rounded sums make wrong rates."""
    return b"%d\n" % int(value) if float(value).is_integer() else f"{float(value)!r}\n".encode()


def merged(groups: list[RequestGroup]) -> RequestGroup:
    """Add up the same pair's numbers of several workers."""
    found = groups[0].empty()
    for group in groups:
        for one in list(group.timings.values()):
            timing = found.timings.get(one.outcome)
            if timing is None:
                timing = found.timings[one.outcome] = Timing(one.outcome)
            timing.add(one)
        for key, series in list(group.series.items()):
            if key not in found.series:
                found.series[key] = RequestSeries(series.labels, found.timings[series.timing.outcome])
            found.series[key].count += series.count
    return found


def _tcp_value(series: TcpSeries, which: int) -> int:
    return (series.opened, series.closed, series.sent, series.received)[which]
