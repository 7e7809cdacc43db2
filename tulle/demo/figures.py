"""What a demo run saw, as figures, and the claims they must meet.

In: metrics texts of the sidecars (Prometheus exposition format) and the load generator's own counts. Out: `Figures`.
Nothing here asks a cluster anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

SPLIT_WANTED = 0.10
"""The share of reviews v2 in manifests/samples/shop/route.yaml."""
SPLIT_TOLERANCE = 0.03

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>[^}]*)\} (?P<value>[-+.\deE]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCounts:
    """What the load generator says at one moment; counts since its start."""

    requests: int
    failed: int
    v1: int
    v2: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one run, in the order they are told."""

    injected_pods: int
    requests: int
    failed_requests: int
    mtls_share: float
    split_observed: float
    rolling_restart_failures: int
    control_plane_restart_failures: int
    p50_ms: float
    p99_ms: float
    seconds_to_ready: float
    seconds_total: float

    def as_dict(self) -> dict[str, float]:
        """Give the figures by name, rounded for reading."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def broken_claims(self) -> list[str]:
        """Say which promises of the demo these figures do not keep; empty is success."""
        claims = [
            (self.injected_pods > 0, "no pod was injected"),
            (self.requests > 0, "no request was made"),
            (self.failed_requests == 0, f"{self.failed_requests} of {self.requests} requests failed; 0 may"),
            (self.mtls_share == 1.0, f"{self.mtls_share:.1%} of the traffic was mutual TLS; all must be"),
            (
                abs(self.split_observed - SPLIT_WANTED) <= SPLIT_TOLERANCE,
                f"reviews v2 got {self.split_observed:.1%}; the route says {SPLIT_WANTED:.0%} ± {SPLIT_TOLERANCE:.0%}",
            ),
            (
                self.rolling_restart_failures == 0,
                f"{self.rolling_restart_failures} requests failed in a rolling restart",
            ),
            (
                self.control_plane_restart_failures == 0,
                f"{self.control_plane_restart_failures} requests failed while the control plane restarted",
            ),
        ]
        return [sentence for kept, sentence in claims if not kept]


def samples(text: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield (labels, value) of every sample of one metric in an exposition text."""
    for match in _SAMPLE.finditer(text):
        if match["name"] == name:
            yield dict(_LABEL.findall(match["labels"])), float(match["value"])


def mtls_share(texts: Iterable[str]) -> float:
    """Compute the share of requests and connections that reached their destination's sidecar by mutual TLS; 0 when none did."""
    secured = total = 0.0
    for text in texts:
        for metric in ("tulle_requests_total", "tulle_tcp_connections_opened_total"):
            for labels, value in samples(text, metric):
                if labels.get("reporter") == "destination":
                    total += value
                    secured += value if labels.get("connection_security_policy") == "mutual_tls" else 0.0
    return secured / total if total else 0.0
