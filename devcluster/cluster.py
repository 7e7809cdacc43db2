"""The handle on a cluster: start it, use its kubeconfig, stop it.

In: a directory and the images file. Out: a running child process that serves Kubernetes. Refuses to give a kubeconfig before it runs; a child that
does not come up is an error with the child's last words.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 90.0
STOP_SECONDS = 10.0
ORDER_SECONDS = 10.0


class ClusterError(RuntimeError):
    """The cluster did not come up; the message has its last words."""


class DevCluster:
    """One embedded Kubernetes, in a child process."""

    def __init__(self, directory: Path, *, images: Path, port: int = 0) -> None:
        self._directory = directory
        self._images = images
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._ordering = threading.Lock()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._directory / "kubeconfig"

    @property
    def log(self) -> Path:
        """What the cluster writes about itself."""
        return self._directory / "devcluster.log"

    def start(self) -> None:
        """Start and wait until it serves; raises ClusterError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        ours, theirs = os.pipe()
        command = [sys.executable, "-m", "devcluster", "--directory", str(self._directory)]
        command += ["--images", str(self._images), "--port", str(self._port), "--ready", str(theirs)]
        self._orders, taken = socket.socketpair()
        self._orders.settimeout(ORDER_SECONDS)
        command += ["--orders", str(taken.fileno())]
        with self.log.open("ab") as log, taken:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(theirs, taken.fileno())
            )
        os.close(theirs)
        with os.fdopen(ours, "rb") as ready:
            came = select.select([ready], [], [], START_SECONDS)[0]
            if not came or not ready.readline():
                self.stop()
                raise ClusterError(f"the cluster did not come up:\n{self._last_words()}")

    def stop_api(self) -> None:
        """Take the API server away: requests are refused and watches cut; what runs goes on."""
        self.order("api down")

    def start_api(self) -> None:
        """Let the API server answer again."""
        self.order("api up")

    def reuse_addresses(self, *, at_once: bool) -> None:
        """Give the next pod the address of the last that ended, or keep that as far off as possible."""
        self.order("addresses soon" if at_once else "addresses late")

    def cut(self, address: str, port: int) -> None:
        """Lose TCP between an address and a port in silence, until `mend`."""
        self.order(f"cut {address} {port}")

    def mend(self) -> None:
        """Lose nothing any more."""
        self.order("mend")

    def order(self, what: str) -> None:
        """Order an outage (`devcluster.outages`) and wait until it is there; raises ValueError where it cannot be."""
        if self._orders is None:
            raise ValueError("the cluster does not run")
        with self._ordering:
            self._orders.sendall(f"{what}\n".encode())
            answer = self._orders.recv(4096).decode().strip()
        if answer != "done":
            raise ValueError(answer or "the cluster has ended")

    def stop(self) -> None:
        """End the cluster and everything in it."""
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
