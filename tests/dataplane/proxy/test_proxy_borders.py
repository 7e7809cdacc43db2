"""How often a warm request crosses from module to module: a figure that is kept, so that it does not grow unseen."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.dataplane.proxy.borders import ROOT

MOST = {"head": {"borders": 45, "proxy": 23}, "answer": {"borders": 58, "proxy": 33}}


def test_warm_request_crosses_no_more_borders_than_it_did() -> None:
    """Counted by the profiler over the sources; `borders.py --calls` tells where. Who makes it fewer lowers the bound."""
    command = [sys.executable, str(ROOT / "tests/dataplane/proxy/borders.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)

    for which, most in MOST.items():
        assert all(counted[which][name] <= most[name] for name in most), counted
