"""What is kept of a request's body so that it can be sent, or sent again.

In: pieces as they come, and trailers. Out: the same, in order, to a connection. Pieces are references, never copies. What is
over the bound may be dropped as soon as a server has it, and with it the chance to send the request again.
"""

from __future__ import annotations

from dataplane.protocol.events import Headers
from dataplane.proxy.connection import HttpConnection


class Replay:
    """The body of one request so far; made with its first piece, so that a request without one has none."""

    __slots__ = ("_pieces", "size", "trailers")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0
        """Bytes kept."""
        self.trailers: Headers | None = None

    def keep(self, data: bytes) -> None:
        """Take a piece."""
        self._pieces.append(data)
        self.size += len(data)

    def first(self, most: int) -> bytes:
        """Return the first bytes of it, so many at most."""
        return b"".join(self._pieces)[:most]

    def send(self, up: HttpConnection, stream: int, whole: bool) -> None:
        """Send all there is; `whole` says that nothing follows it."""
        pieces = self._pieces
        last = len(pieces) - 1 if whole and self.trailers is None else -1
        for index in range(len(pieces)):
            up.send_data(stream, pieces[index], index == last)
        if self.trailers is not None:
            up.send_trailers(stream, self.trailers)
