"""What `tulle check` proves of time: a loop that is held, and a change nobody acknowledges, each fail a claim of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.tulle.test_tulle_proofs import CART, proxy, well
from tulle import pacing
from tulle.looks import Look
from tulle.output import FAILED, OK, WARNING

LOOP = "nothing holds the control plane's loop"
SOON = "what changes is acknowledged by every sidecar in time"
BEGAN = {
    "watched_seconds": 100.0,
    "late_seconds": 5.0,
    "woken_late": 3,
    "woken_very_late": 1,
    "acknowledged": 50,
    "acknowledged_late": 2,
}


def timed(**more: Any) -> Look:
    """A replica that has counted so much more than `BEGAN`."""
    counted = {name: value + more.get(name, 0) for name, value in BEGAN.items()}
    return replace(well(), snapshots={"tulle-0": {"timing": counted}})


def waiting(seconds: float, since: str = "2026-01-01T00:00:00Z") -> Look:
    one = proxy("cart-1") | {"waiting_seconds": seconds, "connected_since": since}
    return replace(timed(watched_seconds=4.0), proxies=well().proxies | {CART: one})


def told(first: Look, second: Look) -> list[tuple[str, str, str]]:
    return [(c.status, c.text, c.detail) for c in pacing.of_time(first, second) if c.status != OK]


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"late_seconds": 2.4, "woken_late": 3}, FAILED, "tulle-0: its loop was held for 60% of 4.0 s"),
        ({"late_seconds": 2.4, "woken_late": 0}, OK, ""),  # a little late each time: a busy machine
        ({"late_seconds": 1.2, "woken_late": 1}, OK, ""),
        (
            {"late_seconds": 1.2, "woken_late": 1, "woken_very_late": 1},
            WARNING,
            "tulle-0: its loop was held 1 times for more than a second",
        ),
    ],
)
def test_loop_that_is_held_between_the_looks_is_told(more: dict[str, float], status: str, words: str) -> None:
    """For most of the time it fails; once for long it is a warning."""
    found = told(timed(), timed(watched_seconds=4.0, **more))

    assert found == ([(status, LOOP, words)] if words else [])


def test_replica_that_began_anew_or_does_not_say_is_passed_over() -> None:
    """What it had counted is gone."""
    held = timed(watched_seconds=4.0, late_seconds=4.0, woken_late=9)
    fresh = replace(well(), snapshots={"tulle-0": {"timing": dict.fromkeys(BEGAN, 0)}})

    assert told(held, fresh) == []
    assert told(replace(well(), snapshots={"tulle-0": {}}), held) == []
    assert told(held, replace(well(), snapshots={"tulle-0": {}})) == []


def test_change_that_waits_fails_with_its_age() -> None:
    """It was seen, and the sidecar neither took nor refused it."""
    assert told(waiting(0.2), waiting(4.2)) == [(FAILED, SOON, "shop/cart-1: a change has waited for 4.2 s")]


def test_change_that_is_under_way_is_no_outage() -> None:
    """A young one, one after the other, or on a stream that is new."""
    assert told(waiting(0.0), waiting(0.4)) == []
    assert told(waiting(2.5), waiting(0.1)) == []
    assert told(waiting(1.0), waiting(5.0, since="2026-01-01T00:00:09Z")) == []


def test_acknowledgements_that_took_long_are_a_warning() -> None:
    """They came; the next may not."""
    found = told(timed(), timed(watched_seconds=4.0, acknowledged=10, acknowledged_late=4))

    assert found == [(WARNING, SOON, "tulle-0: 4 of 10 acknowledgements took more than 2.5 s")]
