"""How long state machines run: bounded and the same each time, or for as long as somebody asks.

`TULLE_MACHINES=200 make test T=tests/dataplane/...` gives each machine two hundred times its examples, at random; with a
factor of 1, the default, every run takes the same steps.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def bounded(examples: int, steps: int) -> settings:
    """So many examples of so many steps at most, times the factor."""
    factor = int(os.environ.get("TULLE_MACHINES", "1"))
    return settings(
        max_examples=examples * factor,
        stateful_step_count=steps,
        deadline=None,
        derandomize=factor == 1,
        suppress_health_check=list(HealthCheck) if factor > 1 else [HealthCheck.too_slow],
    )
