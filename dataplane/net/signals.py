"""Signals as events of a loop.

In: a loop, signals, a callback. Out: the callback called in the loop after each, as long as the context lasts. The loop's own `add_signal_handler` asks
`inspect` what kind of function it was given: that module, with what it brings along, would be 1.3 MB of each sidecar. Refuses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def told(loop: asyncio.AbstractEventLoop, numbers: tuple[int, ...], callback: Callable[[], None]) -> Iterator[None]:
    """Call back after each of these signals; to be used in the main thread."""
    here, there = socket.socketpair()
    before = {number: signal.getsignal(number) for number in numbers}
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        # The interpreter writes a byte there in the signal itself, so that none is lost however shortly before the loop waits it comes.
        former = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        loop.add_reader(here, _read, here, callback)
        try:
            for number in numbers:
                signal.signal(number, _noted)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            loop.remove_reader(here)
            signal.set_wakeup_fd(former)


def _noted(*_: object) -> None:
    """Have the signal not do what it does by default."""


def _read(here: socket.socket, callback: Callable[[], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        here.recv(256)
    callback()
