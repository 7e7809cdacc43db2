"""The compiled protocol modules and their sources are one program: the same tests, the same answers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "tests" / "dataplane" / "protocol"
FLOW = str(ROOT / "tests" / "dataplane" / "proxy" / "test_proxy_flow.py")

# Runs pytest with the sources in place of the compiled modules; Hypothesis does little, for this proves sameness, not more.
RUNNER = """
import sys
from fuzz import pure
pure.install()
import hypothesis
import pytest
hypothesis.settings.register_profile("few", max_examples=5, deadline=None, derandomize=True)
hypothesis.settings.load_profile("few")
from dataplane.protocol.http1 import scan
assert scan.__file__.endswith(".py"), scan.__file__
sys.exit(pytest.main(sys.argv[1:]))
"""

# Left out: what only counts, or repeats random search the compiled run has done.
ELSEWHERE = ("oracle", "machines", "fuzz", "roundtrip", "flood")
QUICK = "not bytewise and not grow and not oracle and not however"


def compiled() -> list[str]:
    """Modules of the protocol with a compiled variant beside them."""
    found = [path for path in (ROOT / "dataplane/protocol").rglob("*.py") if path.with_suffix(".pxd").exists()]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found)


def uncompiled(*arguments: str) -> str:
    """Run tests with the sources in place of the compiled modules; return what pytest says, and fail where it does."""
    command = [sys.executable, "-c", RUNNER, "-x", "-p", "no:asyncio", "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_sources_give_the_answers_the_compiled_modules_give() -> None:
    """All plays, tables and vectors of the protocol, uncompiled."""
    files = [str(p) for p in sorted(PROTOCOL.glob("test_*.py")) if not any(word in p.stem for word in ELSEWHERE)]
    uncompiled("-q", "-k", QUICK, *files)


def test_flow_machine_finds_what_is_planted_uncompiled() -> None:
    """What is compiled cannot be taken apart, so there the test of it is left out."""
    assert "\n1 passed" in uncompiled("-k", "inside_a_chunk_line", FLOW)


def test_this_run_uses_the_compiled_modules_where_there_are_any() -> None:
    """Else the test before compared the sources with themselves."""
    built = [name for name in compiled() if list(ROOT.glob(f"{name.replace('.', '/')}.*.so"))]
    if not built:
        return  # the pure variant: nothing to compare
    for name in built:
        module = importlib.import_module(name)
        assert (module.__file__ or "").endswith(".so"), name
    assert built == compiled()


TARGETS = ["http1", "http2", "hpack"]


@pytest.mark.parametrize("target", TARGETS)
def test_kept_fuzzing_inputs_hold_uncompiled(target: str) -> None:
    """What was found uncompiled is replayed compiled elsewhere; here the other way round."""
    code = (
        "from fuzz import pure; pure.install(); import importlib, pathlib;"
        f"one = importlib.import_module('fuzz.fuzz_{target}').one;"
        f"[one(p.read_bytes()) for p in pathlib.Path('fuzz/corpora/{target}').iterdir()]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
