"""The cluster's process: `python -m devcluster --directory D --images I.json`.

It opens the API socket, moves into namespaces of its own, serves until SIGTERM, and takes everything with it when it ends. A line on `--ready`
(a file descriptor) or on standard output says when it serves. It ends with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from devcluster.api.app import Api
from devcluster.controllers.starting import run_all
from devcluster.outages import Outages
from devcluster.runtime import linux
from devcluster.runtime.kubelet import Kubelet
from devcluster.runtime.network import API_PORT, NODE_ADDRESS, Network

LOG = logging.getLogger("devcluster")


def main() -> int:
    """Run a cluster to its end."""
    options = _options()
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    options.directory = options.directory.resolve()  # containers see it from another root
    options.directory.mkdir(parents=True, exist_ok=True)
    if not options.alone:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    listening = _bound("127.0.0.1", options.port)
    if not options.no_pods:
        try:
            linux.enter_node()
        except OSError as error:
            print(f"devcluster: pods cannot run here: {error}", file=sys.stderr)
            print("devcluster: run it as root, or allow user namespaces, or give --no-pods", file=sys.stderr)
            return 2
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(options, listening))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devcluster", description="An embedded Kubernetes on this machine.")
    parser.add_argument("--directory", type=Path, required=True, help="where kubeconfig, keys and pods are kept")
    parser.add_argument("--images", type=Path, help="JSON: image glob to its archive, or to directories of programs")
    parser.add_argument("--port", type=int, default=0, help="port of the API on 127.0.0.1 (0: any)")
    parser.add_argument("--ready", type=int, default=1, help="file descriptor that is told when the API serves")
    parser.add_argument("--orders", type=int, help="descriptor of a socket that orders outages (devcluster/outages.py)")
    parser.add_argument("--no-pods", action="store_true", help="serve the API and the controllers, run no pods")
    parser.add_argument("--alone", action="store_true", help="do not end with the parent process")
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser.parse_args()


async def _run(options: argparse.Namespace, listening: socket.socket) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    api = Api(options.directory)
    sockets = [listening]
    kubelet: Kubelet | None = None
    network: Network | None = None
    if not options.no_pods:
        network = Network()
        network.start()
        sockets.append(_bound(NODE_ADDRESS, API_PORT))
        images = options.images or options.directory / "images.json"
        root = options.directory / "pods"
        kubelet = Kubelet(api.registry, network, images, root, api.issuer)
    try:
        async with asyncio.TaskGroup() as group:
            await api.start(group, sockets, kubelet)
            if kubelet is not None:
                await kubelet.start(group)
            run_all(api.registry, group, api.authority.certificate.decode())
            if options.orders is not None:
                group.create_task(Outages(socket.socket(fileno=options.orders), api, network).run())
            _say_ready(options)
            await ended.wait()
            LOG.info("stopping")
            if kubelet is not None:
                await kubelet.stop()
            await api.stop()
            raise _EndedError
    except* _EndedError:
        shutil.rmtree(options.directory / "pods", ignore_errors=True)


def _bound(host: str, port: int) -> socket.socket:
    """Bind to a port by its number: one that the kernel chose would be let go when the API server is away for a while."""
    with socket.socket() as any_port:
        any_port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        any_port.bind((host, port))
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(any_port.getsockname())
    return bound


class _EndedError(Exception):
    """The cluster was asked to end: every loop ends with it."""


def _say_ready(options: argparse.Namespace) -> None:
    """Tell whoever started us; that they have gone already is no fault."""
    with contextlib.suppress(OSError):
        os.write(options.ready, f"ready {options.directory / 'kubeconfig'}\n".encode())
        if options.ready > 2:
            os.close(options.ready)


if __name__ == "__main__":
    sys.exit(main())
