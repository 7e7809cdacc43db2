"""The life of an HTTP/2 stream as tables (RFC 9113, section 5.1).

In: a state, and what happens to the stream or which frame came for it. Out: the next state; what a frame is worth there.
`NOWHERE` is what no table allows: a defect of ours, never of a peer. Nobody pushes, so nothing is ever reserved.
"""

from typing import Final

from dataplane.protocol.http2 import frames

CLOSED: Final = 0
HALF_CLOSED_LOCAL: Final = 1
HALF_CLOSED_REMOTE: Final = 2
OPEN: Final = 3
IDLE: Final = 4

THEY_SEND: Final = 1
"""The bit of the states in which the peer may send its message on."""
WE_SEND: Final = 2
"""The bit of those in which we may."""

BEGIN: Final = 0
"""The head that opens it, by whichever side opens streams."""
THEIR_END: Final = 1
OUR_END: Final = 2
RESET: Final = 3
"""By either side, or the connection is lost."""
NOWHERE: Final = 255
_EVENTS = 4

MOVES: Final = {
    (IDLE, BEGIN): OPEN,
    (OPEN, THEIR_END): HALF_CLOSED_REMOTE,
    (OPEN, OUR_END): HALF_CLOSED_LOCAL,
    (OPEN, RESET): CLOSED,
    (HALF_CLOSED_LOCAL, THEIR_END): CLOSED,
    (HALF_CLOSED_LOCAL, RESET): CLOSED,
    (HALF_CLOSED_REMOTE, OUR_END): CLOSED,
    (HALF_CLOSED_REMOTE, RESET): CLOSED,
}

TAKE: Final = 0
IGNORE: Final = 1
"""It was sent before the peer knew of the end."""
LATE: Final = 2
"""STREAM_CLOSED, unless we reset the stream and the peer could not know."""
NEVER: Final = 3
"""A connection error: nobody opened such a stream."""
_KINDS = 10

_OF_MESSAGES = {frames.DATA: TAKE, frames.HEADERS: TAKE, frames.RST_STREAM: TAKE, frames.WINDOW_UPDATE: TAKE}
VERDICTS: Final = {
    IDLE: {frames.DATA: NEVER, frames.HEADERS: TAKE, frames.RST_STREAM: NEVER, frames.WINDOW_UPDATE: NEVER},
    OPEN: _OF_MESSAGES,
    HALF_CLOSED_LOCAL: _OF_MESSAGES,
    HALF_CLOSED_REMOTE: {**_OF_MESSAGES, frames.DATA: LATE, frames.HEADERS: LATE},
    CLOSED: {frames.DATA: LATE, frames.HEADERS: LATE, frames.RST_STREAM: LATE, frames.WINDOW_UPDATE: IGNORE},
}
"""What a frame for a stream is worth in each state; PRIORITY is allowed in all and means nothing (section 5.3.2)."""

# The same for C.
_MOVES = bytes([MOVES.get(divmod(at, _EVENTS), NOWHERE) for at in range(5 * _EVENTS)])
_VERDICTS = bytes([VERDICTS[state].get(kind, IGNORE) for state in range(5) for kind in range(_KINDS)])


def after(state: int, event: int) -> int:
    """Return the state an event leads to."""
    p = _MOVES
    return p[state * _EVENTS + event]


def verdict(state: int, kind: int) -> int:
    """Return what a frame of a type the RFC knows is worth."""
    p = _VERDICTS
    return p[state * _KINDS + kind]
