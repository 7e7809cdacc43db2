"""What is left of a connection after our last byte: what still arrives is thrown away until the peer closes too.

In: the descriptor of a stream that was closed with all of its bytes sent. Out: nothing but its end. A client in the middle
of an upload would have the answer it has not read yet destroyed by the reset that a plain close makes of unread bytes
(RFC 9112, section 9.6). Refuses peers that never come to an end: silence, time and bytes are bounded.
"""

from collections.abc import Callable
from typing import Final

from dataplane.net.poller import Pollable, Poller
from dataplane.net.timers import Timer

LINGER_SECONDS: Final = 1.0
"""How long the peer may be silent before it closes its side."""
LINGER_MOST: Final = 30.0
"""How long it may go on sending."""
LINGER_BYTES: Final = 64 * 1024 * 1024
"""How much it may send."""

_READS = 4


class Lingering(Pollable):
    """A descriptor on its way to be closed; `gone` is called once it is."""

    def __init__(self, poller: Poller, fd: int, gone: Callable[[], object]) -> None:
        super().__init__(poller, fd)
        self._gone: Callable[[], object] | None = gone
        self._left = LINGER_BYTES
        self._until = poller.now + LINGER_MOST
        self._moved = False
        self._timer: Timer = poller.timers.after(LINGER_SECONDS, self._look)

    def ready(self, mask: int) -> None:  # noqa: ARG002 - whatever it is, reading tells
        """Throw away what is there."""
        kernel = self.poller.kernel
        for _ in range(_READS):
            if self._gone is None:
                return
            size = kernel.fill(self.fd)
            if size < 0 and kernel.error == 0:
                return
            self._moved = True
            self._left -= size
            if size <= 0 or self._left < 0:
                self._end()
                return
        self.poller.again(self)

    def failed(self, error: BaseException) -> None:  # noqa: ARG002 - nobody is left to be told
        """End, as nothing can be lost any more."""
        self._end()

    def _look(self) -> None:
        """A second is over: go on if something came in it."""
        if self._moved and self.poller.now < self._until:
            self._moved = False
            self._timer = self.poller.timers.after(LINGER_SECONDS, self._look)
        else:
            self._end()

    def _end(self) -> None:
        gone = self._gone
        if gone is not None:
            self._gone = None
            self._timer.cancel()
            self.poller.remove(self)
            gone()
