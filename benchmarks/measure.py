"""CPU, memory and readiness of a process, from the kernel's own books.

In: process ids. Out: nanoseconds (sum over threads, /proc/PID/task/*/schedstat), bytes (Pss plus nothing shared twice is not
what operators see, so VmRSS), seconds. Refuses nothing; a process that is gone raises FileNotFoundError.
"""

from __future__ import annotations

import contextlib
import statistics
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """CPU time used by all threads so far, nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory now, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise FileNotFoundError(f"/proc/{pid}/status has no VmRSS")


def wakes(pid: int) -> int:
    """How often the threads of a process gave up the processor by themselves, to be woken later."""
    found = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            text = (thread / "status").read_text()
            found += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


def private_bytes(pid: int) -> int:
    """Resident memory nobody else has a part in, bytes: what one more process of the kind costs a node."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: list[float]) -> float:
    """The middle value."""
    return statistics.median(values)
