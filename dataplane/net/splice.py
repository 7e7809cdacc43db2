"""Bytes relayed inside the kernel: from one plain socket through a pipe to another, never copied into this process.

In: a source and a sink stream, both plain TCP. Out: the same bytes, counted by `passed`. Refuses nothing; where it cannot
help (bytes of ours wait before the sink, small messages) it says so and the stream is read as usual. A pipe is borrowed
only while bytes are in it, so idle connections hold none.
"""

import errno
import fcntl
import os
from contextlib import suppress
from typing import Final

from dataplane.net.outlet import Bypass
from dataplane.net.poller import Poller
from dataplane.net.stream import Stream

PIPE_SIZE: Final = 1024 * 1024
"""Bytes asked for in a pipe; the kernel's default (64 KB) where a user may have no more."""
POOL: Final = 16
"""Empty pipes kept for the next borrower."""

_PIPE = PIPE_SIZE
_PULLS = 4
_SMALL = 16384
_SMALL_LIMIT = 8
_SPLICE_S_OWN = frozenset((errno.EINVAL, errno.ENOMEM, errno.ENOSYS, errno.EOPNOTSUPP))
"""Errors that say nothing of the connection: the kernel cannot help, now or ever."""


class Pipes:
    """The empty pipes of a poller."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []

    def borrow(self) -> tuple[int, int]:
        """Return the two ends of an empty pipe; raises OSError when descriptors have run out."""
        if self._free:
            return self._free.pop()
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return ends

    def give_back(self, ends: tuple[int, int], empty: bool) -> None:
        """Take a pipe back; one with bytes in it is closed."""
        if empty and len(self._free) < POOL:
            self._free.append(ends)
        else:
            os.close(ends[0])
            os.close(ends[1])

    def close(self) -> None:
        """Close the empty ones."""
        while self._free:
            self.give_back(self._free.pop(), empty=False)


class Pump(Bypass):
    """One direction of a relay."""

    def __init__(self, source: Stream, sink: Stream) -> None:
        super().__init__()
        self._source: Stream = source
        self._sink: Stream = sink
        self._poller: Poller = source.poller
        self._ends: tuple[int, int] | None = None
        self._in = -1
        self._out = -1
        self._small = 0

    def passed(self, size: int) -> None:
        """So many bytes came in; for counting."""

    def pull(self) -> bool:
        """Move what the source has; False when it must be read as usual."""
        sink = self._sink
        if self.held:
            return True
        if not sink.open or sink.waiting:
            return False
        kernel = self._poller.kernel
        pulls = _PULLS
        while pulls:
            pulls -= 1
            if self._ends is None and not self._borrow():
                return False
            moved = kernel.splice(self._source.fd, self._in, _PIPE)
            if moved <= 0:
                self._give_back()
                if moved == 0:
                    return False  # the end is found by reading, as always
                if kernel.error == 0:
                    self._source.emptied()
                    return True
                if kernel.error not in _SPLICE_S_OWN:
                    # A socket tells its error once: who reads after this would take what follows for a proper end.
                    self._source.refused(kernel.error)
                return False
            self._poller.bytes_in += moved
            self.held = moved
            self.passed(moved)
            self._judge(moved)
            if not self.push():
                return True
        self._source.go_on()
        return True

    def push(self) -> bool:
        """Move what is in the pipe to the sink; False while some is left."""
        kernel = self._poller.kernel
        sink = self._sink
        while self.held:
            moved = kernel.splice(self._out, sink.fd, self.held)
            if moved <= 0:
                sink.refused(kernel.error)
                return False
            self.held -= moved
            self._poller.bytes_out += moved
        return True

    def pushed(self) -> None:
        """The sink took the rest: the pipe is free, the source may go on."""
        self._give_back()
        self._source.go_on()

    def stop(self) -> None:
        """Drop what is in the pipe, and let the source be read as usual."""
        if self._ends is not None:
            pipes, ends = self._poller.pipes, self._ends
            self._ends = None
            pipes.give_back(ends, self.held == 0)
        self.held = 0
        self._source.pump = None
        self._source.go_on()

    def _judge(self, moved: int) -> None:
        """Small messages are cheaper by way of memory: go back to that after some in a row."""
        if moved >= _SMALL:
            self._small = 0
            return
        self._small += 1
        if self._small >= _SMALL_LIMIT:
            self._small = 0
            self._source.pump = None

    def _borrow(self) -> bool:
        pipes = self._poller.pipes
        if pipes is None:
            pipes = self._poller.pipes = Pipes()
        try:
            ends = pipes.borrow()
        except OSError:
            return False
        self._ends = ends
        self._in = ends[1]
        self._out = ends[0]
        return True

    def _give_back(self) -> None:
        if self._ends is not None and not self.held:
            self._poller.pipes.give_back(self._ends, True)
            self._ends = None
