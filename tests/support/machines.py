"""How long state machines run: bounded and the same each time, or for as long as somebody asks.

`TULLE_MACHINES=200 make test T=machine` gives each machine two hundred times its examples, at random, and as much more time; with a
factor of 1, the default, every run takes the same steps.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("TULLE_MACHINES", "1"))


def bounded(examples: int, steps: int) -> settings:
    """So many examples of so many steps at most, times the factor."""
    return settings(
        max_examples=examples * FACTOR,
        stateful_step_count=steps,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def within(seconds: float) -> pytest.MarkDecorator:
    """Bound a machine's whole run, times the factor."""
    return pytest.mark.timeout(seconds * FACTOR)
