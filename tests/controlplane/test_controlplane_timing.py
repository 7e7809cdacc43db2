"""How long things take that nobody may wait for, and what keeps them short."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import weakref

import pytest

from controlplane import timing
from controlplane.timing import WAKE_SECONDS, Collector, Histogram, LoopLag
from controlplane.xds.debounce import Debounce
from controlplane.xds.pace import TURNS, Pace
from tests.support.parts import running
from tests.support.waiting import until


def test_histogram_counts_by_bucket_and_keeps_the_longest() -> None:
    """As Prometheus reads it: each bucket holds those before it."""
    found = Histogram()
    for seconds in (0.0005, 0.001, 0.03, 99.0):
        found.observe(seconds)

    buckets = dict(found.buckets())
    assert (buckets["0.001"], buckets["0.025"], buckets["0.05"], buckets["10"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    assert (found.count, found.longest, found.sum) == (4, 99.0, pytest.approx(99.0315))
    assert (found.over(0.001), found.over(0.025), found.over(0.05), found.over(10.0)) == (2, 2, 1, 1)


async def test_loop_that_is_held_is_seen() -> None:
    """Whatever holds it."""
    lag = LoopLag()
    async with running(lag):
        await until(lambda: lag.late.count >= 2)
        busy_until = time.monotonic() + 0.3
        while time.monotonic() < busy_until:
            pass
        seen = lag.late.count
        await until(lambda: lag.late.count > seen)

    assert lag.late.longest >= 0.2
    assert lag.watched >= lag.late.sum + 3 * WAKE_SECONDS


def test_collections_are_heard_of_and_what_is_settled_is_looked_at_no_more() -> None:
    """A cycle among what is kept stays; one made later goes."""
    collector, before = Collector(), gc.get_freeze_count()
    collector.watch()
    try:
        gc.collect()
        kept = [object() for _ in range(1000)]
        kept.append(kept)
        collector.settle()
        frozen = gc.get_freeze_count()
    finally:
        collector.unwatch()
        gc.unfreeze()

    assert collector.pauses.count >= 1
    assert frozen > before
    assert kept is not None


class Thing:
    """Something that can be in a cycle, and be seen to go."""


def cycle() -> weakref.ref[Thing]:
    thing = Thing()
    thing.__dict__["self"] = thing
    return weakref.ref(thing)


def test_what_outlives_a_collection_is_looked_at_no_more_until_an_hour_is_over_and_there_is_more_of_it() -> None:
    """A pause is as long as what came since the last is large; a cycle that ended late costs memory for a while."""
    now = [0.0]
    collector, known = Collector(lambda: now[0]), gc.get_freeze_count()
    gc.disable()  # nobody but this test collects
    collector.watch()
    try:
        kept = [Thing() for _ in range(20_000)]
        gc.collect()
        frozen = gc.get_freeze_count()
        long, short = [cycle()], cycle()
        kept.append(long[0]())  # type: ignore[arg-type]
        gc.collect()
        gone_at_once = short() is None
        kept.pop()
        gc.collect()
        now[0] = timing.THOROUGH_SECONDS + 1
        gc.collect()  # after the first hour, with what a start brings
        stays = long[0]() is not None
        kept += [Thing() for _ in range(gc.get_freeze_count() // 3)]
        gc.collect()
        now[0] *= 2.1
        collector.settle()  # which comes so often under a storm that no other does
        gone = long[0]() is None
        long[0] = cycle()
        kept.append(long[0]())  # type: ignore[arg-type]
        gc.collect()
        kept.pop()
        now[0] *= 2.1
        gc.collect()
        not_worth_it = long[0]() is not None
    finally:
        collector.unwatch()
        gc.enable()
        gc.unfreeze()

    assert frozen >= known + 20_000
    assert (gone_at_once, stays, gone, not_worth_it) == (True,) * 4


def test_act_that_cost_much_is_followed_by_a_rest() -> None:
    """Four times its cost, but never longer than changes may wait; and so long at least that a burst is acted on together."""
    debounce = Debounce(quiet=0.05, least=0.01, longest=0.5)
    debounce.note(10.0, urgent=True)
    assert debounce.taken() == 10.0
    debounce.note(10.02, urgent=True)
    debounce.spent(10.05, 0.05)
    assert debounce.due == pytest.approx(10.25)
    debounce.taken()
    debounce.spent(11.0, 3.0)
    debounce.note(11.0, urgent=True)
    assert debounce.due == pytest.approx(11.5)
    debounce.taken()
    debounce.note(20.0, urgent=True)
    assert debounce.due == pytest.approx(20.0)
    debounce.taken()
    debounce.spent(20.0, 0.0001)
    debounce.note(20.003, urgent=True)
    debounce.note(20.008, urgent=True)
    assert debounce.due == pytest.approx(20.01)


async def test_turns_leave_the_loop_to_others_in_between() -> None:
    """Five hundred that want to work at once, and one that only wants to be woken: it waits for a few of them and not for all."""
    pace, order, woken = Pace(), list[int](), list[int]()

    async def worker(number: int) -> None:
        await pace.turn()
        order.append(number)

    async def other() -> None:
        while len(order) < 499:
            woken.append(len(order))
            await asyncio.sleep(0)

    tasks = [asyncio.ensure_future(worker(number)) for number in range(500)]
    await asyncio.sleep(0)
    tasks[300].cancel()
    await asyncio.gather(*tasks, other(), return_exceptions=True)

    assert order == [number for number in range(500) if number != 300]
    assert max(after - before for before, after in itertools.pairwise(woken)) <= TURNS
    assert len(woken) >= 499 // TURNS


async def test_pace_that_nobody_asks_any_more_leaves_the_loop_alone() -> None:
    """No callback goes on for ever."""
    pace = Pace()
    await pace.turn()
    for _ in range(3):
        await asyncio.sleep(0)

    assert not pace._counting
