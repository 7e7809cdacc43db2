"""What the running parts have to say, gathered for the admin port.

In: `Parts`, the running ones. Out: an `admin.Report`. Looks only; nothing here changes anything, and nothing secret is among what it looks at.
"""

from __future__ import annotations

import datetime as dt
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from controlplane.admin import Json, Report, Sample
from controlplane.ca.changing import RootChange
from controlplane.ca.rootchange import Stage
from controlplane.ca.service import Certificates, Issuing
from controlplane.ca.serving import Serving
from controlplane.ca.tokens import Tokens
from controlplane.ca.trust import Trust
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.feed.feed import Feed
from controlplane.feed.objects import ObjectStore
from controlplane.operator.thread import Operator
from controlplane.telling import Telling
from controlplane.timing import Collector, Histogram, LoopLag
from controlplane.write.leader import Elector
from controlplane.write.writer import Writer
from controlplane.xds.asking import Asking
from controlplane.xds.publisher import Publisher
from controlplane.xds.selfcheck import SelfCheck
from controlplane.xds.server import Hub, Stream
from controlplane.xds.source import Source
from controlplane.xds.subscription import Subscription

MAX_BROKEN = 100
"""Names of broken things shown at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Who is asked."""

    elector: Elector
    store: ObjectStore
    feed: Feed
    hub: Hub
    asking: Asking
    source: Source
    publisher: Publisher
    trust: Trust
    root_change: RootChange
    certificates: Certificates
    issuing: Issuing
    telling: Telling
    tokens: Tokens
    certificate_seconds: int
    """The life of a workload's certificate."""
    serving: Serving
    writer: Writer
    operator: Operator
    selfcheck: SelfCheck
    lag: LoopLag
    collector: Collector
    admissions: Mapping[tuple[str, str], int]
    """Reviews answered, by webhook and outcome."""
    missing: Callable[[], list[str]]
    """What is not ready yet, in words."""


def of(parts: Parts) -> Report:
    """Make the report of a control plane."""
    return Report(
        missing=parts.missing,
        samples=lambda: samples(parts),
        proxies=lambda: [_proxy(parts, stream) for stream in sorted(parts.hub.streams, key=_place)],
        snapshot=lambda: {
            **snapshot(parts.source.snapshot),
            "authority": authority(parts),
            "feed": feed(parts),
            "unwritten": unwritten(parts),
            "timing": timing(parts),
        },
        ask=parts.asking.ask,
    )


def samples(parts: Parts) -> Iterator[Sample]:
    """Every number of `/metrics`."""
    yield _gauge(
        "tulle_controlplane_leader", float(parts.elector.leading), "Whether this replica writes to the cluster."
    )
    for transport, count in sorted(Counter("delta" if s.delta else "sotw" for s in parts.hub.streams).items()):
        yield _gauge("tulle_xds_streams", count, "Streams open now.", transport=transport)
    yield from _of_the_cluster(parts)
    for cache, count in parts.source.sizes().items():
        yield _gauge(
            "tulle_xds_cached_resources", count, "Encoded resources held, and inputs they were made of.", cache=cache
        )
    for what in sorted({*map(str, parts.source.broken), *parts.source.snapshot.faults})[:MAX_BROKEN]:
        yield _gauge("tulle_broken", 1, "What a defect keeps from being made; its last form stays.", what=what)
    yield from _distribution(parts)
    book = parts.certificates
    yield _total("tulle_certificates_issued_total", book.issued, "Certificates issued.")
    yield _total("tulle_certificates_refused_total", book.refused, "Requests for certificates refused.")
    for (hook, outcome), count in sorted(parts.admissions.items()):
        yield _total("tulle_admissions_total", count, "Reviews answered.", webhook=hook, outcome=outcome)
    yield _total("tulle_writes_total", parts.writer.written, "Writes to the cluster done.")
    yield _total(
        "tulle_writes_failed_total",
        parts.writer.failed,
        "Attempts to write to the cluster that failed; each is made again.",
    )
    yield _gauge(
        "tulle_write_oldest_seconds",
        parts.writer.oldest(),
        "Age of the oldest write that is wanted and not done; only the leader writes.",
    )
    yield _total("tulle_operator_restarts_total", parts.operator.restarts, "Times kopf was started anew.")
    yield from _roots(parts)
    if parts.serving.expires is not None:
        left = parts.serving.expires.timestamp() - time.time()
        yield _gauge("tulle_serving_certificate_seconds", left, "Seconds until the control plane's certificate ends.")
    yield from _timings(parts)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield _total("process_cpu_seconds_total", usage.ru_utime + usage.ru_stime, "CPU time used.")
    yield _gauge("process_max_resident_memory_bytes", usage.ru_maxrss * 1024, "Most memory resident so far.")


def _roots(parts: Parts) -> Iterator[Sample]:
    for stage in Stage:
        current = float(stage is parts.trust.record.stage)
        yield _gauge("tulle_root_change", current, "1 for the stage a change of roots is in.", stage=stage.value)
    if parts.trust.issuer is not None:
        left = parts.trust.issuer.certificate.not_valid_after_utc.timestamp() - time.time()
        yield _gauge("tulle_issuer_seconds", left, "Seconds until the certificate that signs those of workloads ends.")


def _distribution(parts: Parts) -> Iterator[Sample]:
    figures, hub = parts.publisher.figures, parts.hub
    yield _total("tulle_xds_pushes_total", hub.pushes, "Responses sent because something changed.")
    yield _total("tulle_xds_nacks_total", hub.nacked, "Responses a client refused.")
    yield _total("tulle_xds_denied_total", hub.denied, "Streams refused.")
    yield from _bounds(parts)
    yield _total("tulle_xds_encoded_total", parts.source.encoded, "Resources encoded.")
    yield _total("tulle_snapshots_total", figures.snapshots, "Snapshots made.")
    yield _total("tulle_snapshot_failures_total", figures.failures, "Snapshots that could not be made.")
    yield _total("tulle_snapshot_seconds_total", figures.seconds, "CPU time spent making snapshots.")
    yield _gauge("tulle_snapshot_last_seconds", figures.last_seconds, "CPU time the last snapshot took.")


def _bounds(parts: Parts) -> Iterator[Sample]:
    hub, asked = parts.hub, (parts.issuing.budgets, parts.tokens.budgets, parts.telling.budgets)
    for bounded in (hub.opening, hub.held, hub.names, *asked):
        yield _total(
            "tulle_bound_refusals_total",
            bounded.refused,
            "Times a pod or node would have had more than its part.",
            bound=bounded.what,
        )


def _of_the_cluster(parts: Parts) -> Iterator[Sample]:
    for kind, count in sorted(parts.store.count().items()):
        yield _gauge("tulle_objects", count, "Objects of the cluster held.", kind=kind)
    for kind, one in sorted(parts.feed.kinds.items()):
        yield _gauge(
            "tulle_feed_age_seconds",
            one.age,
            "Time since the API server was last heard of a kind; about a minute passes between signs of life.",
            kind=kind,
        )


def _gauge(name: str, value: float, words: str, **labels: str) -> Sample:
    return Sample(name=name, value=value, labels=labels, help=words)


def _total(name: str, value: float, words: str, **labels: str) -> Sample:
    return Sample(name=name, value=value, labels=labels, kind="counter", help=words)


def _timings(parts: Parts) -> Iterator[Sample]:
    """How long what nobody may wait for takes, and what was found wrong."""
    yield from _histogram(
        "tulle_change_acknowledged_seconds", parts.hub.acknowledged, "From a change seen to each acknowledgement of it."
    )
    yield from _histogram("tulle_loop_lag_seconds", parts.lag.late, "How late the loop wakes who asked to be woken.")
    yield _gauge("tulle_loop_lag_longest_seconds", parts.lag.late.longest, "Longest so far.")
    yield from _histogram(
        "tulle_gc_pause_seconds", parts.collector.pauses, "Collections, during which everything waits."
    )
    yield _gauge("tulle_gc_pause_longest_seconds", parts.collector.pauses.longest, "Longest so far.")
    check = parts.selfcheck
    yield _total(
        "tulle_self_check_keys_total", check.looked, "Keys compared with what their objects give from nothing."
    )
    yield _total(
        "tulle_self_check_stale_total", check.stale, "Keys that were stale, and were made anew: a defect of Tulle."
    )


def _histogram(name: str, found: Histogram, words: str) -> Iterator[Sample]:
    for bound, count in found.buckets():
        yield Sample(name=name, value=count, labels={"le": bound}, kind="histogram", help=words, suffix="_bucket")
    yield Sample(name=name, value=found.sum, labels={}, kind="histogram", help=words, suffix="_sum")
    yield Sample(name=name, value=found.count, labels={}, kind="histogram", help=words, suffix="_count")


def _place(stream: Stream) -> tuple[str, str]:
    return stream.peer.namespace, stream.peer.pod


def _proxy(parts: Parts, stream: Stream) -> Json:
    peer = stream.peer
    expires = parts.certificates.expires.get((peer.namespace, peer.pod))
    return {
        "pod": peer.pod,
        "namespace": peer.namespace,
        "identity": peer.identity,
        "workload": peer.workload,
        "waiting_seconds": round(time.monotonic() - stream.waiting_since, 3) if stream.waiting_since else 0.0,
        "connected_since": dt.datetime.fromtimestamp(stream.since, dt.UTC).isoformat(timespec="milliseconds"),
        "version": peer.version or peer.user_agent,
        "contract": peer.contract,
        "passed_over": sorted(filter(None, peer.passed_over.split(","))),
        "certificate_expires_at": expires.isoformat() if expires else peer.certificate_expires_at or None,
        "resources": {
            type_.url: _progress(subscription) for type_, subscription in stream.conversation.subscriptions.items()
        },
    }


def _progress(subscription: Subscription) -> Json:
    """How many resources of a type were sent and how many of them accepted; and the sentence of what was refused."""
    known = subscription.progress.values()
    refused = {name: one.reason for name, one in subscription.progress.items() if one.nacked and one.nacked == one.sent}
    return {
        "sent": len(known),
        "acked": sum(one.acked == one.sent for one in known),
        "unacknowledged": subscription.unacknowledged or None,
        "nacked_reason": "; ".join(f"{name}: {reason}" for name, reason in sorted(refused.items())) or None,
        "subscribed": len(subscription.names),
        "missing": sorted(subscription.missing),
    }


def feed(parts: Parts) -> Json:
    """How each kind is read: in which version, how long ago it was heard of, and why not."""
    return {
        kind: {"version": one.served or None, "age_seconds": round(one.age, 1), "error": one.trouble or None}
        for kind, one in parts.feed.kinds.items()
    }


def unwritten(parts: Parts) -> list[Json]:
    """What the leader wants to write and could not, the oldest first."""
    return [
        {"what": one.what, "seconds": round(one.seconds, 1), "error": one.why or None}
        for one in parts.writer.stuck()[:MAX_BROKEN]
    ]


def timing(parts: Parts) -> Json:
    """How late the loop woke and how long acknowledgements took since this process began, for who looks twice."""
    late, acknowledged = parts.lag.late, parts.hub.acknowledged
    return {
        "watched_seconds": round(parts.lag.watched, 3),
        "late_seconds": round(late.sum, 3),
        "woken_late": late.over(0.25),
        "woken_very_late": late.over(1.0),
        "acknowledged": acknowledged.count,
        "acknowledged_late": acknowledged.over(2.5),
    }


def authority(parts: Parts) -> Json:
    """Who signs, until when, and the roots that are trusted; all of it public."""
    trust = parts.trust
    certificate = trust.issuer.certificate if trust.issuer else None
    return {
        "roots": trust.roots_pem,
        "issuer_began_at": certificate.not_valid_before_utc.isoformat() if certificate else None,
        "issuer_expires_at": certificate.not_valid_after_utc.isoformat() if certificate else None,
        "issuer_refused": trust.refused or None,
        "roots_refused": trust.roots_refused or None,
        "to_remember": sorted(trust.to_remember),
        "root_change": {
            "stage": trust.record.stage.value,
            "since": dt.datetime.fromtimestamp(trust.record.since, dt.UTC).isoformat(timespec="seconds"),
            "waiting": parts.root_change.waiting(),
        },
        "certificate_seconds": parts.certificate_seconds,
    }


def snapshot(current: MeshSnapshot) -> Json:
    """The mesh as it was decided, in few words."""
    return {
        "trust_domain": current.trust_domain,
        "mesh": {"mode": current.mesh.mode.value, "outbound_allowed": current.mesh.outbound_allowed},
        "services": {
            str(key): {
                "ips": list(entry.service.ips),
                "ports": {
                    str(port): [f"{one.address}:{one.port}" for one in found.endpoints]
                    for port, found in entry.ports.items()
                },
            }
            for key, entry in current.services.items()
        },
        "pods": {
            str(key): {"identity": entry.identity, "mode": entry.policy.mode.value}
            for key, entry in current.pods.items()
        },
        "routes": [str(key) for key in current.route_statuses],
        "problems": [str(problem) for problem in current.user_problems],
    }
