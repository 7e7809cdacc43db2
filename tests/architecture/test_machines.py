"""State machines take the same steps in every run: whatever was imported and tested before them, and however Python hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SUPPORT = ROOT / "tests" / "support" / "machines.py"

# Draws all its numbers from where Hypothesis' own are taken now and then, after somebody else has drawn from there.
DRAWING = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from tests.support.machines import finds
numbers, words = st.integers(0, 254), st.text(max_size=20)
given(numbers, words)(settings(database=None)(lambda number, word: None))()
class Drawing(RuleBasedStateMachine):
    @rule(number=numbers, word=words, one=st.sampled_from(sorted(("a", "b", "c"))))
    def draw(self, number, word, one):
        print(number, ascii(word), one)
    @rule(many=st.sets(words))
    def draw_many(self, many):
        print(ascii(sorted(many)))
finds(Drawing, 40, 20)
"""


def steps(seed: int, *imported: str) -> list[str]:
    """What a machine does in a process of its own."""
    command = [sys.executable, "-c", DRAWING, *imported]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "TULLE_MACHINES": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_machine_takes_the_same_steps_whatever_is_imported() -> None:
    """Else a planted defect is found on one machine, and not where other tests were collected before."""
    alone = steps(0)

    assert len(alone) > 500
    assert steps(1, "dataplane.app", "controlplane.app") == alone


def test_every_machine_is_bounded_in_one_place() -> None:
    """No machine brings settings of its own, which would have steps of their own."""
    others = [path for path in TESTS if path not in {SUPPORT, Path(__file__)}]
    machines = [path for path in others if "RuleBasedStateMachine" in path.read_text()]

    assert machines
    assert [path.name for path in machines if "bounded(" not in path.read_text()] == []
    alone = ("stateful_step_count", "run_state_machine_as_test")
    assert [path.name for path in others if any(word in path.read_text() for word in alone)] == []
