"""The line between the first worker and the others: framed, pickled messages over a socket pair made before the fork.

In: messages as tuples, a word first. Out: the same at the other end, in order. Both ends are this very program, on a socket
nobody else can reach, so pickle is safe here and only here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

Message = tuple[Any, ...]

_LENGTH = 4


class Link:
    """One end of a line; `run` reads until the other end is gone."""

    def __init__(self, end: socket.socket, take: Callable[[Message], None]) -> None:
        self._end = end
        self._take = take
        self._writer: asyncio.StreamWriter | None = None
        self._early: list[bytes] = []

    def send(self, *message: Any) -> None:
        """Send a message; what is said before `run` waits for it."""
        self.send_raw(pack(message))

    def send_raw(self, data: bytes) -> None:
        """Send a message packed already, so that one packing serves all workers."""
        if self._writer is None:
            self._early.append(data)
        elif not self._writer.is_closing():
            self._writer.write(data)

    async def run(self) -> None:
        """Read messages until the other end is gone."""
        import pickle  # noqa: PLC0415 - most sidecars have one worker and no line

        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        for data in self._early:
            self._writer.write(data)
        self._early.clear()
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
                self._take(pickle.loads(await reader.readexactly(length)))  # noqa: S301 - see above
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writer.close()


def pack(message: Message) -> bytes:
    """Frame a message."""
    import pickle  # noqa: PLC0415 - as above

    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH, "big") + data
