"""How long things take that nobody may wait for: the loop held, the collector at work, a change until it is acknowledged.

In: seconds. Out: `Histogram`s and longest values for `/metrics`. `LoopLag` asks to be woken twenty times a second and sees how late that is; `Collector` hears of each collection and keeps what
will live long out of the next ones.
"""

from __future__ import annotations

import asyncio
import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, seconds."""
WAKE_SECONDS = 0.05
THOROUGH_SECONDS = 3600.0
"""So long at least between two looks at everything there is."""
GROWN = 1.25
"""By so much what is kept must have grown to be worth such a look: if nothing leaks, it has not."""
_OLDEST = 2
"""The collector's generation whose collection looks at all that is not kept."""


class Histogram:
    """Durations, counted by bucket; and the longest."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        self.longest = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds
        self.longest = max(self.longest, seconds)

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self._counts)

    def over(self, bound: float) -> int:
        """How many were longer than one of `BOUNDS`."""
        return sum(self._counts[BOUNDS.index(bound) + 1 :])

    def buckets(self) -> Iterator[tuple[str, int]]:
        """By upper bound, as Prometheus writes it, how many were not longer."""
        total = 0
        for bound, count in zip((*BOUNDS, float("inf")), self._counts, strict=True):
            total += count
            yield (f"{bound:g}" if bound != float("inf") else "+Inf"), total


class LoopLag:
    """How late the loop wakes who asked to be woken."""

    def __init__(self) -> None:
        self.late = Histogram()
        self.watched = 0.0
        """Seconds it has watched for."""

    async def run(self) -> None:
        """Watch until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await asyncio.sleep(WAKE_SECONDS)
            slept = clock() - began
            self.watched += slept
            self.late.observe(max(slept - WAKE_SECONDS, 0.0))


class Collector:
    """The garbage collector, which stops everything while it looks at what it tracks.

    What outlives a full collection is left out of the next ones, so each looks at what came since the one before and none at a whole cluster and thousands of streams. Most things are freed by
    their counts in any case; of cycles those are freed that end before they have outlived one, and the others by a look at everything: once an hour at most, and only if a quarter more is kept
    than after the last, or than an hour after the start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pauses = Histogram()
        self._began = 0.0
        self._clock = clock
        self._looked = clock()
        self._kept = 0
        """Objects left out after the last look at everything; before the first, when the first hour was over."""
        self._thorough = False
        """Whether the collection under way looks at everything."""

    def watch(self) -> None:
        """Hear of every collection from now on."""
        gc.callbacks.append(self._heard)

    def unwatch(self) -> None:
        """Hear of no more."""
        gc.callbacks.remove(self._heard)

    @staticmethod
    def keep() -> None:
        """Leave all there is now out of later collections, in no time: what a list is read into lives on, and would be looked at again and again while it grows."""
        gc.freeze()

    @staticmethod
    def settle() -> None:
        """Leave all there is now out of later collections: after a list was read, most of it lives as long as the cluster does.

        Objects that end are freed as always, by their counts; only cycles among what is here now would stay, so what came since the last time is looked through first. It is a full collection:
        where this comes again and again, no other may.
        """
        gc.collect()
        gc.freeze()

    def _heard(self, phase: str, info: Mapping[str, int]) -> None:
        oldest = info["generation"] == _OLDEST
        if phase == "start":
            self._began = time.perf_counter()
            if oldest and self._clock() - self._looked > THOROUGH_SECONDS:
                self._look()
            return
        if oldest:
            gc.freeze()
            if self._thorough:
                self._thorough, self._kept = False, gc.get_freeze_count()
        self.pauses.observe(time.perf_counter() - self._began)

    def _look(self) -> None:
        """Have the collection that begins look at everything, if it is worth it."""
        self._looked = self._clock()
        there = gc.get_freeze_count()
        self._kept = self._kept or there
        self._thorough = there > GROWN * self._kept
        if self._thorough:
            gc.unfreeze()
