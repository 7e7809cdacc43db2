"""The control plane's process: the program (`program.py`), told where the API is; and what it costs by the kernel's account.

In: the URL of an API. Out: CPU seconds of the whole process, threads that ended included; bytes of resident memory; numbers of `/metrics`. Refuses to go on, with
ChildProcessError, when it ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

from benchmarks import measure
from benchmarks.peers import ROOT, free_ports

READY_SECONDS = 600.0
_CPUCLOCK_SCHED = 2


class Plane:
    """One control plane, started again at will on the same ports."""

    def __init__(self, api: str, name: str, directory: Path) -> None:
        self._name = name
        self._log = directory / "log"
        self.xds, self.admin, self.webhook = free_ports(3)
        self._process: asyncio.subprocess.Process | None = None
        self._kubeconfig = directory / "kubeconfig"
        self._kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": {"server": api}}],
                    "users": [{"name": "u", "user": {"token": "none"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "c",
                }
            )
        )

    async def start(self, hour: float = 0.0) -> float:
        """Start and wait until ready; returns the seconds it took. With `hour` the collector's hour passes in so many seconds."""
        began = time.monotonic()
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "TULLE_NAMESPACE": "tulle-system",
            "TULLE_POD": self._name,
            "TULLE_HOST": "127.0.0.1",
            "TULLE_XDS_PORT": str(self.xds),
            "TULLE_ADMIN_PORT": str(self.admin),
            "TULLE_WEBHOOK_PORT": str(self.webhook),
            "TULLE_LOG_LEVEL": "warning",
            "TULLE_NATIVE_SIDECAR": "true",
        }
        program = ("benchmarks.control.program", *([str(hour)] if hour else []))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *program, cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        async with asyncio.timeout(READY_SECONDS):
            while not await self._ready():
                if self._process.returncode is not None:
                    raise ChildProcessError(f"the control plane ended: {self._log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _ready(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.admin}/readyz") as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def kill(self) -> None:
        """End it without grace."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """The process; raises ChildProcessError when there is none any more."""
        if self._process is None or self._process.returncode is not None:
            raise ChildProcessError(f"the control plane ended: {self._log.read_text()[-2000:]}")
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return time.clock_gettime(~self.pid << 3 | _CPUCLOCK_SCHED)

    def wakes(self) -> int:
        """How often its threads were woken so far, those that ended not counted."""
        return measure.wakes(self.pid)

    def megabytes(self) -> float:
        """Resident memory now."""
        return measure.rss_bytes(self.pid) / 1e6

    async def metric(self, name: str) -> float:
        """A number of `/metrics`; 0 when there is none of that name, and the sum where it has labels."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.admin}/metrics") as answer,
        ):
            text = await answer.text()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


@asynccontextmanager
async def plane(api: str, name: str = "tulle-0") -> AsyncIterator[Plane]:
    """A replica of that name in a directory of its own, not started yet."""
    with tempfile.TemporaryDirectory(prefix="tulle-bench-") as directory:
        made = Plane(api, name, Path(directory))
        try:
            yield made
        finally:
            await made.kill()
