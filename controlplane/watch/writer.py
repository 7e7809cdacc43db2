"""Do what is to be written to the cluster, while leading and only then.

In: `want(key, job)` from rolls, webhooks, status and the certificate authority, on every replica: the newest wish for a key replaces the former, None takes it
back. Out: jobs run one after the other by the leader; on failure again later, with growing pauses. A replica that becomes leader finds all wishes that are
still open and does them. It drops a job the API server refuses for good (a 4xx that is no conflict), with one log line.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable

import aiohttp

from controlplane.watch.cluster import ApiError

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
WORKERS = 4
_RETRIED = frozenset({404, 408, 409, 429})
"""A missing object may be a cache that is behind, here or there."""
MAX_TRIES = 8

Job = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


class Writer:
    """Open wishes by key, and the workers that fulfil them."""

    def __init__(self) -> None:
        self._wishes: dict[Hashable, Job] = {}
        self._due: dict[Hashable, float] = {}
        self._tries: dict[Hashable, int] = {}
        self._wake = asyncio.Event()
        self._leading = False
        self.written = 0
        self.failed = 0

    def lead(self, leading: bool) -> None:
        """Begin or stop to write."""
        self._leading = leading
        self._wake.set()

    def want(self, key: Hashable, job: Job | None, *, after: float = 0.0) -> None:
        """Wish for something to be written; None when there is nothing (any more) to write under that key.

        `after` seconds may pass first, so that a number that changes all the time is written now and then.
        """
        self._tries.pop(key, None)
        due = self._due.pop(key, None)
        if after and job is not None:
            self._due[key] = due or asyncio.get_running_loop().time() + after
        if job is None:
            self._wishes.pop(key, None)
            return
        self._wishes[key] = job
        self._wake.set()

    async def run(self) -> None:
        """Fulfil wishes until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            if self._leading:
                ready = [key for key in self._wishes if self._due.get(key, 0.0) <= clock()]
                for start in range(0, len(ready), WORKERS):
                    await asyncio.gather(*(self._fulfil(key) for key in ready[start : start + WORKERS]))
                if ready:
                    continue
            await self._pause(clock())

    async def _pause(self, now: float) -> None:
        waits = [self._due[key] - now for key in self._wishes if key in self._due] if self._leading else []
        try:
            async with asyncio.timeout(max(min(waits), 0.0) if waits else None):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _fulfil(self, key: Hashable) -> None:
        job = self._wishes.get(key)
        if job is None or not self._leading:
            return
        try:
            await job()
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._postpone(key, job, error)
        else:
            self.written += 1
            self._done(key, job)

    def _done(self, key: Hashable, job: Job) -> None:
        if self._wishes.get(key) is job:
            del self._wishes[key]
            self._due.pop(key, None)
            self._tries.pop(key, None)

    def _postpone(self, key: Hashable, job: Job, error: Exception) -> None:
        if self._wishes.get(key) is not job:
            return
        tries = self._tries.get(key, 0) + 1
        for_good = isinstance(error, ApiError) and 400 <= error.code < 500 and error.code not in _RETRIED
        if for_good or tries >= MAX_TRIES:
            self.failed += 1
            log.error("%s was not written: %s", _label(key), error)
            self._done(key, job)
            return
        self._tries[key] = tries
        wait = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._due[key] = asyncio.get_running_loop().time() + wait
        if tries == 3:
            log.warning("%s is not written yet: %s", _label(key), error)


def _label(key: Hashable) -> str:
    return " ".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
