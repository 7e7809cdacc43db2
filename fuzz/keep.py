"""Choose what of a fuzzing folder is worth keeping: inputs that take a step no kept one takes.

In: `python -m fuzz.keep http1 <folder>`. Out: files added to `corpora/http1/`, shortest first. A step is one line of the
data plane's sources after another; libFuzzer's own merge starts itself anew, which a Python program is not made for.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz import pure

CORPORA = Path(__file__).parent / "corpora"
Step = tuple[str, int, int]


def steps(one: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Run one input and note each step."""
    found: set[Step] = set()
    last: dict[int, int] = {}

    def trace(frame: FrameType, event: str, _value: Any) -> Any:
        if "/dataplane/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            found.add((frame.f_code.co_filename, last.get(id(frame), 0), frame.f_lineno))
            last[id(frame)] = frame.f_lineno
        elif event == "call":
            last[id(frame)] = 0
        return trace

    sys.settrace(trace)
    try:
        one(data)
    finally:
        sys.settrace(None)
    return found


def main(target: str, folder: str) -> None:
    """Add what is new."""
    pure.install()
    one = importlib.import_module(f"fuzz.fuzz_{target}").one
    kept = CORPORA / target
    known: set[Step] = set()
    for path in kept.iterdir():
        known |= steps(one, path.read_bytes())
    for path in sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_size):
        data = path.read_bytes()
        fresh = steps(one, data) - known
        if fresh:
            known |= fresh
            (kept / hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
