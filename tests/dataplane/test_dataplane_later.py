"""Modules that are there and not loaded, until somebody asks them for something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ran(code: str) -> str:
    """What a process of its own prints, that has loaded next to nothing."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_postponed_module_is_loaded_by_the_first_thing_asked_of_it() -> None:
    """Importing it, once or twice, asks nothing; from then on it is a module as any other, to everybody who has it."""
    said = ran("""
from types import ModuleType
from dataplane.later import postpone
postpone("textwrap")
import textwrap
import textwrap as again
print(type(textwrap) is ModuleType, "dedent" in vars(textwrap))
from textwrap import dedent
print(type(textwrap) is ModuleType, again.dedent is dedent, dedent("  a"), textwrap.__name__)
""")

    assert said.split() == ["False", "False", "True", "True", "a", "textwrap"]


def test_module_that_is_there_stays_as_it_is() -> None:
    """And one that is nowhere is nothing to postpone: whoever imports it is told so."""
    said = ran("""
import textwrap
before = textwrap.dedent
from dataplane.later import postpone
postpone("textwrap", "nowhere_at_all")
import textwrap
print(textwrap.dedent is before, "nowhere_at_all" in sys.modules)
""")

    assert said.split() == ["True", "False"]
