"""A worker that is not the first: the same engine, told what to do over its line instead of by a control plane.

In: the line to the first worker. Out: connections served on the shared ports, counts on request. Ends when told, or at once when
the first worker is gone.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from dataplane import views
from dataplane.config import SidecarConfig
from dataplane.credentials import Credentials
from dataplane.engine import Engine
from dataplane.finding import Finding
from dataplane.settings import Settings
from dataplane.workerlink import Link, Message
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
        self._engine = Engine(settings, random.randrange(1 << 16))  # noqa: S311 - where round robins begin
        self._credentials = Credentials(roots_pem=b"")
        self._engine.runtime.tls.credentials = self._credentials
        self._engine.runtime.discovery = self
        self._config = SidecarConfig()
        self._waiting: dict[str, list[Callable[[Finding], None]]] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to end, then finish what is under way."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: None)  # the first worker says when
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
            case ("ask", number, what):
                self._link.send("answer", number, self._answer(what))
            case ("stop",):
                self._stopping.set()
            case _:
                return

    def _answer(self, what: str) -> Any:
        match what:
            case "metrics":
                return views.metrics_text(self._engine.runtime, self._engine.listeners, self._engine.recent)
            case "wanted":
                return self._engine.runtime.wanted
            case _:
                return None


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
