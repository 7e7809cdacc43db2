"""The control plane's program where every sidecar comes from one address: `python -m benchmarks.control.program [SECONDS]`.

In: what the control plane itself takes, and the seconds in which an hour passes for its collector. Out: the same process but for these two things: an address may have as many tokens reviewed
as all nodes together, for all their sidecars come from the loopback's; and while an hour's changes come at speed, the collector looks at everything as often as it would in an hour.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from benchmarks.control.synthetic import NODES
from controlplane import bounds, timing


def main() -> int:
    """Run it."""
    bounds.REVIEWS = replace(bounds.REVIEWS, node=bounds.REVIEWS.node * NODES)
    if len(sys.argv) > 1:
        timing.THOROUGH_SECONDS = float(sys.argv.pop())
    from controlplane.__main__ import main as run  # noqa: PLC0415 - its modules take the bounds as they are then

    return run()


if __name__ == "__main__":
    sys.exit(main())
