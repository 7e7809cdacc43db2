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
from dataplane.telemetry.labels import Workload
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.told import Mirror
from dataplane.workerlink import Link, Message, pack
from meshapi.records import field, record

ANSWER_SECONDS = 5.0


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
    _questions: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
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
        tasks = [asyncio.ensure_future(link.run()) for link in self.links]
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

    async def ask(self, what: str) -> list[Any]:
        """Ask all workers; one that does not answer in time is left out."""
        waiting = []
        for link in self.links:
            self._number += 1
            self._questions[self._number] = answer = asyncio.get_running_loop().create_future()
            waiting.append((self._number, answer))
            link.send("ask", self._number, what)
        if waiting:
            await asyncio.wait([answer for _, answer in waiting], timeout=ANSWER_SECONDS)
        for number, _ in waiting:
            self._questions.pop(number, None)
        return [answer.result() for _, answer in waiting if answer.done()]

    async def count(self) -> None:
        """Have every worker say what it counted; who asks while one is being told waits for the same."""
        if not self.links:
            return
        if self._counting is None or self._counting.done():
            self._counting = asyncio.ensure_future(self.ask("metrics"))
        await asyncio.shield(self._counting)

    async def expire(self, metrics: Metrics) -> None:
        """Drop the pairs nobody has counted in since the last call, in every worker or in none."""
        told: list[AbstractSet[bytes]] = await self.ask("touched")
        kept = metrics.touched().union(*told)
        if len(told) == len(self.links):
            metrics.keep(kept)
            self._tell("keep", kept)

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
                waiting = self._questions.pop(number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(value)
            case _:
                return
