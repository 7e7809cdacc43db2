"""A descriptor to write to that never makes anybody wait: what it does not take now is the caller's to keep or drop.

In: a descriptor of the process, shared with who knows whom. Out: how many bytes were taken, 0 for none. It is not made
non-blocking, for its other holders would meet that too; where it can be, it is opened anew, else written to in pieces
that fit when it says that there is room.
"""

from __future__ import annotations

import os
import select
from typing import Final

PIECE: Final = 4096
"""A pipe with room takes this much at once (PIPE_BUF)."""

_HOW = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


class Output:
    """One descriptor's other self."""

    __slots__ = ("_fd", "_poll")

    def __init__(self, fd: int) -> None:
        self._poll: select.poll | None = None
        try:
            self._fd = os.open(f"/proc/self/fd/{fd}", _HOW)
        except OSError:
            self._fd = fd
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> int:
        """Write as much as is taken at once; raises OSError when nobody will read any more."""
        if self._poll is None:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                return 0
        taken = 0
        while taken < len(data) and self._poll.poll(0):
            taken += os.write(self._fd, data[taken : taken + PIECE])
        return taken

    def close(self) -> None:
        """Let go of it, if it is ours."""
        if self._poll is None:
            os.close(self._fd)
