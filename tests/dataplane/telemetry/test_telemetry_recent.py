"""Errors of the last minute: what was before the one who looks came, and not what was before that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataplane.telemetry.labels import NOBODY, Peers
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.recent import SECONDS, STEP_SECONDS, Recent


class Minute:
    """Timers that are moved by hand."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], object]]] = []
        self.now = 0.0

    def after(self, seconds: float, callback: Callable[[], object]) -> None:
        self.due.append((self.now + seconds, callback))

    def pass_(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and self.due[0][0] <= end:
            self.now, callback = self.due.pop(0)
            callback()
        self.now = end


@pytest.fixture
def minute() -> Minute:
    return Minute()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def told(recent: Recent) -> dict[str, float]:
    return recent.errors()


RESET = "upstream_reset"


def test_errors_are_told_for_a_minute_and_forgotten(minute: Minute, metrics: Metrics) -> None:
    """They are there at once, a minute later still, and a step after that no more."""
    recent = Recent(metrics, minute)
    recent.start()
    minute.pass_(300.0)
    metrics.errors.of("upstream_reset").value += 3

    assert told(recent)[RESET] == 3
    minute.pass_(SECONDS)
    assert told(recent)[RESET] == 3
    minute.pass_(STEP_SECONDS)
    assert told(recent)[RESET] == 0


def test_requests_they_are_a_share_of_are_told_as_well(minute: Minute, metrics: Metrics) -> None:
    """A series that was dropped meanwhile makes no number below nothing."""
    group = metrics.requests(Peers(reporter="source", source=NOBODY))
    recent = Recent(metrics, minute)
    recent.start()
    for _ in range(7):
        group.of(200, -1, False, 0).note(1.0, 0, 0)

    assert recent.requests() == 7
    minute.pass_(SECONDS)
    metrics.expire()
    metrics.expire()
    assert recent.requests() == 0


def test_memory_is_a_minute_s_however_long_it_runs(minute: Minute, metrics: Metrics) -> None:
    """A day passes."""
    recent = Recent(metrics, minute)
    recent.start()
    minute.pass_(86400.0)

    assert len(recent._past) == SECONDS / STEP_SECONDS + 1
    assert len(minute.due) == 1
