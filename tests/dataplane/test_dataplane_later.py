"""Modules that are there and not loaded, until somebody asks them for something."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import pytest

from dataplane.later import postpone

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


def test_postponed_module_of_a_package_nobody_has_loaded_is_found_in_it() -> None:
    """`import a.b` binds only what it loads itself, and `b` is there already."""
    said = ran("""
from dataplane.later import postpone
sys.modules.pop("urllib.parse", None), sys.modules.pop("urllib", None)
postpone("urllib.parse")
import urllib.parse
print("quote" in vars(urllib.parse), urllib.parse.quote("/a b"))
""")

    assert said.split() == ["False", "/a%20b"]


def test_another_thread_waits_until_all_of_a_module_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a module is none."""
    began, gate = threading.Event(), threading.Event()
    (tmp_path / "tulle_slowly_loaded.py").write_text("import sys\nsys.tulle_wait()\nvalue = 1\n")
    monkeypatch.setattr(sys, "tulle_wait", lambda: (began.set(), gate.wait(10)), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tulle_slowly_loaded", raising=False)
    postpone("tulle_slowly_loaded")
    module = sys.modules["tulle_slowly_loaded"]
    with futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: module.value)
        assert began.wait(10)
        second = pool.submit(lambda: module.value)
        gate.set()

        assert (first.result(10), second.result(10)) == (1, 1)
