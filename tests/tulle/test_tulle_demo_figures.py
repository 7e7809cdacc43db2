"""The demo's figures: read right, and every broken promise is said."""

from __future__ import annotations

import dataclasses

import pytest

from tulle.demo import figures

GOOD = figures.Figures(
    injected_pods=8,
    requests=1000,
    failed_requests=0,
    mtls_share=1.0,
    split_observed=0.09,
    rolling_restart_failures=0,
    control_plane_restart_failures=0,
    p50_ms=9.0,
    p99_ms=30.0,
    seconds_to_ready=20.0,
    seconds_total=60.0,
)

METRICS = """# TYPE tulle_requests_total counter
tulle_requests_total{reporter="destination",connection_security_policy="mutual_tls",response_code="200"} 30
tulle_requests_total{reporter="destination",connection_security_policy="none",response_code="200"} 10
tulle_requests_total{reporter="source",connection_security_policy="unknown",response_code="200"} 99
tulle_tcp_connections_opened_total{reporter="destination",connection_security_policy="mutual_tls"} 40
"""


def test_good_figures_break_no_claim() -> None:
    """A run that kept all promises passes."""
    assert GOOD.broken_claims() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("injected_pods", 0),
        ("requests", 0),
        ("failed_requests", 1),
        ("mtls_share", 0.999),
        ("split_observed", 0.14),
        ("rolling_restart_failures", 1),
        ("control_plane_restart_failures", 2),
    ],
)
def test_each_broken_promise_is_said(field: str, value: float) -> None:
    """No claim can fail silently."""
    assert len(dataclasses.replace(GOOD, **{field: value}).broken_claims()) == 1


def test_mtls_share_counts_what_destinations_received() -> None:
    """Requests and connections count, the source's own view does not."""
    assert figures.mtls_share([METRICS]) == 70 / 80


def test_mtls_share_is_nothing_without_traffic() -> None:
    """No traffic is no proof."""
    assert figures.mtls_share([""]) == 0.0
