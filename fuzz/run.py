"""Hand a target to atheris, with the sources instrumented.

In: a target's name and libFuzzer's arguments from the command line; a corpus folder among them is written to, without one
the kept corpus is read. Out: libFuzzer's report; a crash leaves its input in the working folder.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from fuzz import pure

CORPORA = Path(__file__).parent / "corpora"


def run(target: str) -> None:
    """Fuzz until `-runs` or `-max_total_time` says stop."""
    import atheris  # noqa: PLC0415 - lives in a venv of its own; targets are replayed without it

    pure.install()
    with atheris.instrument_imports(include=["dataplane"]):
        module = importlib.import_module(f"fuzz.{target}")
    arguments = list(sys.argv)
    if not any(not argument.startswith("-") for argument in arguments[1:]):
        arguments.append(str(CORPORA / target.removeprefix("fuzz_")))
    atheris.Setup(arguments, module.one)
    atheris.Fuzz()
