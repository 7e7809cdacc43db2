"""Where the time goes: the kernel's sampling profiler on the outbound proxy while it works.

In: a case and a running pair. Out: the ten costliest symbols, `share  object  symbol`. Empty where `perf` is not installed or not
allowed (Debian: linux-perf); nothing is measured for the table while it runs.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks import load
from benchmarks.cases import Case
from benchmarks.peers import Pair

SECONDS = 2
LINES = 10
_GIGABYTE = 10**9


def top(case: Case, running: Pair) -> list[str]:
    """Profile the outbound proxy of a pair under the case's load."""
    if not shutil.which("perf"):
        return []
    with tempfile.TemporaryDirectory(prefix="tulle-perf-") as folder:
        data = Path(folder) / "perf.data"
        recording = ["perf", "record", "-q", "-F", "999", "-o", str(data), "-p", str(running.outbound.pid)]
        with subprocess.Popen(recording, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                if case.kind == "bytes":
                    load.receive_bytes(running.ports.outbound, 2 * _GIGABYTE)
                else:
                    load.http(running.ports.outbound, case.http, SECONDS)
            finally:
                process.send_signal(2)
        told = subprocess.run(
            ["perf", "report", "-i", str(data), "--no-children", "--sort", "dso,symbol", "--stdio"],
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [" ".join(line.split()) for line in told.stdout.splitlines() if line.strip() and not line.startswith("#")]
    return [line.removesuffix(" - -") for line in lines[:LINES]]
