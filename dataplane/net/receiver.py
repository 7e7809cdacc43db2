"""What takes a stream's bytes: the six things a connection can tell.

In: calls of a `Stream`. Out: whatever the subclass does with them. Refuses nothing; every call does nothing by itself.
"""

from typing import Final


class Receiver:
    """What takes a stream's bytes; the proxy's classes are subclasses."""

    __slots__ = ()

    def opened(self) -> None:
        """A dialled stream is connected (TLS: handshake done, peer checked); accepted ones are open from the start."""

    def received(self, data: bytes) -> None:
        """Bytes arrived."""

    def ended(self) -> None:
        """The peer will send no more; we still may."""

    def leaving(self) -> None:
        """The peer has said that it sends no more, behind bytes that are not read while the stream is paused; maybe more than once."""

    def drained(self) -> None:
        """What waits fell to the low mark after it was above the high one."""

    def lost(self, reason: str) -> None:
        """The connection is gone, also after our own `close()`: called once, and last."""


NOBODY: Final = Receiver()
"""Whom a dead stream talks to."""
