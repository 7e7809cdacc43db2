"""The poller's turn: what it calls, in which order, and what it survives."""

from __future__ import annotations

import asyncio
import logging

import pytest

from dataplane.net.poller import ROUNDS, Pollable, Poller
from tests.support.net import Echo, Heard, net


class Note(Pollable):
    """Writes down what it is asked to do."""

    def __init__(self, poller: Poller, log: list[str], *, again: int = 0, fail: str = "") -> None:
        super().__init__(poller, -1)
        self._log, self._again, self._fail = log, again, fail

    def ready(self, mask: int) -> None:
        self._log.append("ready")
        if self._again:
            self._again -= 1
            self.poller.again(self)
        if self._fail == "ready":
            raise ValueError("ready failed")

    def flush(self) -> None:
        self._log.append("flush")
        if self._fail == "flush":
            raise ValueError("flush failed")

    def failed(self, error: BaseException) -> None:
        self._log.append(f"failed: {error}")


async def test_marked_pollable_is_flushed_once() -> None:
    """However often something is marked in a batch."""
    async with net() as n:
        log: list[str] = []
        note = Note(n.poller, log)
        for _ in range(3):
            n.poller.mark(note)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert log == ["flush"]


async def test_repeating_pollable_lets_the_event_loop_have_its_turn() -> None:
    """Who asks for more again and again gets a few rounds, then others are served."""
    async with net() as n:
        log: list[str] = []
        n.poller.again(Note(n.poller, log, again=20))
        n.poller.turn()
        assert log == ["ready"] * ROUNDS

        await n.settle(lambda: len(log) == 21)


@pytest.mark.parametrize("where", ["ready", "flush"])
async def test_what_a_pollable_raises_ends_that_one(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others of the batch are called; the failure is counted and logged with its traceback."""
    caplog.set_level(logging.ERROR)
    async with net() as n:
        n.defects = 1
        log: list[str] = []
        good: list[str] = []
        for note in (Note(n.poller, log, fail=where), Note(n.poller, good)):
            n.poller.again(note)
            n.poller.mark(note)
        await n.settle(lambda: "flush" in good)

        assert f"failed: {where} failed" in log
        assert good == ["ready", "flush"]
        assert f"{where} failed" in caplog.text


async def test_who_waits_for_a_stir_hears_of_the_first_before_it_is_served() -> None:
    """Once: the next one needs to be asked for anew. What is done again, and timers, stir nobody."""
    async with net() as n:
        stirs: list[int] = []
        n.poller.when_stirred(lambda: stirs.append(len(n.accepted)))
        log: list[str] = []
        n.poller.again(Note(n.poller, log))
        await n.settle(lambda: bool(log))
        assert stirs == []

        port = n.serve(Echo)
        for number in (1, 2):
            n.connect(port)
            await n.settle(lambda number=number: len(n.accepted) == number)  # type: ignore[misc]

        assert stirs == [0]


async def test_closing_the_poller_closes_what_is_open() -> None:
    """At the end of the process nothing hangs on."""
    async with net() as n:
        other = Poller(asyncio.get_running_loop())
        n.poller, mine = other, n.poller
        peer = n.pair(Heard())
        other.close()
        other.turn()
        n.poller = mine

        assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
