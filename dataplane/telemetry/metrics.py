"""The series the sidecar counts in: looked up once per pair of peers, then bumped as plain integers.

In: `Peers` when a connection or endpoint is bound, numbers after that. Out: groups and families for `scrape`.
Requests are counted by outcome; how long they took and how large they were is kept by class of outcome (`outcomes`).
Bounded: pairs beyond the limit share one overflow pair, and series idle for two expiry rounds are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from weakref import WeakValueDictionary

from dataplane.protocol.events import Headers
from dataplane.protocol.fields import get
from dataplane.telemetry import flags, labels, outcomes
from dataplane.telemetry.labels import OVERFLOW, Peers

DURATION_BOUNDS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0, 30000.0)
"""Milliseconds; coarse above a second, for each is a line of every pair in a scrape."""
_BOUNDS = DURATION_BOUNDS
_ALL = (1 << (len(DURATION_BOUNDS) + 1)) - 1
TRIES = 64
"""Requests of a pair and class that are looked at for their traces after a scrape that can tell some."""
_TRACEPARENT = 55
"""Bytes of one; later versions are longer."""
GROUP_LIMIT = 4000
"""Pairs of peers counted apart."""
PEER_LIMIT = 100
"""Of those, names one identity may give itself (`x-tulle-peer`); under further ones it is counted by its identity alone."""
OUTCOME_LIMIT = 40
"""Outcomes of a pair counted apart; of further ones only the class of the status is told."""


Marks = dict[bytes, set[int]]
"""By the labels of a pair: outcomes, by their keys, and classes, as -1 - class; by those of a TCP series: 0."""
Exemplars = dict[int, tuple[bytes, float, float]]
"""By bucket: a request's trace, how long it took, milliseconds, and when that was, seconds since the epoch."""


class Timing:
    """How long requests of a pair took that ended in one class, and how large they were."""

    __slots__ = (
        "_last",
        "_tries",
        "buckets",
        "exemplars",
        "milliseconds",
        "outcome",
        "received",
        "sent",
        "touched",
        "wanted",
    )

    def __init__(self, outcome: int) -> None:
        self.outcome = outcome
        self.buckets = [0] * (len(DURATION_BOUNDS) + 1)
        """Counts by upper bound; the last takes the rest."""
        self.milliseconds = 0.0
        self.received = 0
        """Body bytes of requests, in all."""
        self.sent = 0
        self.touched = True
        self.exemplars: Exemplars | None = None
        """Nothing until somebody wants some."""
        self.wanted = 0
        """A bit for each bucket whose exemplar is to be a newer one."""
        self._tries = 0
        self._last = 0
        """The bucket of the request noted last."""

    def want(self) -> None:
        """Have a newer exemplar looked for in each bucket, among the next requests."""
        if self.exemplars is None:
            self.exemplars = {}
        self.wanted = _ALL
        self._tries = TRIES

    def exemplify(self, headers: Headers, milliseconds: float) -> None:
        """Keep the trace of the request noted last, if it has one and its bucket wants one."""
        bit = 1 << self._last
        if not self.wanted & bit or self.exemplars is None:
            return
        self._tries -= 1
        if self._tries <= 0:
            self.wanted = 0
        trace = trace_of(get(headers, b"traceparent"))
        if trace:
            self.exemplars[self._last] = (trace, milliseconds, time.time())
            self.wanted &= ~bit

    def note(self, milliseconds: float, received: int, sent: int) -> None:
        """Count one request."""
        buckets = self.buckets
        index = 0
        for bound in _BOUNDS:
            if milliseconds <= bound:
                break
            index += 1
        buckets[index] += 1
        self._last = index
        self.milliseconds += milliseconds
        self.received += received
        self.sent += sent
        self.touched = True

    def add(self, other: Timing) -> None:
        """Count what another counted as well."""
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        self.exemplars = self.exemplars or other.exemplars
        self.milliseconds += other.milliseconds
        self.received += other.received
        self.sent += other.sent


class RequestSeries:
    """Requests between two peers that ended alike."""

    __slots__ = ("count", "labels", "timing", "touched")

    def __init__(self, labels: bytes, timing: Timing) -> None:
        self.labels = labels
        """What stands behind the labels of the pair."""
        self.timing = timing
        """Of their class."""
        self.count = 0
        self.touched = True

    def note(self, milliseconds: float, received: int, sent: int) -> None:
        """Count one request; sizes are body bytes."""
        self.count += 1
        self.touched = True
        self.timing.note(milliseconds, received, sent)


class RequestGroup:
    """All series of one pair of peers; holders keep it as long as they like, expired or not."""

    __slots__ = ("__weakref__", "_last", "_last_key", "_owner", "listed", "peers", "prefix", "series", "timings")

    def __init__(self, owner: Metrics, peers: Peers, prefix: bytes = b"") -> None:
        self._owner = owner
        self.peers = peers
        self.prefix = prefix or render(peers.pairs())
        """The pair's labels, without braces."""
        self.series: dict[int, RequestSeries] = {}
        """By outcome."""
        self.timings: dict[int, Timing] = {}
        """By class."""
        self.listed = False
        self._last_key = -1
        self._last: RequestSeries | None = None

    def of(self, code: int, grpc_status: int, grpc: bool, flag: int) -> RequestSeries:
        """Return the series of this outcome; `grpc_status` is -1 when there is none."""
        key = ((code * 32 + grpc_status + 1) * 2 + grpc) * 32 + flag
        if key == self._last_key and self._last is not None:
            return self._last
        found = self.series.get(key)
        if found is None:
            if len(self.series) >= OUTCOME_LIMIT and (code % 100 or grpc_status >= 0 or flag):
                return self.of(code // 100 * 100, -1, grpc, flags.NONE)
            found = self._make(key, code, grpc_status, grpc, flag)
        self._last_key = key
        self._last = found
        return found

    def _make(self, key: int, code: int, grpc_status: int, grpc: bool, flag: int) -> RequestSeries:
        status = str(grpc_status) if grpc_status >= 0 else ""
        pairs = [
            ("request_protocol", "grpc" if grpc else "http"),
            ("response_code", str(code)),
            ("grpc_response_status", status),
            ("response_flags", flags.NAMES[flag]),
        ]
        outcome = outcomes.classify(code, grpc_status, flag)
        timing = self.timings.get(outcome)
        if timing is None:
            timing = self.timings[outcome] = Timing(outcome)
        timing.touched = True  # with the outcome, which must not outlive it
        found = self.series[key] = RequestSeries(b"," + render(pairs), timing)
        if not self.listed:
            self._owner.relist(self)
        return found

    def empty(self) -> RequestGroup:
        """Make a group of the same pair that counts nothing yet and is not shown."""
        return RequestGroup(self._owner, self.peers, self.prefix)

    def forget(self) -> None:
        """Drop series nothing was counted in since the last call."""
        self.series = {key: kept for key, kept in self.series.items() if kept.touched}
        for kept in self.series.values():
            kept.touched = False
        # A class nothing was counted in has no outcome left that counts in it.
        self.timings = {outcome: timing for outcome, timing in self.timings.items() if timing.touched}
        for timing in self.timings.values():
            timing.touched = False
        self._last_key = -1
        self._last = None

    def drop(self, marks: AbstractSet[int]) -> bool:
        """Forget what is marked; whether nothing is left."""
        self.series = {key: one for key, one in self.series.items() if key not in marks}
        self.timings = {outcome: one for outcome, one in self.timings.items() if -1 - outcome not in marks}
        for one in self.series.values():  # an outcome newer than the marks begins its class anew
            if one.timing.outcome not in self.timings:
                self.timings[one.timing.outcome] = Timing(one.timing.outcome)
            one.timing = self.timings[one.timing.outcome]
        self._last_key = -1
        self._last = None
        return not self.series and not self.timings


class TcpSeries:
    """Opaque connections between two peers; bump the fields."""

    __slots__ = ("closed", "labels", "opened", "received", "sent", "touched")

    def __init__(self, labels: bytes) -> None:
        self.labels = labels
        self.opened = 0
        self.closed = 0
        self.sent = 0
        """Bytes towards the client (responses), as Istio counts them."""
        self.received = 0
        self.touched = True


class Counter:
    """One plain counter; bump `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Family:
    """Counters of one name, apart by one label."""

    __slots__ = ("help", "label", "name", "values")

    def __init__(self, name: str, help_: str, label: str) -> None:
        self.name = name
        self.help = help_
        self.label = label
        self.values: dict[str, Counter] = {}

    def of(self, value: str) -> Counter:
        """Return the counter of a label value (a word of our own, never outside input)."""
        found = self.values.get(value)
        if found is None:
            found = self.values[value] = Counter()
        return found


class Metrics:
    """Everything a scrape shows."""

    def __init__(self) -> None:
        self.groups: dict[Peers, RequestGroup] = {}
        self._held: WeakValueDictionary[Peers, RequestGroup] = WeakValueDictionary()
        """Those shown, and those dropped that somebody still holds: of each pair there is one."""
        self._names: dict[str, int] = {}
        """How many of the groups are a caller's, by its identity."""
        self.tcps: dict[Peers, TcpSeries] = {}
        self.refused = Family("tulle_refused_total", "Requests and connections refused, by reason.", "reason")
        """Broken rules and limits of protocols; the reason is the codecs' `counter`."""
        self.errors = Family("tulle_errors_total", "Responses the sidecar made itself, by reason.", "reason")
        self.events = Family("tulle_proxy_events_total", "What happened inside the sidecar, by kind.", "kind")
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def requests(self, peers: Peers) -> RequestGroup:
        """Return the group of a pair of peers; keep it, it is not for the hot path."""
        found = self._held.get(peers)
        if found is None:
            if self._names.get(_caller(peers), 0) >= PEER_LIMIT:
                bare = labels.unnamed(peers)
                if bare != peers:
                    return self.requests(bare)
            if len(self.groups) >= GROUP_LIMIT and peers is not OVERFLOW:
                return self.requests(OVERFLOW)
            found = self._held[peers] = RequestGroup(self, peers)
            self.relist(found)
        return found

    def relist(self, group: RequestGroup) -> None:
        """Show a group (again): something is to be counted in it."""
        group.listed = True
        caller = _caller(group.peers)
        if caller and group.peers not in self.groups:
            self._names[caller] = self._names.get(caller, 0) + 1
        self.groups[group.peers] = group

    def tcp(self, peers: Peers) -> TcpSeries:
        """Return the connection series of a pair of peers; set `touched` when bumping it."""
        found = self.tcps.get(peers)
        if found is None:
            if len(self.tcps) >= GROUP_LIMIT and peers is not OVERFLOW:
                return self.tcp(OVERFLOW)
            tcp_labels = [("request_protocol", "tcp"), ("response_flags", "-")]
            found = self.tcps[peers] = TcpSeries(render([*peers.pairs(), *tcp_labels]))
        return found

    def gauge(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """Show what `read` returns at each scrape."""
        self.gauges[name] = (help_, read)

    def families(self) -> Iterator[Family]:
        """Yield the plain counter families."""
        yield from (self.refused, self.errors, self.events)

    def expire(self) -> None:
        """Drop what nothing was counted in since the last call; for who counts alone, every few minutes. Several do it together (`expiry`), or their sum would go back."""
        for group in list(self.groups.values()):
            group.forget()
            if not group.series:
                group.listed = False
                self._drop(group.peers)
        for peers, series in list(self.tcps.items()):
            if not series.touched and series.opened == series.closed:
                del self.tcps[peers]
            series.touched = False

    def drop(self, marks: Marks) -> None:
        """Forget what is marked, whatever was counted in it since it was: the other workers forget the same (`expiry`)."""
        for group in list(self.groups.values()):
            if group.drop(marks.get(group.prefix, frozenset())):
                group.listed = False
                self._drop(group.peers)
        for peers, tcp in list(self.tcps.items()):
            if tcp.labels in marks:
                del self.tcps[peers]

    def _drop(self, peers: Peers) -> None:
        del self.groups[peers]
        caller = _caller(peers)
        if caller:
            self._names[caller] -= 1
            if not self._names[caller]:
                del self._names[caller]


def _caller(peers: Peers) -> str:
    """Return the proven identity of who came in and told its own names; empty for all others."""
    return peers.source.principal if peers.reporter == "destination" else ""


def trace_of(given: bytes | None) -> bytes:
    """Return the trace of a `traceparent` (W3C Trace Context, 3.2.2: `00-<32 hex>-<16 hex>-<2 hex>`); empty where there is none, or it is none."""
    if given is None or len(given) < _TRACEPARENT or given[2:3] != b"-" or given[35:36] != b"-":
        return b""
    trace = given[3:35]
    return trace if not trace.translate(None, b"0123456789abcdef") and trace.strip(b"0") else b""


def render(pairs: list[tuple[str, str]]) -> bytes:
    """Write labels as they stand between the braces of the exposition format, UTF-8."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in pairs).encode("utf-8", "replace")


def escape(value: str) -> str:
    """Escape a label value, made `labels.plain` where it is not."""
    return labels.plain(value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
