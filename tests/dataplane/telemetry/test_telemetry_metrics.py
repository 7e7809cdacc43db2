"""Series that are bound once, bumped cheaply and told in Prometheus' format."""

from __future__ import annotations

import re

from dataplane.telemetry import flags, labels
from dataplane.telemetry.labels import NOBODY, Peers, Workload, inbound
from dataplane.telemetry.metrics import GROUP_LIMIT, PEER_LIMIT, Metrics, escape
from tests.dataplane.telemetry.scraped import expose

SAMPLE = re.compile(r'^[a-z_]+(\{[a-z_]+="[^"}]*"(,[a-z_]+="[^"}]*")*\})? [-+.0-9einf]+$')
WEB = Workload(workload="web", namespace="shop", principal="spiffe://t/ns/shop/sa/web", app="web", version="v1")


def filled() -> Metrics:
    metrics = Metrics()
    group = metrics.requests(labels.inbound(WEB, "spiffe://t/ns/load/sa/load", {"workload": "load"}, secure=True))
    group.of(200, -1, False, flags.NONE).note(3.0, 10, 2000)
    group.of(200, -1, False, flags.NONE).note(70.0, 0, 64)
    group.of(200, 14, True, flags.NO_HEALTHY).note(0.1, 0, 0)
    tcp = metrics.tcp(labels.outbound(WEB, {"service": "db", "namespace": "shop"}, {}, "spiffe://t/ns/shop/sa/db"))
    tcp.opened += 1
    tcp.sent += 100
    metrics.refused.of("http1_smuggling").value += 1
    metrics.gauge("tulle_things", "Things.", lambda: 1.5)
    return metrics


def test_every_line_is_in_the_exposition_format() -> None:
    """A scraper reads each."""
    lines = [line for line in expose(filled()).splitlines() if not line.startswith("# ")]

    assert len(lines) == 2 + 2 * 16 + 2 * 2 * 2 + 4 + 1 + 1
    assert [line for line in lines if not SAMPLE.match(line)] == []


def test_requests_are_counted_by_outcome_with_istios_labels() -> None:
    """Names and labels are Istio's after the rename."""
    text = expose(filled())
    line = next(
        one for one in text.splitlines() if one.startswith("tulle_requests_total") and 'grpc_response_status=""' in one
    )

    assert line.endswith(" 2")
    for label in (
        'reporter="destination"',
        'source_principal="spiffe://t/ns/load/sa/load"',
        'source_workload="load"',
        'source_workload_namespace="load"',
        'destination_workload="web"',
        'request_protocol="http"',
        'response_code="200"',
        'response_flags="-"',
        'connection_security_policy="mutual_tls"',
    ):
        assert label in line
    assert 'grpc_response_status="14"' in text
    assert 'response_flags="UH"' in text


def test_histograms_are_cumulative_and_summed() -> None:
    """Buckets count everything below their bound."""
    text = expose(filled())
    buckets = re.findall(r'tulle_request_duration_milliseconds_bucket\{.*?outcome="ok",le="(.*?)"\} (\d+)', text)

    assert dict(buckets)["2.5"] == "0"
    assert dict(buckets)["5"] == "1"
    assert dict(buckets)["100"] == dict(buckets)["+Inf"] == "2"
    assert re.search(r'tulle_request_duration_milliseconds_sum\{.*?outcome="ok"\} 73\n', text)


def test_tcp_series_know_their_service_and_security() -> None:
    """The opaque path has the same labels."""
    line = next(one for one in expose(filled()).splitlines() if one.startswith("tulle_tcp_sent_bytes_total"))

    assert 'destination_service="db.shop.svc.cluster.local"' in line
    assert 'connection_security_policy="mutual_tls"' in line
    assert line.endswith(" 100")


def test_series_nobody_counts_in_expire_and_come_back() -> None:
    """Idle for two rounds is dropped; a holder that counts again is seen again."""
    metrics = filled()
    group = next(iter(metrics.groups.values()))
    metrics.expire()
    metrics.expire()
    assert metrics.groups == {}
    group.of(200, -1, False, flags.NONE).note(1.0, 0, 0)

    assert 'reporter="destination"' in expose(metrics)


def test_holders_of_one_pair_count_together_also_after_it_expired() -> None:
    """Who kept the series of a pair over its quiet time and who asked for them since count in the same ones: nobody's counts are lost."""
    metrics = Metrics()
    peers = labels.inbound(WEB, "spiffe://t/ns/load/sa/load", {}, secure=True)
    kept = metrics.requests(peers)
    kept.of(200, -1, False, flags.NONE).note(1.0, 0, 0)
    metrics.expire()
    metrics.expire()
    fresh = metrics.requests(peers)
    for holder in (fresh, kept, fresh):
        holder.of(200, -1, False, flags.NONE).note(1.0, 0, 0)

    assert [one.count for group in metrics.groups.values() for one in group.series.values()] == [3]


def test_open_tcp_series_do_not_expire() -> None:
    """A long idle connection is still there."""
    metrics = filled()
    metrics.expire()
    metrics.expire()

    assert len(metrics.tcps) == 1


def test_pairs_beyond_the_bound_are_counted_together() -> None:
    """Cardinality is ours, not the peers'."""
    metrics = Metrics()
    for number in range(GROUP_LIMIT + 10):
        metrics.requests(Peers(reporter="source", service=f"s{number}")).of(200, -1, False, 0).note(1.0, 0, 0)

    assert len(metrics.groups) == GROUP_LIMIT + 1
    assert sum(one.count for one in metrics.requests(labels.OVERFLOW).series.values()) == 10


def test_label_values_cannot_break_the_format() -> None:
    """Quotes and line ends are escaped, braces and control characters replaced."""
    assert escape('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
    assert escape("a}b\x00c") == "a?b?c"


def test_introduction_is_read_back_under_the_proven_namespace() -> None:
    """A sidecar may say what it is called, not where it lives; nonsense is nothing."""
    told = labels.introduce(Workload(workload="web", namespace="lied", version="v|1"))

    assert labels.introduced(told, "spiffe://t/ns/shop/sa/web") == {
        "workload": "web",
        "namespace": "shop",
        "version": "v1",
    }
    assert labels.introduced(b"\xff", "") == {}
    assert labels.introduce(NOBODY) == b"|||"


def told(number: int, principal: str = "spiffe://t/ns/n/sa/a") -> Peers:
    """Peers as a sidecar of this identity claims them."""
    return inbound(NOBODY, principal, {"workload": f"w-{number}", "app": "x"}, secure=True)


def test_identity_that_tells_ever_new_names_is_counted_by_itself_after_some() -> None:
    """It cannot take the room of others, and its requests are counted still."""
    metrics = Metrics()
    for number in range(3 * PEER_LIMIT):
        metrics.requests(told(number)).of(200, -1, False, 0).note(1.0, 0, 0)
    other = metrics.requests(told(0, "spiffe://t/ns/n/sa/b"))
    bare = metrics.requests(inbound(NOBODY, "spiffe://t/ns/n/sa/a", {}, secure=True))

    assert len(metrics.groups) == PEER_LIMIT + 2
    assert other.peers.source.workload == "w-0"
    assert sum(series.count for series in bare.series.values()) == 2 * PEER_LIMIT
    assert bare.peers.source.namespace == "n"


def test_names_of_an_identity_that_are_not_used_make_room_again() -> None:
    """With the groups that expire; a group somebody still holds counts when it is shown again."""
    metrics = Metrics()
    for number in range(PEER_LIMIT):
        metrics.requests(told(number)).of(200, -1, False, 0)
    held = metrics.requests(told(0))
    metrics.expire()
    metrics.expire()
    assert metrics.groups == {}
    held.of(200, -1, False, 0)
    for number in range(1, PEER_LIMIT + 1):
        metrics.requests(told(number)).of(200, -1, False, 0)

    assert told(PEER_LIMIT - 1) in metrics.groups
    assert told(PEER_LIMIT) not in metrics.groups


def test_names_that_are_shown_alike_are_one_pair() -> None:
    """Else a caller that calls itself both would have a series told twice, and a scrape refused."""
    metrics, own = Metrics(), labels.Workload(workload="me")
    for told in (b"a}|ns||", b"a?|ns||", b"a\x7f|ns||", b"a\n|ns||"):
        peers = labels.inbound(own, "", labels.introduced(told, ""), secure=False)
        metrics.requests(peers).of(200, -1, False, 0).note(1.0, 0, 0)
        metrics.tcp(peers)

    assert [group.peers.source.workload for group in metrics.groups.values()] == ["a?"]
    assert len(metrics.tcps) == 1
