"""A worker that is not the first: the same engine, told what to do over its line instead of by a control plane.

In: the line to the first worker. Out: connections served on the shared ports, counts on request. Ends when told, or at once when
the first worker is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from dataplane import views
from dataplane.chance import dice
from dataplane.config import SidecarConfig
from dataplane.credentials import Credentials
from dataplane.engine import Engine
from dataplane.finding import Finding
from dataplane.settings import Settings
from dataplane.slices import Turns
from dataplane.telemetry import expiry, told
from dataplane.workerlink import Link, Message, pack
from meshapi.records import fields, replace
from meshapi.table import tabled


def keeping(config: SidecarConfig, before: SidecarConfig) -> SidecarConfig:
    """Take the nouns of before wherever they are equal: what comes over the line is a copy, and tables tell what changed by identity."""
    kept: dict[str, Any] = {}
    for kind in fields(config):
        new, old = getattr(config, kind.name), tabled(getattr(before, kind.name))
        kept[kind.name] = old.after({**dict.fromkeys(old.keys() - new.keys()), **new})
    return replace(config, **kept)


class Worker:
    """One further worker."""

    def __init__(self, settings: Settings, end: socket.socket) -> None:
        self._link = Link(end, self._take)
        self._engine = Engine(settings, int(dice() * (1 << 16)))  # where round robins begin
        self._credentials = Credentials(roots_pem=b"")
        self._engine.runtime.tls.credentials = self._credentials
        self._engine.runtime.discovery = self
        self._config = SidecarConfig()
        self._waiting: dict[str, list[Callable[[Finding], None]]] = {}
        self._stopping = asyncio.Event()
        self._turns = Turns(self._engine.poller)
        self._asked: list[int] = []
        """Questions what is counted here that are being answered."""

    async def run(self) -> None:
        """Serve until told to end, then finish what is under way."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # the first worker says when
        self._engine.start()
        reading = asyncio.ensure_future(self._link.run())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await self._engine.drain.end()
        finally:
            for task in (reading, stopping):
                task.cancel()
            self._engine.close()

    def want(self, name: str, callback: Callable[[Finding], None]) -> None:
        """Ask the first worker for a destination."""
        waiting = self._waiting.setdefault(name, [])
        waiting.append(callback)
        if len(waiting) == 1:
            self._link.send("want", name)

    def touch(self, name: str) -> None:
        """Pass on that a destination is in use."""
        self._link.send("touch", name)

    def _take(self, message: Message) -> None:
        runtime = self._engine.runtime
        match message:
            case ("config", SidecarConfig() as config):
                self._config = keeping(config, self._config)
                self._engine.install(self._config)
            case ("credentials", chain, key, roots):
                self._credentials.trust(roots)
                if chain:
                    self._credentials.install(key, chain, 0.0)  # the first worker renews
            case ("own", own, introduction, access_log):
                runtime.own, runtime.introduction = own, introduction
                self._engine.log_requests(access_log)
            case ("known", name, answer):
                for callback in self._waiting.pop(name, []):
                    callback(answer)
            case ("survey",):
                self._link.send("opened", self._engine.opened())
            case ("drain", draining):
                self._engine.drain.start() if draining else self._engine.drain.resume()
            case ("ask", number, "metrics"):
                self._tell(number)
            case ("ask", number, "wanted"):
                self._link.send("answer", number, runtime.wanted)
            case ("ask", number, "touched"):
                metrics = runtime.metrics
                said = expiry.touched(metrics.groups.values(), metrics.tcps.values())
                self._link.send("answer", number, said)
            case ("drop", idle):
                runtime.metrics.drop(idle)
            case ("stop",):
                self._stopping.set()
            case _:
                return

    def _tell(self, number: int) -> None:
        """Say what is counted here; who asks meanwhile is told that it was said."""
        self._asked.append(number)
        if len(self._asked) == 1:
            self._turns.answer(self._told(), _Telling(self._link, self._asked))

    def _told(self) -> Iterator[bytes]:
        """Pack what is counted here, a part at a time."""
        engine = self._engine
        rows = views.rows(engine.runtime, engine.listeners, engine.recent)
        return (pack(("told", part)) for part in told.parts(engine.runtime.metrics, rows))


class _Telling:
    """The first worker, as it is told what was counted; the `Client` of `slices`."""

    def __init__(self, link: Link, asked: list[int]) -> None:
        self._link = link
        self._asked = asked

    def begin(self) -> None:
        """There is no head."""

    def slice(self, data: bytes) -> bool:
        """Send a part; the first worker reads whatever comes."""
        self._link.send_raw(data)
        return True

    def end(self) -> None:
        """Say that it was all."""
        for number in self._asked:
            self._link.send("answer", number, None)
        self._asked.clear()

    def refuse(self, sentence: str) -> None:  # noqa: ARG002 - it is told once at a time, and goes by what it was told before
        """It is not told now."""
        self._asked.clear()

    def cut(self) -> None:
        """It is told no more."""
        self._asked.clear()


class Forked:
    """The workers made of this process before its event loop began."""

    def __init__(self, count: int) -> None:
        self.ends: list[socket.socket] = []
        """The first worker's ends of the lines."""
        self.own: socket.socket | None = None
        """In a further worker: its end."""
        self._pids: list[int] = []
        for _ in range(count):
            here, there = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                for other in [*self.ends, here]:
                    other.close()
                self.own, self.ends, self._pids = there, [], []
                return
            there.close()
            self.ends.append(here)
            self._pids.append(pid)

    def reap(self) -> None:
        """Wait for workers that were let go, and end those that were not."""
        for pid in self._pids:
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
