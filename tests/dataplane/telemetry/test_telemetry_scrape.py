"""What a scrape says, read by a parser as strict as the format."""

from __future__ import annotations

import gzip
import math
import pickle
import random
import re
import time
import zlib
from dataclasses import dataclass, field

import pytest

from dataplane import views
from dataplane.telemetry import flags, labels, scrape, told
from dataplane.telemetry.accesslog import AccessLog
from dataplane.telemetry.labels import Peers, Workload
from dataplane.telemetry.metrics import DURATION_BOUNDS, OUTCOME_LIMIT, TRIES, Metrics
from dataplane.telemetry.packing import Gzip
from dataplane.telemetry.recent import Recent
from dataplane.telemetry.view import rows_of
from tests.dataplane.proxy.rig import Rig
from tests.dataplane.telemetry.scraped import expose, slices, text

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
KINDS = {"counter": {""}, "gauge": {""}, "histogram": {"_bucket", "_sum", "_count"}, "summary": {"_sum", "_count"}}
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
            assert found[1].removeprefix(now) in KINDS[family.kind]
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


def test_durations_are_told_by_class_of_outcome_and_sizes_without_buckets() -> None:
    """A pair that had every status there is costs four histograms."""
    metrics = Metrics()
    group = metrics.requests(Peers(reporter="source"))
    for code, flag in (
        (200, flags.NONE),
        (204, flags.NONE),
        (404, flags.NONE),
        (503, flags.NONE),
        (503, flags.OVERFLOW),
    ):
        group.of(code, -1, False, flag).note(2.0, 10, 20)
    found = parse(expose(metrics))
    counted = {
        (name.rpartition("_")[2], dict(pairs)["outcome"]): value
        for family in ("tulle_request_duration_milliseconds", "tulle_response_bytes")
        for (name, pairs), value in found[family].samples.items()
        if "bucket" not in name and "duration" not in name
    }

    assert counted == {
        (end, outcome): size * count
        for outcome, count in (("ok", 2), ("client", 1), ("server", 1), ("mesh", 1))
        for end, size in (("sum", 20), ("count", 1))
    }


def test_workers_are_added_up_series_by_series() -> None:
    """What only one of them has is told as well."""
    metrics, alone = busy(), busy()
    alone.requests(Peers(reporter="source", service="only here")).of(200, -1, False, 0).note(1.0, 2, 3)
    alone.tcp(Peers(reporter="source", service="only here")).opened += 1
    mirror = told.Mirror()
    for part in told.parts(alone, rows_of(alone)):
        mirror.take(pickle.loads(pickle.dumps(part)))
    one, both = parse(expose(alone)), parse(text(told.together(metrics, rows_of(metrics), [mirror])))

    assert both.keys() == one.keys()
    for name, family in both.items():
        assert family.samples.keys() == one[name].samples.keys()
        for key, value in family.samples.items():
            times = 1 if ("destination_service", "only here") in key[1] else 2
            assert value == pytest.approx(times * one[name].samples[key], abs=0.002)


def test_worker_that_says_nothing_new_counts_with_what_it_said_last() -> None:
    """Half a telling changes nothing, or sums would go back."""
    metrics, mirror = busy(), told.Mirror()
    parts = list(told.parts(metrics, rows_of(metrics)))
    for part in parts:
        mirror.take(part)
    before = text(told.together(metrics, rows_of(metrics), [mirror]))
    mirror.take(parts[0])

    assert text(told.together(metrics, rows_of(metrics), [mirror])) == before


@pytest.mark.parametrize("workers", [1, 3])
def test_scrape_of_the_whole_worker_and_of_several_together(workers: int) -> None:
    """With everything the admin port adds."""
    rig = Rig()
    try:
        rig.runtime.access_log = AccessLog("json", len, rig.runtime.timers)
        rig.runtime.access_log.dropped = 2
        rig.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        rig.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        metrics, rows = (
            rig.runtime.metrics,
            views.rows(rig.runtime, [], Recent(rig.runtime.metrics, rig.runtime.timers)),
        )
        mirrors = [told.Mirror() for _ in range(workers - 1)]
        for mirror in mirrors:
            for part in told.parts(metrics, rows):
                mirror.take(part)
        found = parse(text(told.together(metrics, rows, mirrors)))
    finally:
        rig.close()

    assert found["tulle_access_log_dropped_total"].samples["tulle_access_log_dropped_total", ()] == 2 * workers
    assert sum(found["tulle_requests_total"].samples.values()) == workers
    assert "tulle_overload_level" in found


PAIRS = 1000


def many(pairs: int = PAIRS) -> Metrics:
    """A thousand pairs of peers, each with requests of every speed there is."""
    metrics = Metrics()
    own = Workload(
        workload="web", namespace="shop", principal="spiffe://cluster.local/ns/shop/sa/web", app="web", version="v1"
    )
    dice = random.Random(1)
    for number in range(pairs):
        name = f"client-{number:04d}"
        told_ = {"workload": name, "app": name, "version": "v1"}
        group = metrics.requests(labels.inbound(own, f"spiffe://cluster.local/ns/shop/sa/{name}", told_, secure=True))
        series = group.of(200, -1, False, flags.NONE)
        usual = dice.uniform(0.0, 4.0)
        for _ in range(dice.randrange(20, 400)):
            series.note(dice.lognormvariate(usual, 0.7), dice.randrange(100), dice.randrange(10_000))
    return metrics


def test_thousand_pairs_are_a_scrape_that_travels() -> None:
    """At most 200 KB as gzip; the same text, and no slice of more lines or bytes than it may have."""
    view = told.together(many(), [], [])
    plain, packed = slices(view), slices(view, Gzip())
    whole = b"".join(plain)

    assert gzip.decompress(b"".join(packed)) == whole
    assert len(b"".join(packed)) <= 200_000
    most = len(DURATION_BOUNDS) + 3
    assert max(one.count(b"\n") for one in plain) <= scrape.LINES + most
    assert max(map(len, plain)) <= scrape.BYTES + most * 1024
    assert max(map(len, packed)) <= scrape.BYTES
    reader = zlib.decompressobj(31)
    read = [reader.decompress(one) for one in packed]
    assert all(one.endswith(b"\n") for one in read[:-1]), "each slice can be read when it is there"
    assert max(map(len, read)) <= scrape.BYTES_TO_PACK + most * 1024


TRACE = b"0af7651916cd43dd8448eb211c80319c"
TRACED = [(b"traceparent", b"00-" + TRACE + b"-b7ad6b7169203331-01", b"traceparent")]
EXEMPLAR = re.compile(r'(.*_bucket\{.*le="(.*?)"\} \d+) # \{trace_id="([0-9a-f]{32})"\} (\S+) (\S+)')


def openmetrics(metrics: Metrics) -> str:
    """Write everything out for who asks for OpenMetrics."""
    view = told.together(metrics, rows_of(metrics), [])
    return b"".join(scrape.Scrape(view, time.monotonic, openmetrics=True)).decode()


def test_openmetrics_says_the_same_in_its_own_words() -> None:
    """Counters' families lose `_total`, bounds are floats, the end is told; the samples are the same."""
    metrics = busy()
    said = openmetrics(metrics)
    assert said.endswith("# EOF\n")
    families = re.findall(r"^# TYPE (\S+) counter$", said, re.MULTILINE)
    assert families
    assert not [name for name in families if name.endswith("_total")]
    plain = re.sub(rf"^(# (?:HELP|TYPE) (?:{'|'.join(families)})) ", r"\1_total ", said, flags=re.MULTILINE)
    found, wanted = parse(plain.removesuffix("# EOF\n")), parse(expose(metrics))

    assert found.keys() == wanted.keys()
    assert 'le="1.0"' in said
    for name, family in wanted.items():
        assert sorted(found[name].samples.values()) == sorted(family.samples.values())


def test_exemplars_are_kept_for_who_can_read_them_one_a_bucket() -> None:
    """A value of its own bucket; a newer one after each scrape, and none of requests without a trace, or nonsense for one."""
    metrics = Metrics()
    series = metrics.requests(Peers(reporter="source")).of(200, -1, False, flags.NONE)

    def request(milliseconds: float, headers: list[tuple[bytes, bytes, bytes]]) -> None:
        series.note(milliseconds, 0, 0)
        if series.timing.wanted:
            series.timing.exemplify(headers, milliseconds)

    request(3.0, TRACED)
    assert " # {" not in openmetrics(metrics), "nobody had asked before"
    request(70.0, [])
    request(70.0, [(b"traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b"traceparent")])
    for milliseconds in (3.0, 4.0, 45_000.0):
        request(milliseconds, TRACED)
    found = [EXEMPLAR.fullmatch(line) for line in openmetrics(metrics).splitlines() if " # {" in line]

    assert [(one[2], one[3], one[4]) for one in found if one] == [
        ("5.0", TRACE.decode(), "3.000"),
        ("+Inf", TRACE.decode(), "45000.000"),
    ]
    assert " # {" not in expose(metrics)
    request(4.5, TRACED)
    assert "} 4.500 " in openmetrics(metrics)


def test_requests_are_looked_at_for_traces_a_few_times_after_a_scrape() -> None:
    """Where no request has one, most cost nothing for that."""
    metrics = Metrics()
    series = metrics.requests(Peers(reporter="source")).of(200, -1, False, flags.NONE)
    series.note(1.0, 0, 0)
    openmetrics(metrics)
    looked = 0
    while series.timing.wanted:
        series.note(1.0, 0, 0)
        series.timing.exemplify([], 1.0)
        looked += 1

    assert looked == TRIES


def test_exemplars_of_a_scrape_are_bounded() -> None:
    """Thirty-two digits of chance in each bucket would be most of it."""
    metrics = Metrics()
    for number in range(scrape.EXEMPLARS):
        series = metrics.requests(Peers(reporter="source", service=f"s{number}")).of(200, -1, False, flags.NONE)
        series.timing.want()
        for milliseconds in (1.0, 10.0):
            series.note(milliseconds, 0, 0)
            series.timing.exemplify(TRACED, milliseconds)

    assert openmetrics(metrics).count(" # {") == scrape.EXEMPLARS


def test_trace_of_a_request_is_the_exemplar_of_its_duration() -> None:
    """As its head has it."""
    rig = Rig()
    try:
        client = rig.client()
        for head in (b"", b"traceparent: 00-" + TRACE + b"-b7ad6b7169203331-01\r\n"):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")
            rig.servers[-1].send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            said = openmetrics(rig.runtime.metrics)
    finally:
        rig.close()

    assert said.count(TRACE.decode()) == 1


def test_packer_is_made_when_there_is_something_to_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait for their turn hold none."""
    made = []

    def compressobj(*how: int) -> zlib._Compress:
        made.append(how)
        return zlib.compressobj(*how)

    monkeypatch.setattr("dataplane.telemetry.packing.zlib_ng.compressobj", compressobj)
    waiting = [Gzip() for _ in range(20)]
    assert not made
    packed = waiting[0].add(b"a") + waiting[0].end()

    assert len(made) == 1
    assert gzip.decompress(packed) == b"a"
