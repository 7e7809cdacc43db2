"""How long state machines run: bounded and the same each time, or for as long as somebody asks.

`TULLE_MACHINES=200 make test T=machine` gives each machine two hundred times its examples, at random, and as much more time; with a
factor of 1, the default, every run takes the same steps.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture.choice import choice_permitted
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, GLOBAL_CONSTANTS, HypothesisProvider
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

FACTOR = int(os.environ.get("TULLE_MACHINES", "1"))
STEADY = "steady"


class Steady(HypothesisProvider):
    """Draws that depend on nothing but the machine.

    Hypothesis' own now and then take a number that stands in some module which happens to be imported, so what else was tested, and each
    change of the product, gave a machine other steps. And five of six examples were the one before, changed a little: every one is
    drawn anew here, which finds what is planted in half the examples or fewer.
    """

    def _maybe_draw_constant(self, choice_type: Any, constraints: Any, *, p: float = 0.05) -> Any:
        """Draw an edge of usual numbers, such as 65,536, with this probability."""
        assert self._random is not None
        if self._random.random() > p:
            return None
        edges = [one for one in GLOBAL_CONSTANTS.set_for_type(choice_type) if choice_permitted(one, constraints)]
        return self._random.choice(edges) if edges else None

    @contextmanager
    def per_test_case_context_manager(self) -> Iterator[None]:
        """Run an example without a log: pytest keeps each line to the end, with all that the errors in it hold. What fails is run again with it."""
        logging.disable()
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


AVAILABLE_PROVIDERS[STEADY] = Steady


def bounded(examples: int, steps: int) -> settings:
    """So many examples of so many steps at most, times the factor."""
    return settings(
        max_examples=examples * FACTOR,
        stateful_step_count=steps,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        backend=STEADY,
        suppress_health_check=list(HealthCheck),
    )


def within(seconds: float) -> pytest.MarkDecorator:
    """Bound a machine's whole run, times the factor."""
    return pytest.mark.timeout(seconds * FACTOR)


def finds(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run a machine with a defect in what it tests until it fails; raises what it fails with, or nothing when it finds nothing.

    A defect should be found in a tenth of the examples, for a change of the machine changes its luck.
    """
    longest = settings(bounded(examples, steps), phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
    run_state_machine_as_test(machine, settings=longest)
