"""One run of a container watched over: postStart, the startup probe, then liveness and readiness until the program ends.

In: the container and its process. Out: `started` and `ready` kept true, a restart when it does not live. Until the first success a probe
is asked more often than its period says (an app is ready sooner than ten seconds after it is); only failures a period apart are counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Protocol

from devcluster.runtime import probes
from devcluster.runtime.home import Home
from devcluster.runtime.spawner import Process, StartError
from devcluster.runtime.status import ContainerState
from devcluster.runtime.streams import capture

Object = dict[str, Any]
_FIRST_RETRY: Final = 0.05
_LONGEST_RETRY: Final = 0.5
_GRACE: Final = 30


class Watched(Protocol):
    """A container, as far as its health goes."""

    home: Home
    name: str
    spec: Object
    known: ContainerState
    process: Process | None
    started: asyncio.Event

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop for good."""

    def say(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event of it."""

    async def end(self, process: Process, grace: float) -> None:
        """End one run of it."""


async def run_hook(hook: Object, container: Watched) -> str | None:
    """Run a lifecycle hook; None is success."""
    if "sleep" in hook:
        await asyncio.sleep(hook["sleep"]["seconds"])
        return None
    if "exec" in hook:
        if container.process is None:
            return None
        try:
            code, said = await capture(container.process, hook["exec"]["command"])
        except StartError as failed:
            return str(failed)
        return f"command exited with {code}: {said.strip()}" if code else None
    if "httpGet" in hook:
        try:
            return await probes.http_get(hook["httpGet"], _subject(container))
        except (OSError, EOFError) as failed:
            return str(failed)
    return None


def _subject(container: Watched) -> probes.Subject:
    async def execute(argv: Any) -> tuple[int, str]:
        if container.process is None:
            raise StartError("the container is not running")
        return await capture(container.process, argv)

    return probes.Subject(address=container.home.network.address, container=container.spec, execute=execute)


class Health:
    """Watches one run."""

    def __init__(self, container: Watched, process: Process) -> None:
        self._container = container
        self._process = process

    async def watch(self) -> None:
        """Watch until cancelled."""
        container = self._container
        hook = (container.spec.get("lifecycle") or {}).get("postStart")
        if hook and (said := await run_hook(hook, container)):
            container.say("FailedPostStartHook", f"PostStartHook failed: {said}", warning=True)
            await self._kill("FailedPostStartHook")
            return
        startup = container.spec.get("startupProbe")
        if startup and not await self._until_started(startup):
            return
        container.known.started = True
        container.started.set()
        readiness, liveness = container.spec.get("readinessProbe"), container.spec.get("livenessProbe")
        container.known.ready = readiness is None
        container.home.changed.set()
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._keep_ready(readiness))
            if liveness:
                group.create_task(self._keep_alive(liveness))

    async def _until_started(self, probe: Object) -> bool:
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        period, left = _period(probe), probe.get("failureThreshold") or 3
        due, pause = time.monotonic() + period, _FIRST_RETRY
        while said := await self._ask(probe):
            if time.monotonic() >= due:
                due += period
                left -= 1
                self._unhealthy("startup", said)
                if left <= 0:
                    await self._kill("startup")
                    return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_RETRY, period)
        return True

    async def _keep_ready(self, probe: Object) -> None:
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        period, failures, successes, pause = _period(probe), 0, 0, _FIRST_RETRY
        due, ever = time.monotonic() + period, False
        while True:
            said = await self._ask(probe)
            successes, failures = (successes + 1, 0) if said is None else (0, failures + 1)
            if said is None:
                ever = True
                if successes >= (probe.get("successThreshold") or 1):
                    self._ready(ready=True)
            elif ever or time.monotonic() >= due:
                due = time.monotonic() + period
                self._unhealthy("readiness", said)
                if failures >= (probe.get("failureThreshold") or 3):
                    self._ready(ready=False)
            await asyncio.sleep(period if ever else pause)
            pause = min(pause * 1.5, _LONGEST_RETRY, period)

    async def _keep_alive(self, probe: Object) -> None:
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        failures = 0
        while not self._container.stopping:
            said = await self._ask(probe)
            if said is None:
                failures = 0
            elif not self._container.stopping:
                failures += 1
                self._unhealthy("liveness", said)
                if failures >= (probe.get("failureThreshold") or 3):
                    await self._kill("liveness", probe.get("terminationGracePeriodSeconds"))
                    return
            await asyncio.sleep(_period(probe))

    async def _ask(self, probe: Object) -> str | None:
        return await probes.ask(probe, _subject(self._container))

    def _ready(self, *, ready: bool) -> None:
        if self._container.known.ready != ready:
            self._container.known.ready = ready
            self._container.home.changed.set()

    def _unhealthy(self, kind: str, said: str) -> None:
        self._container.say("Unhealthy", probes.sentence(kind, said), warning=True)

    async def _kill(self, why: str, grace: int | None = None) -> None:
        name = self._container.name
        words = {"startup": "failed startup probe", "liveness": "failed liveness probe"}.get(why, why)
        self._container.say("Killing", f"Container {name} {words}, will be restarted")
        if grace is None:
            grace = self._container.home.pod["spec"].get("terminationGracePeriodSeconds", _GRACE)
        await self._container.end(self._process, grace)


def _period(probe: Object) -> int:
    return int(probe.get("periodSeconds") or 10)
