"""Do what is to be written to the cluster, while leading and only then.

In: `want(key, job)` from rolls, webhooks, status and the certificate authority, on every replica: the newest job for a key replaces the former, None takes it
back. Out: jobs run by the leader, a few at once; on failure again, with growing pauses, for as long as they are wanted: what the API server refuses today it may
take when a role or a webhook is mended. A replica that becomes leader finds all jobs that are still open and does them; one that leads no longer stops in the
middle of a write. Refuses nothing; what fails is logged once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

import aiohttp

from controlplane.kube.client import ApiError

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
_DOUBLINGS = 10
WORKERS = 4
_PASSING = frozenset({404, 408, 409, 429})
"""Answers of 400 to 499 that say nothing against the write: a missing object may be a cache that is behind, here or there."""
_TOLD_AFTER = 3
"""Tries that fail before a passing trouble is worth a line."""

Job = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A write that was tried in vain and is still wanted."""

    what: str
    seconds: float
    """Since it was first wanted."""
    why: str
    """What the last try met."""


log = logging.getLogger(__name__)


class Writer:
    """What is to be written, by key, and the workers that do it."""

    def __init__(self) -> None:
        self._jobs: dict[Hashable, Job] = {}
        self._due: dict[Hashable, float] = {}
        self._tries: dict[Hashable, int] = {}
        self._why: dict[Hashable, str] = {}
        """What the last try of a key met."""
        self._since: dict[Hashable, float] = {}
        """When a key was first wanted and not done."""
        self._under_way: set[asyncio.Timeout] = set()
        self._wake = asyncio.Event()
        self._leading = False
        self.written = 0
        self.failed = 0

    def lead(self, leading: bool) -> None:
        """Begin to write, or stop, in the middle of a write too."""
        self._leading = leading
        if not leading:
            for write in self._under_way:
                if not write.expired():
                    write.reschedule(0.0)
        self._wake.set()

    def oldest(self) -> float:
        """For how many seconds the oldest job has been wanted and not done."""
        return max((asyncio.get_running_loop().time() - since for since in self._since.values()), default=0.0)

    def stuck(self) -> list[Stuck]:
        """What this replica, where it leads, could not write, the oldest first."""
        now = asyncio.get_running_loop().time()
        found = [
            Stuck(what=_label(key), seconds=now - self._since[key], why=why)
            for key, why in self._why.items()
            if self._leading and key in self._since
        ]
        return sorted(found, key=lambda one: -one.seconds)

    def want(self, key: Hashable, job: Job | None, *, after: float = 0.0) -> None:
        """Want something to be written; None when there is nothing (any more) to write under that key.

        `after` seconds may pass first, so that a number that changes all the time is written now and then.
        """
        self._tries.pop(key, None)
        due = self._due.pop(key, None)
        if job is None:
            self._jobs.pop(key, None)
            self._since.pop(key, None)
            self._why.pop(key, None)
            return
        now = asyncio.get_running_loop().time()
        if after:
            self._due[key] = due or now + after
        self._since.setdefault(key, now)
        self._jobs[key] = job
        self._wake.set()

    def drop(self, key: Hashable, job: Job) -> None:
        """Want a job no more, unless another one took its place."""
        if self._jobs.get(key) is job:
            self.want(key, None)

    async def run(self) -> None:
        """Do the jobs until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            if self._leading:
                ready = [key for key in self._jobs if self._due.get(key, 0.0) <= clock()]
                for start in range(0, len(ready), WORKERS):
                    await asyncio.gather(*(self._do(key) for key in ready[start : start + WORKERS]))
                if ready:
                    continue
            await self._pause(clock())

    async def _pause(self, now: float) -> None:
        waits = [self._due[key] - now for key in self._jobs if key in self._due] if self._leading else []
        try:
            async with asyncio.timeout(max(min(waits), 0.0) if waits else None):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _do(self, key: Hashable) -> None:
        job = self._jobs.get(key)
        if job is None or not self._leading:
            return
        try:
            async with asyncio.timeout(None) as write:
                self._under_way.add(write)
                await job()
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._postpone(key, job, error)
        except Exception as error:  # the supervisor of one job
            log.exception("a defect keeps %s from being written", _label(key))
            self._postpone(key, job, error)
        else:
            self.written += 1
            self._done(key, job)
        finally:
            self._under_way.discard(write)

    def _done(self, key: Hashable, job: Job) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]
            self._due.pop(key, None)
            self._tries.pop(key, None)
            self._since.pop(key, None)
            self._why.pop(key, None)

    def _postpone(self, key: Hashable, job: Job, error: Exception) -> None:
        if self._jobs.get(key) is not job or not self._leading:
            return
        self.failed += 1
        self._why[key] = str(error)
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        wait = min(FIRST_WAIT * 2 ** min(tries - 1, _DOUBLINGS), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        asked = error.retry_after if isinstance(error, ApiError) else 0.0
        self._due[key] = asyncio.get_running_loop().time() + max(wait, asked)
        refused = isinstance(error, ApiError) and 400 <= error.code < 500 and error.code not in _PASSING
        if refused and tries == 1:
            log.error("%s is refused, and tried again for as long as it is wanted: %s", _label(key), error)
        elif not refused and tries == _TOLD_AFTER:
            log.warning("%s is not written yet: %s", _label(key), error)


def _label(key: Hashable) -> str:
    return " ".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
