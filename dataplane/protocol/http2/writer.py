"""Frames into bytes, and how many of them the peer leaves to us (RFC 9113, sections 4 and 6).

In: what the other parts have to say, within what they were allowed. Out: bytes by `output`, and `unread`. Refuses nothing.
"""

from dataplane.protocol.hpack.encoder import Encoder
from dataplane.protocol.http2 import frames
from dataplane.protocol.limits import Limits

# Copies, because C uses them without a look into another module.
_CONTINUATION = frames.CONTINUATION
_DATA = frames.DATA
_END_HEADERS = frames.END_HEADERS
_END_STREAM = frames.END_STREAM
_HEADERS = frames.HEADERS
_HEADER_BYTES = frames.HEADER_BYTES
_MAX_FRAME = frames.MAX_FRAME
"""The longest frame sent: what every peer takes."""


class FrameWriter:
    """The sending end of a connection's frame layer."""

    __slots__ = ("_mark", "_older", "_out", "_passed", "_unread_frames", "_written", "encoder")

    def __init__(self, limits: Limits) -> None:
        self.encoder = Encoder(limits)
        """Of the field section to write next: `begin(HEADER_BYTES)`, fields, then `section`."""
        self._out: list[bytes] = []
        self._unread_frames = limits.unread_frames
        self._written = 0
        """Frames without a window since the mark; `_older` are those before it that the peer has not taken."""
        self._older = 0
        self._passed = self._mark = 0
        """Bytes that left us; of them those up to the mark."""

    def write(self, frame: bytes) -> None:
        """Write a frame made elsewhere that we would send by ourselves."""
        self._out.append(frame)

    def answer(self, frame: bytes) -> None:
        """Write a frame made elsewhere that the peer can have us write again and again."""
        self._written += 1
        self._out.append(frame)

    def data(self, stream: int, data: bytes, size: int, end: bool) -> None:
        """Write DATA, no longer than a frame may be."""
        self._out.append(frames.header(size, _DATA, _END_STREAM if end else 0, stream))
        if size:
            self._out.append(data)

    def section(self, stream: int, end: bool) -> None:
        """Frame what the encoder holds: HEADERS, and CONTINUATION where it is longer than a frame may be."""
        buffer = self.encoder.finish()
        size = self.encoder.written - _HEADER_BYTES
        self._written += 1 + (size >> 10)
        flags = _END_STREAM if end else 0
        if size <= _MAX_FRAME:
            frames.put_header(buffer, size, _HEADERS, flags | _END_HEADERS, stream)
            p = buffer
            self._out.append(p[: size + _HEADER_BYTES])  # type: ignore[arg-type] # `bytes` when compiled
            return
        whole = bytes(buffer[_HEADER_BYTES : size + _HEADER_BYTES])
        for start in range(0, size, _MAX_FRAME):
            piece = whole[start : start + _MAX_FRAME]
            kind = _CONTINUATION if start else _HEADERS
            last = _END_HEADERS if start + _MAX_FRAME >= size else 0
            self._out.append(frames.header(len(piece), kind, last | (0 if start else flags), stream))
            self._out.append(piece)

    def output(self) -> bytes:
        """Return everything to write since the last call."""
        out = self._out
        if not out:
            return b""
        joined = b"".join(out)
        out.clear()
        self._passed += len(joined)
        return joined

    def unread(self, waiting: int) -> bool:
        """Tell, before writing more, how many bytes the peer has not taken; True when it leaves too many frames to us.

        Windows bound DATA. Answers to PING and SETTINGS, resets, and heads have no window, so a peer that asks and
        never reads would have us keep them all (CVE-2019-9512, 9514, 9515, 9517): close such a connection at once.
        A peer that is always behind and always reading is none: once it has taken all up to the mark, the mark moves to
        the end. So what is counted is never more than twice what waits.
        """
        if waiting == 0:
            self._older = self._written = 0
            self._mark = self._passed
        elif self._passed - waiting >= self._mark:
            self._older = self._written
            self._written = 0
            self._mark = self._passed
        return self._older + self._written > self._unread_frames
