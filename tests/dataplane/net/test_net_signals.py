"""Signals that come to a loop as events."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from dataplane.net import signals


@pytest.fixture
def former() -> Iterator[list[int]]:
    """Who had the signal before; it is theirs again in the end."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGUSR1, before)


def wakeup() -> int:
    """Where the interpreter writes now; uvloop has it write somewhere of its own."""
    number = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(number, warn_on_full_buffer=False)
    return number


async def test_signal_calls_back_in_the_loop(former: list[int]) -> None:
    """Each one that comes while the loop waits, and nobody else."""
    came = asyncio.Event()
    with signals.told(asyncio.get_running_loop(), (signal.SIGUSR1,), came.set):
        for _ in range(3):
            came.clear()
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(came.wait(), 5)

    assert former == []


async def test_signal_is_its_former_owners_again_in_the_end(former: list[int]) -> None:
    """And the interpreter writes to a descriptor that is closed no more."""
    called: list[str] = []
    before = wakeup()
    with signals.told(asyncio.get_running_loop(), (signal.SIGUSR1,), lambda: called.append("told")):
        assert wakeup() != before
    os.kill(os.getpid(), signal.SIGUSR1)

    assert (former, called) == ([signal.SIGUSR1], [])
    assert wakeup() == before


async def test_signal_of_a_moment_before_the_loop_waits_is_not_lost(former: list[int]) -> None:
    """It came while nothing waited: what it wrote is there."""
    called: list[str] = []
    with signals.told(asyncio.get_running_loop(), (signal.SIGUSR1,), lambda: called.append("told")):
        signal.raise_signal(signal.SIGUSR1)
        assert called == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert (called, former) == (["told"], [])
