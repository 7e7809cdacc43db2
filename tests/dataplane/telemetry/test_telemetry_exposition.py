"""What a scrape says, read by a parser as strict as the format."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import pytest

from dataplane import views
from dataplane.telemetry import flags, labels
from dataplane.telemetry.accesslog import AccessLog
from dataplane.telemetry.exposition import expose
from dataplane.telemetry.labels import Peers, Workload
from dataplane.telemetry.metrics import DURATION_BOUNDS, OUTCOME_LIMIT, Metrics
from dataplane.telemetry.recent import Recent
from dataplane.workers import summed
from tests.dataplane.proxy.rig import Rig

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
KINDS = {"counter", "gauge", "histogram"}
Labels = tuple[tuple[str, str], ...]


@dataclass
class Read:
    """A family as a scraper has it."""

    kind: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Read]:
    """Read a scrape; every deviation from the format is an error."""
    assert text.endswith("\n")
    families: dict[str, Read] = {}
    helped = ""
    now = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert re.fullmatch(NAME, helped), line
            assert helped not in families, f"{helped} is told in two places"
        elif line.startswith("# TYPE "):
            _, _, now, kind = line.split(" ")
            assert now == helped, "help and type belong together"
            assert kind in KINDS
            families[now] = Read(kind)
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            key = (found[1], read_labels(found[2] or ""))
            family = families[now]
            assert found[1].removeprefix(now) in ({"_bucket", "_sum", "_count"} if family.kind == "histogram" else {""})
            assert key not in family.samples, f"{key} is told twice"
            family.samples[key] = float(found[3])
    for name, family in families.items():
        check(name, family)
    return families


def read_labels(text: str) -> Labels:
    """Read what stands between braces."""
    pairs = []
    at = 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, text[at:]
        pairs.append((found[1], found[2]))
        at = found.end()
    assert len({name for name, _ in pairs}) == len(pairs), "a label stands twice"
    return tuple(pairs)


def check(name: str, family: Read) -> None:
    """Check what a kind promises."""
    if family.kind == "counter":
        assert name.endswith("_total")
        assert all(value >= 0 for value in family.samples.values())
    if family.kind != "histogram":
        return
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (sample, pairs), value in family.samples.items():
        if sample.endswith("_bucket"):
            (bound,) = (float(text) for label, text in pairs if label == "le")
            series.setdefault(tuple(pair for pair in pairs if pair[0] != "le"), []).append((bound, value))
    for pairs, buckets in series.items():
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
        assert [count for _, count in buckets] == sorted(count for _, count in buckets), "buckets are cumulative"
        assert buckets[-1] == (math.inf, family.samples[f"{name}_count", pairs])
        assert (f"{name}_sum", pairs) in family.samples


def busy() -> Metrics:
    metrics = Metrics()
    nasty = Workload(workload='a"b\\c\nd}', namespace="shöp")
    for peers in (Peers(reporter="source"), labels.inbound(nasty, "spiffe://t/ns/x/sa/y", {}, secure=True)):
        group = metrics.requests(peers)
        for took in (0.1, 3.0, 70.0, 1e7):
            group.of(200, -1, False, flags.NONE).note(took, 123_456_789, 2)
        group.of(503, 14, True, flags.OVERFLOW).note(1 / 3, 0, 0)
    metrics.tcp(Peers(reporter="source")).opened += 1
    metrics.errors.of("overloaded").value += 1
    metrics.gauge("tulle_when", "When.", lambda: 1_764_032_409.25)
    return metrics


def test_scrape_is_read_by_a_strict_parser() -> None:
    """Families in one piece, labels escaped, histograms cumulative with all they need."""
    found = parse(expose(busy()))

    assert {"tulle_requests_total", "tulle_request_duration_milliseconds", "tulle_tcp_sent_bytes_total"} <= set(found)
    assert len(found["tulle_requests_total"].samples) == 4


def test_numbers_keep_their_digits() -> None:
    """A sum of six digits makes a wrong rate, a time of six a certificate that never ends."""
    found = parse(expose(busy()))
    sums = [value for (name, _), value in found["tulle_request_bytes"].samples.items() if name.endswith("_sum")]

    assert max(sums) == 4 * 123_456_789
    assert found["tulle_when"].samples["tulle_when", ()] == 1_764_032_409.25


def test_observation_on_a_bound_is_in_its_bucket() -> None:
    """`le` is less or equal."""
    metrics = Metrics()
    series = metrics.requests(Peers(reporter="source")).of(200, -1, False, flags.NONE)
    for bound in DURATION_BOUNDS:
        series.note(bound, 0, 0)
    samples = parse(expose(metrics))["tulle_request_duration_milliseconds"].samples
    counts = [value for (name, _), value in samples.items() if name.endswith("_bucket")]

    assert counts == [*range(1, len(DURATION_BOUNDS) + 1), len(DURATION_BOUNDS)]


def test_outcomes_of_a_pair_are_bounded() -> None:
    """An app that answers with every status there is costs no more than so many series."""
    metrics = Metrics()
    group = metrics.requests(Peers(reporter="source"))
    for code in range(100, 1000):
        for flag in range(18):
            group.of(code, code % 17, code % 2 == 0, flag).note(1.0, 0, 0)
    found = parse(expose(metrics))["tulle_requests_total"].samples

    assert len(found) <= OUTCOME_LIMIT + 2 * 9
    assert sum(found.values()) == 900 * 18


@pytest.mark.parametrize("scrapes", [1, 3])
def test_scrape_of_the_whole_worker_and_of_several_together(scrapes: int) -> None:
    """With everything the admin port adds."""
    rig = Rig()
    try:
        rig.runtime.access_log = AccessLog("json", len, rig.runtime.timers)
        rig.runtime.access_log.dropped = 2
        rig.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        text = views.metrics_text(rig.runtime, [], Recent(rig.runtime.metrics, rig.runtime.timers))
        found = parse(summed([text] * scrapes))
    finally:
        rig.close()

    assert found["tulle_access_log_dropped_total"].samples["tulle_access_log_dropped_total", ()] == 2 * scrapes
    assert sum(found["tulle_requests_total"].samples.values()) == scrapes
    assert "tulle_overload_level" in found
