"""Turns readiness of many sockets into plain calls: one epoll set beside the event loop, flushed once a batch.

In: descriptors with a `Pollable` each. Out: `ready(mask)` on it, and, after a batch, `flush()` on every one that was
marked dirty, so everything written in a batch leaves in one call a socket. Refuses nothing: what a Pollable raises ends
that one alone (`failed`), is counted and logged once. Sockets are watched edge-triggered, so a connection costs one
`epoll_ctl` in its life; who stops reading early calls `again()`. On a `TrafficLoop` the poller is what the loop waits
in; on any other its epoll set is one descriptor among the loop's own, which costs two system calls more a batch.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from dataplane.net.system import Kernel
from dataplane.net.timers import Timers

IN: Final = 0x001
OUT: Final = 0x004
ERR: Final = 0x008
HUP: Final = 0x010
RDHUP: Final = 0x2000
EDGE: Final = 1 << 31

ROUNDS: Final = 4
"""Batches taken in one turn while they keep coming; then the event loop has its turn."""

_MANY = 8
_CACHE = 128 * 1024
"""Bytes received in a batch after which what was written leaves at once, while it is still in the processor's cache."""
_log = logging.getLogger("tulle.net")


class Pollable:
    """Something with a descriptor in a Poller."""

    __slots__ = ("dirty", "fd", "poller")

    def __init__(self, poller: "Poller", fd: int) -> None:
        self.poller = poller
        self.fd = fd
        self.dirty = False

    def ready(self, mask: int) -> None:
        """The descriptor has something (epoll's bits), or `again()` was asked for (0)."""

    def flush(self) -> None:
        """Send what waits; called once after a batch when marked dirty."""

    def failed(self, error: BaseException) -> None:
        """A call above raised: end, disturbing nobody else."""


class Wish:
    """Of an event loop, for its turn: asked at every wake-up, so an attribute of its own kind and not a Python object's."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made = False
        """The loop has something to do."""


class Driver(Protocol):
    """An event loop's selector that lets a poller wait in its place (`loop.TrafficSelector`)."""

    kernel: Kernel
    wish: Wish

    def adopt(self, poller: "Poller") -> bool:
        """Let the poller do the waiting; False when another does."""

    def release(self) -> None:
        """Wait without a poller again."""

    def note(self, fd: int, mask: int) -> None:
        """A descriptor that is none of the poller's is ready."""


class Poller:
    """One epoll set and everything that hangs on it."""

    __slots__ = (
        "_again",
        "_asked",
        "_dirty",
        "_driver",
        "_dying",
        "_handlers",
        "_loop",
        "_stirred",
        "_turning",
        "_wish",
        "bytes_in",
        "bytes_out",
        "connections",
        "failures",
        "kernel",
        "now",
        "pipes",
        "timers",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        driver: Driver | None = getattr(loop, "driver", None)
        if driver is not None and not driver.adopt(self):
            driver = None
        self._driver = driver
        self._wish = Wish() if driver is None else driver.wish
        self.kernel = Kernel() if driver is None else driver.kernel
        self.timers = Timers(loop, self.kernel)
        self.now = self.kernel.now()
        self.connections = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.failures = 0
        self.pipes: Any = None
        """`splice.Pipes`, when some were needed."""
        self._loop = loop
        self._handlers: list[Pollable | None] = [None] * 64
        self._dirty: list[Pollable] = []
        self._again: list[Pollable] = []
        self._dying: list[int] = []
        self._turning = False
        self._asked = False
        self._stirred: Callable[[], object] | None = None
        if driver is None:
            loop.add_reader(self.kernel.epoll, self.turn)

    @property
    def open(self) -> int:
        """Descriptors watched now."""
        return sum(handler is not None for handler in self._handlers)

    def watched(self) -> list[Pollable]:
        """Give everything that is watched now."""
        return [handler for handler in self._handlers if handler is not None]

    def close(self) -> None:
        """Let go of the event loop; what is still open is closed without a word to anybody."""
        if self._driver is None:
            self._loop.remove_reader(self.kernel.epoll)
        self.timers.stop()
        for handler in self._handlers:
            if handler is not None:
                self.remove(handler)
        self._reap()
        if self.pipes is not None:
            self.pipes.close()
        if self._driver is None:
            self.kernel.shut()
        else:
            self._driver.release()

    def add(self, pollable: Pollable, mask: int) -> None:
        """Watch its descriptor."""
        fd = pollable.fd
        if fd >= len(self._handlers):
            self._handlers.extend([None] * (fd + 64 - len(self._handlers)))
        self.kernel.add(fd, mask)
        self._handlers[fd] = pollable

    def replace(self, old: Pollable, new: Pollable) -> None:
        """Let another Pollable have the descriptor; the old one hears of it no more."""
        self._handlers[old.fd] = new

    def remove(self, pollable: Pollable) -> None:
        """Watch it no more and close its descriptor when the batch is over, so its number is not reused within it."""
        fd = pollable.fd
        if self._handlers[fd] is pollable:
            self._handlers[fd] = None
            self._dying.append(fd)
            self._ask()

    def mark(self, pollable: Pollable) -> None:
        """Have it flushed at the end of the batch."""
        if not pollable.dirty:
            pollable.dirty = True
            self._dirty.append(pollable)
            self._ask()

    def again(self, pollable: Pollable) -> None:
        """Have its `ready(0)` called in the next batch."""
        self._again.append(pollable)
        self._ask()

    def when_stirred(self, callback: Callable[[], object]) -> None:
        """Call back once, before the next descriptor that is ready is served. It has one listener at a time: who watches the load."""
        self._stirred = callback

    def _ask(self) -> None:
        if not self._turning and not self._asked and self._driver is None:
            self._asked = True
            self._loop.call_soon(self.turn)

    def turn(self) -> None:
        """Take what is ready, in a few batches; called by the event loop or by who has no other, never fails."""
        if self.kernel.epoll < 0:
            return
        self._turning = True
        self._asked = False
        for _ in range(ROUNDS):
            count = self.kernel.wait(0)
            self._batch(count)
            # After a small batch more is hardly there yet; looking would cost what the event loop's own look costs.
            if count < _MANY and not self._again and not self._dirty:
                break
        self._turning = False
        if self._again or self._dirty:
            self._ask()

    def drive(self, milliseconds: int) -> None:
        """Wait and take what comes, batch after batch, until the loop is wanted or so long is over (-1: for ever)."""
        wish = self._wish
        kernel = self.kernel
        until = -1.0 if milliseconds < 0 else kernel.now() + milliseconds / 1000
        self._turning = True
        try:
            while self._driver is not None:
                wait = milliseconds
                if self._again or self._dirty or self._dying or wish.made:
                    wait = 0
                self._batch(kernel.wait(wait))
                if wish.made:
                    return
                if until >= 0:
                    milliseconds = int((until - self.now) * 1000 + 0.999)
                    if milliseconds <= 0:
                        return
        finally:
            self._turning = False

    def _batch(self, count: int) -> None:
        """Call who is ready and who asked to be called again, flush what was written, close what is over."""
        repeated = self._again
        self.now = self.kernel.now()
        if repeated:
            self._again = []
            self._repeat(repeated)
        if count:
            if self._stirred is not None:
                callback = self._stirred
                self._stirred = None
                callback()
            self._dispatch(count)
        if self._dirty:
            self._flush()
        if self._dying:
            self._reap()

    def _dispatch(self, count: int) -> None:
        handlers = self._handlers
        kernel = self.kernel
        handler: Pollable | None = None
        i = 0
        full = self.bytes_in + _CACHE
        while i < count:
            try:
                while i < count:
                    if self.bytes_in >= full:
                        full = self.bytes_in + _CACHE
                        self._flush()
                    fd = kernel.event_fd(i)
                    handler = handlers[fd] if fd < len(handlers) else None
                    mask = kernel.event_mask(i)
                    i += 1
                    if handler is not None:
                        handler.ready(mask)
                    elif self._driver is not None:
                        self._driver.note(fd, mask)
            except Exception as error:  # noqa: BLE001 - see _supervise
                self._supervise(handler, error)

    def _repeat(self, repeated: list[Pollable]) -> None:
        i = 0
        count = len(repeated)
        handler: Pollable | None = None
        while i < count:
            try:
                while i < count:
                    handler = repeated[i]
                    i += 1
                    handler.ready(0)
            except Exception as error:  # noqa: BLE001 - see _supervise
                self._supervise(handler, error)

    def _flush(self) -> None:
        """Flush the dirty ones, and those that become so meanwhile."""
        dirty = self._dirty
        i = 0
        handler: Pollable | None = None
        while i < len(dirty):
            try:
                while i < len(dirty):
                    handler = dirty[i]
                    i += 1
                    handler.dirty = False
                    handler.flush()
            except Exception as error:  # noqa: BLE001 - see _supervise
                self._supervise(handler, error)
        dirty.clear()

    def defect(self, consequence: str, error: Exception) -> None:
        """Count and tell an error that nobody foresaw, and what it ended."""
        self.failures += 1
        _log.error("%s because of a defect: %r", consequence, error, exc_info=error)

    def _supervise(self, handler: Pollable | None, error: Exception) -> None:
        """The one place where what a connection raised ends: that connection is aborted, nothing else."""
        self.defect("a connection was aborted", error)
        if handler is not None:
            try:
                handler.failed(error)
            except Exception:  # noqa: BLE001 - the last resort
                _log.exception("aborting it failed too")

    def _reap(self) -> None:
        dying = self._dying
        kernel = self.kernel
        for fd in dying:
            kernel.close(fd)
        dying.clear()
