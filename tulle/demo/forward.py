"""Ask a pod from outside as a person would: through `kubectl port-forward`, which ends on the pod's own loopback.

In: a kubeconfig and where to. Out: a local URL, while the context lasts. What comes this way is not captured, so asking the
load generator how it goes is no plaintext traffic in the figures. Refuses with ForwardError and kubectl's own words.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_LINE = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class ForwardError(RuntimeError):
    """The port could not be forwarded; the message has kubectl's words."""


@contextmanager
def forwarded(command: list[str]) -> Iterator[str]:
    """Run `kubectl ... port-forward TARGET :PORT` and give the local URL."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            found = _LINE.search(line)
            if found is None:
                raise ForwardError(f"`{' '.join(command)}` did not forward: {line.strip()}")
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
