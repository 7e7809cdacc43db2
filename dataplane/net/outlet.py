"""The queue of bytes on their way out of a stream, and the two marks that tell its sources to stop and go on.

In: pieces of bytes; how many the kernel took. Out: `waiting` and `high`, the same for everybody who writes. Refuses
nothing: what is asked to stop and writes on is queued all the same.
"""

from typing import Final

from dataplane.net.poller import Pollable, Poller

HIGH_MARK: Final = 256 * 1024
LOW_MARK: Final = 64 * 1024

# The same for the hot path: C integers when compiled.
_HIGH = HIGH_MARK
_LOW = LOW_MARK


class Bypass:
    """A way for bytes from one stream to another that does not lead through this process; `splice.Pump` is the one."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes on their way."""

    def pull(self) -> bool:
        """Move what the source has; False when it must be read as usual."""
        return False

    def push(self) -> bool:
        """Move what is held to the sink; False while some is left."""
        return True

    def pushed(self) -> None:
        """The sink took all after it could not at first."""

    def stop(self) -> None:
        """One of the streams is gone: drop what is held."""


class Outlet(Pollable):
    """The sending half of a stream, without the sending."""

    def __init__(self, poller: Poller, fd: int) -> None:
        super().__init__(poller, fd)
        self.waiting = 0
        self.high = False
        self._chunks: list[bytes] = []
        self._offset = 0
        self.feed: Bypass | None = None
        """Where bytes come from that are not in the queue; never while some are."""

    def _queue(self, data: bytes, size: int) -> None:
        self._chunks.append(data)
        self.waiting += size
        if self.waiting > _HIGH:
            self.high = True

    def _forget(self, sent: int) -> None:
        """Drop what the kernel has taken from the front of the queue."""
        chunks = self._chunks
        self.waiting -= sent
        sent += self._offset
        done = 0
        count = len(chunks)
        while done < count:
            size = len(chunks[done])
            if sent < size:
                break
            sent -= size
            done += 1
        if done == count:
            chunks.clear()
        elif done:
            del chunks[:done]
        self._offset = sent

    def _eased(self) -> bool:
        """Whether a high queue has fallen to the low mark just now."""
        if self.waiting > _LOW:
            return False
        self.high = False
        return True

    def _drop(self) -> None:
        self._chunks.clear()
        self._offset = 0
        self.waiting = 0
        self.high = False
