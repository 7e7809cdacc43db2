"""`tulle-proxy`: from arguments and environment to a running sidecar."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop

from dataplane import app, settings


def main() -> int:
    """Run until told to end; returns 1 where it cannot start, 2 where it was told nonsense."""
    try:
        told = settings.from_process()
    except settings.BadSettingError as problem:
        print(f"tulle-proxy: {problem}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    logging.basicConfig(
        level=told.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(app.run(told))
        except app.StartError as problem:
            logging.getLogger("tulle.proxy").error("%s", problem)  # noqa: TRY400 - a sentence for the operator, not a defect of ours
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
