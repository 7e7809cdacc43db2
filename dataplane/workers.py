"""The first worker's side of `concurrency`: the others share its listeners' ports and get their configuration from it.

In: the socket pairs made before the fork; what changes here. Out: the same put in force there, a mirror of what each worker
counted, wishes of theirs passed to the one discovery. One ADS stream and one certificate serve them all. A worker that dies
takes the sidecar with it: the kubelet starts it anew, whole.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from dataplane.config import SidecarConfig
from dataplane.credentials import Credentials
from dataplane.finding import Finding
from dataplane.telemetry import expiry
from dataplane.telemetry.labels import Workload
from dataplane.telemetry.metrics import Marks, Metrics
from dataplane.telemetry.told import Mirror
from dataplane.workerlink import Link, Message, pack
from meshapi.records import field, record

ANSWER_SECONDS = 5.0
COUNT_SECONDS = 1.0
"""For what workers counted, once all have told it: a scrape goes by what was said before then."""


class WorkerGoneError(RuntimeError):
    """A worker ended by itself; the message is the sentence to show."""


class Wishes(Protocol):
    """The discovery, as workers use it."""

    def want(self, name: str, callback: Callable[[Finding], None], worker: int) -> None:
        """Call back with what is known of a destination."""

    def touch(self, name: str, worker: int) -> None:
        """Note that a worker uses a destination."""

    def report(self, worker: int, names: AbstractSet[str]) -> None:
        """Take what a worker has open."""


@record(frozen=False, kw_only=False)
class Workers:
    """All workers but the first."""

    ends: list[socket.socket]
    discovery: Wishes | None = None
    links: list[Link] = field(default_factory=list)
    mirrors: list[Mirror] = field(default_factory=list)
    """What each of them counted, as it said last."""
    _questions: dict[int, tuple[int, asyncio.Future[Any]]] = field(default_factory=dict)
    """By number: whom it was put to, and the answer."""
    _ended: set[int] = field(default_factory=set)
    """Whose lines have ended."""
    _number: int = 0
    _counting: asyncio.Future[Any] | None = None
    _stopping: bool = False

    def __post_init__(self) -> None:
        """Take the first worker's ends."""
        for index, end in enumerate(self.ends):
            self.links.append(Link(end, lambda message, index=index: self._take(index, message)))  # type: ignore[misc]
            self.mirrors.append(Mirror())

    async def run(self) -> None:
        """Serve the lines until all workers were let go; raises WorkerGoneError when one ends by itself."""
        if not self.links:
            return
        tasks = [asyncio.ensure_future(self._serve(index)) for index in range(len(self.links))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping:
                await asyncio.wait(tasks)
                return
            raise WorkerGoneError("a worker ended by itself; the sidecar ends so that it is started anew, whole")
        finally:
            for task in tasks:
                task.cancel()

    def install(self, config: SidecarConfig) -> None:
        """Put a configuration in force everywhere."""
        self._tell("config", config)

    def show(self, credentials: Credentials) -> None:
        """Give the others the identity; it does not leave the pod's memory."""
        self._tell("credentials", credentials.certificate_pem, credentials.key_pem, credentials.roots_pem)

    def name(self, own: Workload, introduction: bytes, access_log: str) -> None:
        """Tell what this pod is called on metrics, and whether requests are logged."""
        self._tell("own", own, introduction, access_log)

    def survey(self) -> None:
        """Have every worker report which destinations it has connections to."""
        self._tell("survey")

    def drain(self, draining: bool) -> None:
        """Begin, or take back, a graceful end."""
        self._tell("drain", draining)

    def stop(self) -> None:
        """Let every worker finish and go."""
        self._stopping = True
        self._tell("stop")

    async def ask(self, what: str, seconds: float = 0.0) -> list[Any]:
        """Ask all workers; one that does not answer in time, or is gone, is left out."""
        waiting = []
        for index, link in enumerate(self.links):
            if index in self._ended:
                continue
            self._number += 1
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._questions[self._number] = index, answer
            waiting.append((self._number, answer))
            link.send("ask", self._number, what)
        if waiting:
            await asyncio.wait([answer for _, answer in waiting], timeout=seconds or ANSWER_SECONDS)
        for number, _ in waiting:
            self._questions.pop(number, None)
        return [answer.result() for _, answer in waiting if answer.done() and not answer.cancelled()]

    async def count(self) -> None:
        """Have every worker say what it counted; who asks while one is being told waits for the same."""
        if not self.links:
            return
        if self._counting is None or self._counting.done():
            seconds = COUNT_SECONDS if all(mirror.told for mirror in self.mirrors) else ANSWER_SECONDS
            self._counting = asyncio.ensure_future(self.ask("metrics", seconds))
        await asyncio.shield(self._counting)

    async def expire(self, metrics: Metrics) -> None:
        """Forget what nobody has counted in since the last call, in every worker or in none."""
        await self.count()
        there = [expiry.known(one.groups.values(), one.tcps.values()) for one in self.mirrors]
        there.append(expiry.known(metrics.groups.values(), metrics.tcps.values()))
        told: list[Marks] = await self.ask("touched")
        while self._counting is not None and not self._counting.done():
            await asyncio.shield(self._counting)  # or what it tells of would be shown once more
        counted = len(self._counting.result()) if self._counting is not None else 0
        told.append(expiry.touched(metrics.groups.values(), metrics.tcps.values()))
        if len(told) <= len(self.links) or counted < len(self.links):
            return
        idle = expiry.idle(expiry.together(there), expiry.together(told))
        metrics.drop(idle)
        for mirror in self.mirrors:
            mirror.drop(idle)
        self._tell("drop", idle)

    async def _serve(self, index: int) -> None:
        """Serve a line until its end; it answers no question after that."""
        try:
            await self.links[index].run()
        finally:
            self._ended.add(index)
            for asked, answer in self._questions.values():
                if asked == index:
                    answer.cancel()

    def _tell(self, *message: Any) -> None:
        if self.links:
            data = pack(message)
            for link in self.links:
                link.send_raw(data)

    def _take(self, index: int, message: Message) -> None:
        match message:
            case ("want", name) if self.discovery is not None:
                self.discovery.want(name, lambda answer: self.links[index].send("known", name, answer), index + 1)
            case ("touch", name) if self.discovery is not None:
                self.discovery.touch(name, index + 1)
            case ("opened", names) if self.discovery is not None:
                self.discovery.report(index + 1, names)
            case ("told", part):
                self.mirrors[index].take(part)
            case ("answer", number, value):
                _, waiting = self._questions.pop(number, (index, None))
                if waiting is not None and not waiting.done():
                    waiting.set_result(value)
            case _:
                return
