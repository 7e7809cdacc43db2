"""`tulle-controlplane`: from the environment to a running control plane.

In: environment variables (settings.py names them). Out: exit code 0 after a graceful end, 1 when a part failed, 2 with one sentence for a bad setting.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import uvloop

from controlplane import settings

settings.choose_experiments()

from controlplane import app  # noqa: E402 - it imports gRPC
from controlplane.kube import connect  # noqa: E402


def main() -> int:
    """Run the control plane."""
    argparse.ArgumentParser(
        prog="tulle-controlplane",
        description="The control plane of a Tulle mesh.",
        epilog="It takes no options; its environment (TULLE_...) is set by the chart and named in controlplane/settings.py.",
    ).parse_args()
    try:
        chosen = settings.load()
        kubeconfig = chosen.kubeconfig
        connection = connect.from_kubeconfig(kubeconfig) if kubeconfig else connect.in_cluster(chosen.api_server)
    except settings.BadSettingError as error:
        sys.stderr.write(f"tulle-controlplane: {error}\n")
        return 2
    logging.basicConfig(level=chosen.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    # It warns that signals are ignored in its thread, which is what the thread is for (decision 0006).
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(app.serve(chosen, connection))
    except Exception:
        logging.getLogger("controlplane").exception("a part of the control plane failed; ending")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
