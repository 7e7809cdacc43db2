"""One HTTP/2 stream: where it is in its life, its two windows, and what waits for the peer's.

In: sizes and pieces from the codec's parts. Out: fields they read. Refuses nothing; the rules are `states`' and `connection`'s.
"""

from collections import deque

from dataplane.protocol.events import Headers
from dataplane.protocol.http2 import states

_OPEN = states.OPEN


class Http2Stream:
    """A stream from its first head to its end."""

    __slots__ = (
        "blocked",
        "bodyless",
        "caught_up",
        "end_queued",
        "final",
        "headed",
        "id",
        "offset",
        "opened",
        "pending",
        "queue",
        "receive_left",
        "receive_window",
        "returned",
        "send_left",
        "send_window",
        "state",
        "trailers",
        "tunnel",
        "unconsumed",
        "window",
    )

    def __init__(self, number: int, send_window: int, receive_window: int) -> None:
        self.id = number
        self.state = _OPEN
        """One of `states`; in a table of streams never IDLE nor CLOSED."""
        self.headed = False
        """The peer's head has been read: what comes now is its body."""
        self.final = False
        """The final response head has passed (either way)."""
        self.bodyless = False
        """The response has no body whatever its Content-Length says (HEAD, 204, 304)."""
        self.tunnel = False
        """A CONNECT that was not refused: either side may end before the other."""
        self.receive_left = -1
        """Body bytes still to come, where that is known; else -1."""
        self.send_left = -1
        self.window = receive_window
        """All the peer may send before we hand bytes on; of it, `receive_window` are left now."""
        self.receive_window = receive_window
        self.send_window = send_window
        self.unconsumed = 0
        """Received bytes the driver has not handed on yet."""
        self.caught_up = False
        """The driver has handed on all there was, since the window grew last."""
        self.returned = 0
        """Bytes handed on and not yet given back to the peer by WINDOW_UPDATE."""
        self.pending = 0
        """Bytes in `queue`."""
        self.blocked = False
        """`pending` went above the low mark, so `Writable` is owed."""
        self.queue: deque[bytes] | None = None
        self.offset = 0
        """Bytes of the queue's first piece that have left."""
        self.opened = 0.0
        """The driver's `now` when it was opened."""
        self.end_queued = False
        self.trailers: Headers | None = None
