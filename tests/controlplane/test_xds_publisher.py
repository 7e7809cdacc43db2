"""When the publisher acts, and how often it is woken for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.feed.objects import ObjectStore
from controlplane.xds.debounce import LEAST_SECONDS, QUIET_SECONDS
from controlplane.xds.publisher import Publisher
from controlplane.xds.source import Source
from tests.support.virtual import VirtualLoop, virtual_time

BURST = 50


def some(name: str) -> dict[str, Any]:
    """An object, of whatever kind."""
    return {"metadata": {"namespace": "shop", "name": name}}


class Watched:
    """A publisher that has nothing to do, on a loop of virtual time whose timers are noted."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.store = ObjectStore()
        self.timers: list[float] = []
        self.acts: list[float] = []
        self._call_at = loop.call_at

    async def run(self, happens: Callable[[], Any]) -> None:
        publisher = Publisher(self.store, Source(), trust_domain="cluster.local", roots=lambda: "")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(publisher.run())
            await publisher.published.wait()
            await asyncio.sleep(0.1)
            publisher.listen(lambda _: self.acts.append(self.loop.time()))
            self.loop.call_at = self._noted  # type: ignore[method-assign]
            await happens()
            await asyncio.sleep(1)
            running.cancel()

    def _noted(self, when: float, *given: Any, **more: Any) -> asyncio.TimerHandle:
        self.timers.append(when)
        return self._call_at(when, *given, **more)


def test_urgent_change_is_acted_on_at_once_and_what_follows_together() -> None:
    """No timer for the first, and one for all others of a burst."""
    with virtual_time() as loop:
        watched = Watched(loop)

        async def burst() -> None:
            for number in range(BURST):
                watched.store.apply("EndpointSlice", some(str(number)))
                await asyncio.sleep(0)
            assert watched.acts == [loop.time()]
            assert watched.timers == [pytest.approx(loop.time() + LEAST_SECONDS)]

        loop.run_until_complete(watched.run(burst))
        assert watched.acts[1:] == [pytest.approx(watched.timers[0])]


def test_burst_of_changes_that_may_wait_sets_one_timer() -> None:
    """It is not set again with each of them."""
    with virtual_time() as loop:
        watched = Watched(loop)

        async def burst() -> None:
            for number in range(BURST):
                watched.store.apply("Node", some(str(number)))
                await asyncio.sleep(0)
            assert watched.timers == [pytest.approx(loop.time() + QUIET_SECONDS)]

        loop.run_until_complete(watched.run(burst))
        assert watched.acts == [pytest.approx(watched.timers[0])]


def test_change_that_comes_later_puts_off_what_may_wait() -> None:
    """Though the timer was set for the first."""
    with virtual_time() as loop:
        watched, began = Watched(loop), list[float]()

        async def two() -> None:
            began.append(loop.time())
            watched.store.apply("Node", some("a"))
            await asyncio.sleep(0.02)
            watched.store.apply("Node", some("b"))

        loop.run_until_complete(watched.run(two))
        assert watched.acts == [pytest.approx(began[0] + 0.02 + QUIET_SECONDS)]


def test_urgent_change_hurries_what_may_wait() -> None:
    """It waits for no timer that is set."""
    with virtual_time() as loop:
        watched, began = Watched(loop), list[float]()

        async def two() -> None:
            watched.store.apply("Node", some("a"))
            await asyncio.sleep(0.02)
            began.append(loop.time())
            watched.store.apply("EndpointSlice", some("b"))

        loop.run_until_complete(watched.run(two))
        assert watched.acts == [pytest.approx(began[0])]
