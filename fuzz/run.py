"""Hand a target to atheris, with the sources instrumented.

In: a target's name and libFuzzer's arguments from the command line; new inputs are written to a folder named there, else to
a temporary one, and the kept corpus is always read. Out: libFuzzer's report; a crash leaves its input in the working folder.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from fuzz import pure

CORPORA = Path(__file__).parent / "corpora"


def run(target: str) -> None:
    """Fuzz until `-runs` or `-max_total_time` says stop."""
    import atheris  # noqa: PLC0415 - lives in a venv of its own; targets are replayed without it

    pure.install()
    with atheris.instrument_imports(include=["dataplane"]):
        module = importlib.import_module(f"fuzz.{target}")
    kept = str(CORPORA / target.removeprefix("fuzz_"))
    named = any(not argument.startswith("-") for argument in sys.argv[1:])
    # The folder stays: libFuzzer ends the process without a way to tidy up.
    fresh = [] if named else [tempfile.mkdtemp(prefix="tulle-fuzz-")]
    atheris.Setup([*sys.argv, *fresh, kept], module.one)
    atheris.Fuzz()
