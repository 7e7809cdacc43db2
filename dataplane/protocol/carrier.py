"""Frames of a carrier: one connection between two sidecars that carries one opaque connection after another (`tulle-tcp/2`).

In: the peer's bytes, cut anywhere, and commands. Out: `receive` gives what was carried and the marks between it, in order; a command
gives the bytes to send. Refuses, in `error`, what the peer may not send now (`due`), an empty DATA, a length where there is none.

A frame is a byte of its kind, three bytes of a length, and so many bytes; only DATA has any. The first connection is open from the
start: what its caller sends travels with the end of the handshake. Each further one begins with OPEN, and the caller sends none of its
bytes before ACCEPT: so a carrier that is gone by then is replaced by another, and no byte is sent twice. Each side ends with END. The
callee says DONE once it has read the caller's and sent its own: what it reads next is of the next connection, whatever its app has
left unread of this one.
"""

from typing import Final

HEADER: Final = 4
"""Bytes before a frame's own."""
LONGEST: Final = (1 << 24) - 1
"""Bytes of a DATA frame. They pass as they come, so that their number costs nothing."""

OPEN: Final = 1
"""Caller: another connection."""
ACCEPT: Final = 2
"""Callee: its app has taken it."""
DATA: Final = 3
END: Final = 4
"""No more of this connection comes from here."""
DONE: Final = 5
"""Callee: both have ended, and the caller may open another."""
NAMES: Final = {OPEN: "OPEN", ACCEPT: "ACCEPT", DATA: "DATA", END: "END", DONE: "DONE"}

# C integers when compiled.
_HEADER = HEADER
_LONGEST = LONGEST
_OPEN = OPEN
_ACCEPT = ACCEPT
_DATA = DATA
_END = END
_DONE = DONE
_NOTHING = 0
_BYTES = 1 << DATA | 1 << END
_EMPTY = {kind: bytes([kind, 0, 0, 0]) for kind in NAMES}


class CarrierCodec:
    """One side of a carrier. What it is told to send must fit its state, as `idle`, `opening`, `ended` and `over` say."""

    __slots__ = ("_head", "_left", "caller", "due", "ended", "error", "idle", "opening", "peer_ended")

    def __init__(self, caller: bool) -> None:
        """Begin with a connection open."""
        self.caller = caller
        self.due = _BYTES
        """The kinds the peer may send now, a bit each."""
        self.idle = False
        """No connection is on it, and the next may come."""
        self.opening = False
        """The next was asked for and is not accepted."""
        self.ended = False
        """We have ended ours."""
        self.peer_ended = False
        self.error = ""
        """Why nothing can be read any more."""
        self._left = 0
        self._head = b""

    @property
    def over(self) -> bool:
        """Whether both sides have ended the connection there was."""
        return self.ended and self.peer_ended

    # --- what the peer says -------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[bytes | int]:
        """Return carried bytes, and of the other frames their kind; after an `error` nothing more."""
        size = len(data)
        if 0 < size <= self._left:
            self._left -= size
            return [data]
        found: list[bytes | int] = []
        at = 0
        while at < size and not self.error:
            if self._left:
                step = min(size - at, self._left)
                found.append(data[at : at + step])
                self._left -= step
                at += step
                continue
            missing = _HEADER - len(self._head)
            self._head += data[at : at + missing]
            at += missing
            if len(self._head) == _HEADER:
                self._take(self._head[0], int.from_bytes(self._head[1:], "big"), found)
                self._head = b""
        return found

    def _take(self, kind: int, length: int, found: list[bytes | int]) -> None:
        if kind > _DONE or not self.due >> kind & 1:
            self.error = f"{NAMES.get(kind, f'frame {kind}')} came where {_words(self.due)} may come"
        elif kind == _DATA:
            self._left = length
            if length == 0:
                self.error = "DATA came without any"
        elif length:
            self.error = f"{NAMES[kind]} came with a length"
        else:
            self._follow(kind)
            found.append(kind)

    def _follow(self, kind: int) -> None:
        if kind == _END:
            self.peer_ended = True
            self.due = 1 << _DONE if self.caller and self.ended else _NOTHING
        elif kind == _OPEN:
            self._begin()
            self.due = _NOTHING
        elif kind == _ACCEPT:
            self.opening = False
            self.due = _BYTES
        else:
            self.idle = True
            self.due = _NOTHING

    def _begin(self) -> None:
        self.idle = self.ended = self.peer_ended = False
        self.opening = True

    # --- what we say --------------------------------------------------------------------------------------------------

    def open(self) -> bytes:
        """Ask for another connection (caller, `idle`)."""
        self._begin()
        self.due = 1 << _ACCEPT
        return _EMPTY[_OPEN]

    def accept(self) -> bytes:
        """Say that it is there (callee, `opening`)."""
        self.opening = False
        self.due = _BYTES
        return _EMPTY[_ACCEPT]

    def header(self, size: int) -> bytes:
        """Announce so many bytes, at most LONGEST, which follow (not `ended`)."""
        return (_DATA << 24 | size).to_bytes(_HEADER, "big")

    def end(self) -> bytes:
        """End what we send (not `ended`)."""
        self.ended = True
        if self.caller and self.peer_ended:
            self.due = 1 << _DONE
        return _EMPTY[_END]

    def done(self) -> bytes:
        """Take the next connection (callee, `over`)."""
        self.idle = True
        self.due = 1 << _OPEN
        return _EMPTY[_DONE]


def _words(due: int) -> str:
    return " or ".join(name for kind, name in NAMES.items() if due >> kind & 1) or "nothing"
