"""Chance in each process of a sidecar."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FORKED = """
import os
from dataplane.chance import dice
here, there = os.pipe()
if os.fork() == 0:
    os.write(there, repr([dice() for _ in range(3)]).encode())
    os._exit(0)
print([dice() for _ in range(3)], os.read(here, 1000).decode(), sep="\\n")
os.wait()
"""


def test_forked_worker_throws_dice_of_its_own() -> None:
    """Workers that all chose the same server would be one too many for it."""
    done = subprocess.run([sys.executable, "-c", _FORKED], cwd=ROOT, capture_output=True, check=True, text=True)
    own, other = done.stdout.splitlines()

    assert own != other
    assert all(0 <= number < 1 for row in (own, other) for number in map(float, row.strip("[]").split(", ")))
