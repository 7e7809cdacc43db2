"""Where the parts of an exchange are, as tables: the request's side, the answer's side, the attempt to have it served.

In: a state and an event, asked at heads, ends, switches and resets, never at each piece of a body. Out: the next state, or `NEVER`:
what is not in a table is a defect of ours. It raises in tests; in production it ends that one exchange and is counted.
"""

from __future__ import annotations

from typing import Final

NEVER: Final = 255

# The request's side.
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

# The answer's side.
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

# The attempt.
NOWHERE: Final = 0
"""No endpoint is chosen."""
PENDING: Final = 1
"""One is, and counted at; a connection to it is to come."""
SENT: Final = 2
"""A server has the head."""
TAKEN: Final = 3
"""Its answer is passed on: there is no other try."""
RESTING: Final = 4
"""A retry waits for its turn; nothing is counted anywhere."""
LEFT: Final = 5
"""There is no more to come."""

CHOOSE: Final = 0
CONNECT: Final = 1
FAIL: Final = 2
REST: Final = 3
TAKE: Final = 4
LEAVE: Final = 5
EVENTS: Final = 6
"""A table's row has so many places: the next state is at `state * EVENTS + event`."""


def _table(states: int, moves: dict[tuple[int, int], int]) -> bytes:
    return bytes(moves.get(divmod(at, EVENTS), NEVER) for at in range(states * EVENTS))


REQUEST: Final = _table(
    4,
    {
        (OPEN, END): WHOLE,
        (OPEN, SWITCH): RAW,
        (WHOLE, SWITCH): RAW,  # the end was that of the request for it
        (RAW, END): RAW_OVER,
    },
)
ANSWER: Final = _table(
    4,
    {
        (NONE, HEAD): BEGUN,
        (NONE, SWITCH): SWITCHED,
        (BEGUN, SWITCH): SWITCHED,  # the head of an HTTP/2 server is its consent
        (BEGUN, END): DONE,
        (SWITCHED, END): DONE,
    },
)
ATTEMPT: Final = _table(
    6,
    {
        (NOWHERE, CHOOSE): PENDING,
        (PENDING, CONNECT): SENT,
        (PENDING, FAIL): NOWHERE,
        (SENT, FAIL): NOWHERE,
        (SENT, TAKE): TAKEN,
        (NOWHERE, REST): RESTING,
        (RESTING, CHOOSE): PENDING,
        **{(state, LEAVE): LEFT for state in (NOWHERE, PENDING, SENT, TAKEN, RESTING)},
    },
)


class AstrayError(Exception):
    """An exchange was taken where its tables do not lead."""
