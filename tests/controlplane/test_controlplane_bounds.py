"""One pod and one node have a part and no more: a machine against a model that counts by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.bounds import Bound, Budgets, FullError, Shares, Who
from tests.support.machines import bounded

PODS = [Who("shop", f"web-{number}", f"node-{number % 2}") for number in range(4)]
CALLERS = st.sampled_from([*PODS, Who("", "", "node-0"), Who("shop", "web-0", ""), Who()])
BOUND = Bound(pod=5, node=8)


def parts(who: Who) -> list[str]:
    return [part for part in (f"{who.namespace}/{who.pod}" if who.pod else "", who.node) if part]


def most(part: str) -> int:
    return BOUND.pod if "/" in part else BOUND.node


class Holding(RuleBasedStateMachine):
    """Callers take and give back."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares("things", BOUND)
        self.held: list[tuple[Who, int]] = []
        self.counted: Counter[str] = Counter()

    @rule(who=CALLERS, amount=st.integers(1, 4))
    def take(self, who: Who, amount: int) -> None:
        fits = all(self.counted[part] + amount <= most(part) for part in parts(who))
        if not fits:
            with pytest.raises(FullError, match="things at once"):
                self.shares.take(who, amount)
            return
        self.shares.take(who, amount)
        self.held.append((who, amount))
        self.counted.update(dict.fromkeys(parts(who), amount))

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 50))
    def give(self, index: int) -> None:
        who, amount = self.held.pop(index % len(self.held))
        self.shares.give(who, amount)
        self.counted.subtract(dict.fromkeys(parts(who), amount))

    @invariant()
    def memory_follows_who_holds_something(self) -> None:
        assert len(self.shares) == sum(1 for count in self.counted.values() if count)


Holding.TestCase.settings = bounded(100, 40)
test_shares_are_what_is_held = Holding.TestCase

EACH = {"pod": 4.0, "node": 1.0}


class Asking(RuleBasedStateMachine):
    """Callers ask while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets = Budgets("things", BOUND, pod_seconds=EACH["pod"], node_seconds=EACH["node"])
        self.now = 0.0
        self.level: dict[str, float] = {}
        """Of each part how much it has used and not yet earned back, at `at`."""
        self.at: dict[str, float] = {}

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds / 2

    @rule(who=CALLERS)
    def ask(self, who: Who) -> None:
        used = {part: self.used(part) for part in parts(who)}
        if any(level + 1 > most(part) + 1e-6 for part, level in used.items()):
            with pytest.raises(FullError, match="try again"):
                self.budgets.spend(who, self.now)
            return
        self.budgets.spend(who, self.now)
        for part, level in used.items():
            self.level[part], self.at[part] = level + 1, self.now

    def used(self, part: str) -> float:
        each = EACH["pod" if "/" in part else "node"]
        return max(0.0, self.level.get(part, 0.0) - (self.now - self.at.get(part, 0.0)) / each)


Asking.TestCase.settings = bounded(100, 40)
test_budgets_are_a_leaky_bucket = Asking.TestCase


def test_who_has_not_asked_of_late_is_forgotten() -> None:
    """A cluster that makes pods for ever must not be remembered whole."""
    budgets = Budgets("things", BOUND, pod_seconds=1.0, node_seconds=0.001)
    for number in range(10_000):
        budgets.spend(Who("shop", f"job-{number}", "node"), float(number))

    assert len(budgets) < 2_000


def test_one_pod_leaves_its_neighbours_their_part_and_one_node_the_others() -> None:
    """What is refused names who has too many, and is not counted for the other."""
    shares = Shares("streams", BOUND)
    for _ in range(5):
        shares.take(PODS[0])
    with pytest.raises(FullError, match="pod shop/web-0 may have 5 streams at once"):
        shares.take(PODS[0])
    for _ in range(3):
        shares.take(PODS[2])
    with pytest.raises(FullError, match="node node-0 may have 8 streams at once"):
        shares.take(PODS[2])
    shares.take(PODS[1], 5)

    assert shares.refused == 2
