"""Read an HTTP/1 body: by length, chunked, to the end of the connection, or as a tunnel (RFC 9112, sections 6 and 7).

In: received bytes and a position. Out: Data and Trailers events appended to the caller's list, and the new position.
Refuses chunk sizes that are not plain hex, missing line ends, and extensions beyond the limit; `reason` and `counter`
then say what was wrong.
"""

from dataplane.protocol.chars import HEX, VALUE
from dataplane.protocol.events import Data, Event, Trailers
from dataplane.protocol.http1.scan import HeadScanner
from dataplane.protocol.limits import Limits

NONE = 0
LENGTH = 1
CHUNKED = 2
TO_EOF = 3
TUNNEL = 4

# Copies, because C compares them without a look into another module.
_NONE = NONE
_LENGTH = LENGTH
_CHUNKED = CHUNKED
_TO_EOF = TO_EOF
_TUNNEL = TUNNEL

_SIZE = 0
_BYTES = 1
_LINE_END = 2
_TRAILERS = 3


class BodyReader:
    """The body being read. `done` when the message is over, `failed` when it broke the rules."""

    __slots__ = (
        "_extensions",
        "_limit",
        "_scanner",
        "_searched",
        "_state",
        "counter",
        "done",
        "failed",
        "left",
        "mode",
        "reason",
        "status",
        "stream",
    )

    def __init__(self, limits: Limits, scanner: HeadScanner) -> None:
        self._limit = limits.chunk_extension_bytes
        self._scanner = scanner
        self.reason = ""
        self.counter = ""
        self.start(0, _NONE)

    def begin(self, stream: int, missing: int) -> None:
        """Begin the body of the head that was scanned last; `missing` is how it is framed where its head does not say."""
        scanner = self._scanner
        if scanner.chunked:
            self.start(stream, _CHUNKED)
        elif scanner.length >= 0:
            self.start(stream, _LENGTH, scanner.length)
        else:
            self.start(stream, missing)

    def start(self, stream: int, mode: int, length: int = 0) -> None:
        """Begin a body of `stream`; `length` counts for LENGTH only."""
        self.stream = stream
        self.mode = mode
        self.left = length
        self.done = mode == _NONE or (mode == _LENGTH and length == 0)
        self.failed = False
        self.status = 0
        self._state = _SIZE
        self._extensions = 0
        self._searched = 0

    def read(self, data: bytes, pos: int, events: list[Event]) -> int:
        """Read what is there from `pos` on; return where reading stopped, for want of bytes or because it is over."""
        n = len(data)
        if self.mode == _LENGTH:
            return self._take(data, pos, n, events, True)
        if self.mode != _CHUNKED:
            if pos < n:
                events.append(Data(self.stream, data if pos == 0 else data[pos:], False))
            return n
        while pos < n and not self.done and not self.failed:
            state = self._state
            if state == _BYTES:
                pos = self._take(data, pos, n, events, False)
                if self.left == 0:
                    self._state = _LINE_END
                continue
            if state == _SIZE:
                moved = self._size_line(data, pos, n)
            elif state == _LINE_END:
                moved = self._line_end(data, pos, n)
            else:
                moved = self._trailer_part(data, pos, n, events)
            if moved <= pos:
                break
            pos = moved
        return pos

    def end_of_input(self, events: list[Event]) -> bool:
        """Take the end of the connection: True if it ends the body properly."""
        if self.mode in (_TO_EOF, _TUNNEL):
            if not self.done:
                self.done = True
                self._finish(events)
            return True
        return self.done

    def least(self) -> int:
        """Return how many bytes more the message has at least; 0 where only the end of the connection tells.

        A chunk has its line end behind it, and `0`, two line ends, is the shortest end of all (RFC 9112, section 7.1).
        """
        if self.mode == _LENGTH:
            return self.left
        if self.mode != _CHUNKED:
            return 0
        state = self._state
        return self.left + 7 if state == _BYTES else 7 if state == _LINE_END else 5 if state == _SIZE else 2

    def _fail(self, status: int, reason: str, counter: str) -> int:
        self.failed = True
        self.status = status
        self.reason = reason
        self.counter = counter
        return -1

    def _take(self, data: bytes, pos: int, n: int, events: list[Event], last: bool) -> int:
        """Pass on what of the expected bytes is there."""
        p = data
        there = n - pos
        there = min(there, self.left)
        if there == 0:
            return pos
        self.left -= there
        ended = last and self.left == 0
        self.done = ended
        events.append(Data(self.stream, data if there == len(data) else p[pos : pos + there], ended))
        return pos + there

    def _finish(self, events: list[Event]) -> None:
        """End the body: on the last Data if that is of this batch, so small bodies are one event."""
        if events:
            event = events[len(events) - 1]
            if isinstance(event, Data) and event.stream == self.stream:
                last = event
                last.end = True
                return
        events.append(Data(self.stream, b"", True))

    def _size_line(self, data: bytes, pos: int, n: int) -> int:
        """Read `size[;extensions]CRLF`."""
        p = data
        digits, values = HEX, VALUE
        hexes = digits
        text = values
        i = pos
        size = 0
        extension = 0
        while i < n and hexes[p[i]] != 255:
            size = size * 16 + hexes[p[i]]
            i += 1
            if i - pos > 15:
                return self._fail(400, "a chunk size has more than 15 digits", "http1_chunk_size")
        if i == n:
            return pos
        if i == pos:
            return self._fail(400, "a chunk size is not a plain hex number", "http1_chunk_size")
        if p[i] == 59:
            start = i
            while i < n and text[p[i]]:
                i += 1
            extension = i - start
            if self._extensions + extension > self._limit:
                return self._fail(400, f"more than {self._limit} bytes of chunk extensions", "http1_chunk_extensions")
            if i == n:
                return pos
        if p[i] != 13:
            return self._fail(400, "a chunk size is not followed by CRLF", "http1_chunk_size")
        if i + 1 == n:
            return pos
        if p[i + 1] != 10:
            return self._fail(400, "a chunk size is not followed by CRLF", "http1_chunk_size")
        self._extensions += extension  # only now: a line cut before its LF is read again
        self.left = size
        self._state = _BYTES if size else _TRAILERS
        return i + 2

    def _line_end(self, data: bytes, pos: int, n: int) -> int:
        """Read the CRLF after a chunk."""
        p = data
        if p[pos] != 13 or (pos + 1 < n and p[pos + 1] != 10):
            return self._fail(400, "a chunk is longer than its size said", "http1_chunk_size")
        if pos + 1 == n:
            return pos
        self._state = _SIZE
        return pos + 2

    def _trailer_part(self, data: bytes, pos: int, n: int, events: list[Event]) -> int:
        """Read the trailer fields, or the empty line alone."""
        p = data
        if p[pos] == 13:
            if pos + 1 == n:
                return pos
            if p[pos + 1] == 10:
                self.done = True
                self._finish(events)
                return pos + 2
        scanner = self._scanner
        end = scanner.trailers(data, pos, pos + self._searched)
        if end == 0:
            self._searched = n - pos
            return pos
        if end < 0:
            return self._fail(scanner.status, scanner.reason, scanner.counter)
        self.done = True
        if scanner.headers:
            events.append(Trailers(self.stream, scanner.headers))
        else:
            self._finish(events)
        return end
