"""The two sides of an exchange as tables: where each is, and where an event takes it.

In: a state and an event, asked at heads, ends and switches, never at each piece of a body. Out: the next state, or `NEVER`:
what is not in a table is a defect of ours. It raises in tests; in production it ends that one exchange and is counted.
"""

from __future__ import annotations

from typing import Final

NEVER: Final = 255

OPEN: Final = 0
"""The client may send more of its request."""
WHOLE: Final = 1
"""All of the request is here."""
RAW: Final = 2
"""What the client sends are the bytes of a tunnel."""
RAW_OVER: Final = 3
"""It has ended them."""
ENDED: Final = 1
"""The bit of `WHOLE` and `RAW_OVER`."""

NONE: Final = 0
"""No final head was passed on, and none made: the request may still be sent again."""
BEGUN: Final = 1
"""The final head was passed on."""
SWITCHED: Final = 2
"""The server's bytes are a tunnel's."""
DONE: Final = 3
"""The answer, or the tunnel's half, is complete."""

HEAD: Final = 0
SWITCH: Final = 1
END: Final = 2
_EVENTS = 3


def _table(moves: dict[tuple[int, int], int]) -> bytes:
    return bytes(moves.get(divmod(at, _EVENTS), NEVER) for at in range(4 * _EVENTS))


REQUEST: Final = _table(
    {
        (OPEN, END): WHOLE,
        (OPEN, SWITCH): RAW,
        (WHOLE, SWITCH): RAW,  # the end was that of the request for it
        (RAW, END): RAW_OVER,
    }
)
ANSWER: Final = _table(
    {
        (NONE, HEAD): BEGUN,
        (NONE, SWITCH): SWITCHED,
        (BEGUN, SWITCH): SWITCHED,  # the head of an HTTP/2 server is its consent
        (BEGUN, END): DONE,
        (SWITCHED, END): DONE,
    }
)


def after(table: bytes, state: int, event: int) -> int:
    """Return where an event leads."""
    p = table
    return p[state * _EVENTS + event]


class AstrayError(Exception):
    """An exchange was taken where its tables do not lead."""
