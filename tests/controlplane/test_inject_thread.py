"""The thread of the webhooks: whatever ends or holds it is heard of, for the probes ask another loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from controlplane.inject import thread as module
from controlplane.inject.thread import Admission, Serving


def serving(then: Callable[[], object] = lambda: None) -> Serving:
    """Serve nothing, and do something in the loop as soon as that is told."""

    @contextlib.asynccontextmanager
    async def served(_: ssl.SSLContext) -> AsyncIterator[int]:
        asyncio.get_running_loop().call_later(0.01, then)
        yield 1

    return served


def leave() -> None:
    raise SystemExit(3)


async def test_thread_that_is_ended_ends_the_control_plane() -> None:
    """What ends a program ends a thread without a word: nobody would answer, and the replica be ready."""
    with pytest.raises(RuntimeError, match="SystemExit"):
        await asyncio.wait_for(Admission(serving(leave)).run(), 10)


async def test_loop_that_is_held_ends_the_control_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    """A review that never returns; the control plane's own loop goes round all the while."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0.02)
    going_on = threading.Event()
    try:
        with pytest.raises(RuntimeError, match=r"held for 0\.6 s"):
            await asyncio.wait_for(Admission(serving(going_on.wait)).run(), 10)
    finally:
        going_on.set()


async def test_certificate_that_cannot_be_taken_ends_the_control_plane() -> None:
    """Else the one before would be served until it is over, and whoever renewed it would not know."""
    admission = Admission(serving())
    running = asyncio.ensure_future(admission.run())
    await admission.listening()
    admission.certify(b"no chain", b"no key")

    with pytest.raises(ssl.SSLError):
        await asyncio.wait_for(running, 10)


async def test_loop_that_goes_round_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it serves; and it ends when it is told to."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0.005)
    rounds = 2 * module.HELD_LOOKS
    admission = Admission(serving())
    running = asyncio.ensure_future(admission.run())
    assert await admission.listening() == 1
    while admission._turns < rounds:
        done, _ = await asyncio.wait([running], timeout=0.01)
        assert not done
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
