"""The timer wheel, turned by hand with a clock of the test's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from dataplane.net import timers as timers_module
from dataplane.net.poller import Poller
from dataplane.net.timers import ROUNDS, SLOTS, TICK, Timer, Timers
from tests.support.clock import Clock
from tests.support.machines import bounded
from tests.support.net import net


async def test_timers_come_in_order_and_never_early() -> None:
    """Each callback comes at its time or up to a few ticks later."""
    async with net() as n:
        loop = asyncio.get_running_loop()
        came: list[tuple[float, float]] = []
        done = asyncio.Event()
        start = n.poller.kernel.now()
        waits = [random.Random(1).uniform(0.01, 0.3) for _ in range(200)]
        for wait in waits:
            n.poller.timers.after(wait, lambda wait=wait: came.append((wait, n.poller.kernel.now() - start)))
        n.poller.timers.after(0.35, done.set)
        await asyncio.wait_for(done.wait(), 5)

        assert len(came) == 200
        assert all(at >= wait for wait, at in came)
        assert [wait for wait, _ in came] == pytest.approx(sorted(waits), abs=2 * TICK)
        assert loop.time() > 0


async def test_cancelled_timer_never_comes() -> None:
    """Cancelling is final, and cancelling twice or after the call is harmless."""
    async with net() as n:
        came: list[str] = []
        done = asyncio.Event()
        first = n.poller.timers.after(0.02, lambda: came.append("first"))
        second = n.poller.timers.after(0.02, lambda: came.append("second"))
        n.poller.timers.after(0.05, done.set)
        first.cancel()
        first.cancel()
        await asyncio.wait_for(done.wait(), 5)
        second.cancel()

        assert came == ["second"]
        assert not first.active


async def test_timer_set_or_cancelled_by_a_callback_is_respected() -> None:
    """Callbacks may do to other timers whatever they like."""
    async with net() as n:
        came: list[str] = []
        done = asyncio.Event()
        timers = n.poller.timers
        victim = timers.after(0.03, lambda: came.append("victim"))

        def first() -> None:
            victim.cancel()
            timers.after(0.0, lambda: came.append("second"))
            timers.after(0.03, done.set)

        timers.after(0.01, first)
        await asyncio.wait_for(done.wait(), 5)

        assert came == ["second"]


async def test_callback_that_raises_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and counted; the next timer comes."""
    async with net() as n:
        done = asyncio.Event()

        def fail() -> None:
            raise ValueError("a defect in a callback")

        n.poller.timers.after(0.01, fail)
        n.poller.timers.after(0.02, done.set)
        await asyncio.wait_for(done.wait(), 5)

        assert n.poller.timers.failures == 1
        assert "a defect in a callback" in caplog.text


class Loop:
    """An event loop of which only `call_later` is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, object]] = []

    def call_later(self, delay: float, callback: object) -> Handle:
        self.calls.append((delay, callback))
        return Handle()


class Handle:
    def cancel(self) -> None:
        """Nothing to take back."""


async def test_loop_is_asked_for_the_next_timer_only() -> None:
    """A thousand distant timers cost no wake-up before the first of them, and none beyond the near wheel's turn."""
    poller = Poller(asyncio.get_running_loop())
    loop = Loop()
    timers = Timers(loop, poller.kernel)  # type: ignore[arg-type]
    for index in range(1000):
        timers.after(3600 + index, lambda: None)
    assert len(loop.calls) == 1
    assert loop.calls[0][0] <= SLOTS * TICK

    timers.after(1.0, lambda: None)
    timers.after(2.0, lambda: None)

    assert len(loop.calls) == 2
    assert loop.calls[1][0] == pytest.approx(1.0, abs=0.05)
    assert timers.pending() == 1002
    poller.close()


async def test_thousands_of_timers_set_and_cancelled_leave_nothing() -> None:
    """What a request does; memory does not grow with it."""
    async with net() as n:
        for _ in range(20_000):
            n.poller.timers.after(30, lambda: None).cancel()

        assert n.poller.timers.pending() == 0


@contextmanager
def wheel(clock: Clock) -> Iterator[Timers]:
    """Timers on that clock."""
    timers = Timers(cast("asyncio.AbstractEventLoop", clock), clock)
    yield timers
    timers.stop()
    clock.shut()


def test_no_timer_beyond_the_near_wheel_is_lost() -> None:
    """Time-outs of 15 s, one set at each of 1,100 ticks: all come within three ticks of their time."""
    clock = Clock()
    came: dict[int, float] = {}
    set_at: dict[int, float] = {}
    with wheel(clock) as timers:
        for number in range(SLOTS + 76):
            set_at[number] = clock.time
            timers.after(15.0, lambda number=number: came.__setitem__(number, clock.time))
            clock.advance(TICK)
        clock.advance(16)

    assert {number: came.get(number, -1) - at for number, at in set_at.items()} == {
        number: pytest.approx(15.0, abs=3 * TICK) for number in set_at
    }


@pytest.mark.parametrize("rounds", [ROUNDS - 1, ROUNDS, 2 * ROUNDS + 1])
def test_no_timer_beyond_the_far_wheel_comes_at_another_time(rounds: int) -> None:
    """An idle limit of half an hour is placed again with each turn of that wheel."""
    clock = Clock()
    came: list[float] = []
    with wheel(clock) as timers:
        clock.advance(3.3)
        asked = clock.time
        timers.after(rounds * SLOTS * TICK + 5.0, lambda: came.append(clock.time - asked))
        clock.advance((rounds + 2) * SLOTS * TICK)

    assert came == [pytest.approx(rounds * SLOTS * TICK + 5.0, abs=3 * TICK)]


class WheelMachine(RuleBasedStateMachine):
    """The wheel beside a list with due times: small rounds, so that a few steps are many of them."""

    timers = Bundle("timers")

    def __init__(self) -> None:
        super().__init__()
        timers_module._SLOTS = timers_module._ROUNDS = 16  # uncompiled; compiled they are C's, and what they are
        self.clock = Clock()
        self.wheel = Timers(cast("asyncio.AbstractEventLoop", self.clock), self.clock)
        self.due: dict[int, float] = {}
        self.lateness = 0.0
        self.count = 0

    def teardown(self) -> None:
        timers_module._SLOTS, timers_module._ROUNDS = SLOTS, ROUNDS
        self.wheel.stop()
        self.clock.shut()

    def came(self, number: int, *, again: float) -> None:
        due = self.due.pop(number)
        assert due - TICK / 1000 <= self.clock.time <= due + 3 * TICK + self.lateness
        if again >= 0:
            self.set(again, -1)

    def set(self, seconds: float, again: float) -> Timer:
        number = self.count
        self.count += 1
        self.due[number] = self.clock.time + seconds
        return self.wheel.after(seconds, lambda: self.came(number, again=again))

    ticks = st.integers(0, 700).map(lambda number: number * TICK) | st.sampled_from(
        [0.15, 0.151, 0.16, 0.161, 2.55, 2.56, 2.561, 2.57, 40.0]
    )

    @rule(target=timers, seconds=ticks, again=st.just(-1.0) | ticks)
    def after(self, seconds: float, again: float) -> tuple[int, Timer]:
        number = self.count
        return number, self.set(seconds, again)

    @rule(which=consumes(timers))
    def cancel(self, which: tuple[int, Timer]) -> None:
        number, timer = which
        timer.cancel()
        assert not timer.active
        self.due.pop(number, None)

    @rule(seconds=ticks, late=st.booleans())
    def pass_time(self, seconds: float, late: bool) -> None:
        self.lateness = seconds if late else 0.0
        self.clock.advance(seconds, late=late)
        self.lateness = 0.0

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.wheel.pending() == len(self.due)
        assert self.wheel.failures == 0
        assert all(due + 3 * TICK >= self.clock.time for due in self.due.values())
        assert not self.due or any(wake.callback is not None for _, _, wake in self.clock.calls)
        assert len([wake for _, _, wake in self.clock.calls if wake.callback is not None]) <= 1


WheelMachine.TestCase.settings = bounded(150, 40)
TestWheelAndList = WheelMachine.TestCase
