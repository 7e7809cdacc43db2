"""Where the time goes: the kernel's sampling profiler on the outbound proxy (of handshakes, the accepting one) while it works.

In: a case and a running pair. Out: the ten costliest symbols, `share object symbol`, those without a name as one. Empty where `perf` is not installed or not
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

KINDS = {"cpu", "bytes", "latency", "handshakes"}
"""Cases during which a proxy works."""
SECONDS = 2
LINES = 10
HANDSHAKES = 1000
_GIGABYTE = 10**9


def top(case: Case, running: Pair) -> list[str]:
    """Profile a proxy of the pair under the case's load."""
    if not shutil.which("perf"):
        return []
    with tempfile.TemporaryDirectory(prefix="tulle-perf-") as folder:
        data = Path(folder) / "perf.data"
        proxy = running.inbound if case.kind == "handshakes" else running.outbound
        recording = ["perf", "record", "-q", "-F", "999", "-o", str(data), "-p", str(proxy.pid)]
        with subprocess.Popen(recording, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _work(case, running)
            finally:
                process.send_signal(2)
        told = subprocess.run(
            ["perf", "report", "-i", str(data), "--no-children", "--sort", "dso,symbol", "--stdio"],
            capture_output=True,
            text=True,
            check=False,
        )
    return _costliest(told.stdout)


def _work(case: Case, running: Pair) -> None:
    if case.kind == "bytes":
        load.receive_bytes(running.ports.outbound, 2 * _GIGABYTE)
    elif case.kind == "handshakes":
        load.churn(running.ports.inbound, HANDSHAKES, load.mutual_tls(running.caller))
    else:
        load.http(running.ports.outbound, case.http, SECONDS)


def _costliest(report: str) -> list[str]:
    """Add up what has no name, which a stripped library has by the thousand, and keep the first lines."""
    shares: dict[str, float] = {}
    for line in report.splitlines():
        share, *rest = line.split()[:4] or [""]
        if not share.endswith("%") or len(rest) != 3:
            continue
        file, ring, symbol = rest
        name = f"{file} {ring} {'(without a name)' if symbol.startswith('0x') else symbol}"
        shares[name] = shares.get(name, 0.0) + float(share[:-1])
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    return [f"{share:.2f}% {name}" for name, share in ordered[:LINES]]
