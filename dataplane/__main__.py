"""`tulle-proxy`: from arguments and environment to a running sidecar."""

from __future__ import annotations

from dataplane.later import UNTOUCHED, postpone

postpone(*UNTOUCHED)

import asyncio  # noqa: E402 - it and the rest import what was postponed
import logging  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402

from dataplane import app, settings, worker  # noqa: E402
from dataplane.net import system  # noqa: E402
from dataplane.net.loop import TrafficLoop  # noqa: E402

log = logging.getLogger("tulle.proxy")


def main() -> int:
    """Run until told to end; returns 1 where it cannot start, 2 where it was told nonsense."""
    try:
        told = settings.from_process()
    except settings.BadSettingError as problem:
        print(f"tulle-proxy: {problem}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    system.one_heap()
    logging.basicConfig(
        level=told.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # Or the runner makes it a cancellation, which is not how a sidecar ends; `app` and the workers say how.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    forked = worker.Forked(told.concurrency - 1)
    try:
        with asyncio.Runner(loop_factory=TrafficLoop) as runner:
            runner.run(app.run(told, forked.ends) if forked.own is None else _work(told, forked.own))
    except app.StartError as problem:
        log.error("%s", problem)  # noqa: TRY400 - a sentence for the operator, not a defect of ours
        return 1
    finally:
        forked.reap()
    return 0


async def _work(told: settings.Settings, own: socket.socket) -> None:
    await worker.Worker(told, own).run()


if __name__ == "__main__":
    sys.exit(main())
