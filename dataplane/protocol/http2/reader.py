"""Frames out of bytes: the preface, the nine bytes, padding, and field sections put together (RFC 9113, sections 3.4, 4 and 6).

In: bytes as they come from the network. Out: one frame after the other, as attributes of the reader, since an object a frame
would cost more than reading it. A field section is one HEADERS here, in however many frames it came. Refuses what cannot
be read whatever the state of its stream: then `code` is set, and nothing more is read.
"""

from dataplane.protocol import codes
from dataplane.protocol.http2 import frames, settings
from dataplane.protocol.limits import Limits

# Copies, because C compares them without a look into another module.
_CONTINUATION = frames.CONTINUATION
_DATA = frames.DATA
_END_HEADERS = frames.END_HEADERS
_END_STREAM = frames.END_STREAM
_HEADERS = frames.HEADERS
_HEADER_BYTES = frames.HEADER_BYTES
_MAX_FRAME = frames.MAX_FRAME
_PADDED = frames.PADDED
_PRIORITIZED = frames.PRIORITIZED
_SETTINGS = frames.SETTINGS

_CONNECTION = 1
_STREAM = 2
_ANY = 255
_FORMS = {
    frames.DATA: (_STREAM, 0, _ANY, "http2_data"),
    frames.HEADERS: (_STREAM, 0, _ANY, "http2_headers"),
    frames.PRIORITY: (_STREAM, 0, _ANY, "http2_priority"),
    frames.RST_STREAM: (_STREAM, 4, 4, "http2_reset"),
    frames.SETTINGS: (_CONNECTION, 0, _ANY, "http2_settings"),
    frames.PUSH_PROMISE: (_STREAM, 0, _ANY, "http2_push"),
    frames.PING: (_CONNECTION, 8, 8, "http2_ping"),
    frames.GOAWAY: (_CONNECTION, 8, _ANY, "http2_goaway"),
    frames.WINDOW_UPDATE: (_CONNECTION | _STREAM, 4, 4, "http2_window"),
    frames.CONTINUATION: (_STREAM, 0, _ANY, "http2_continuation"),
}
"""By type: what it can be about, its least and most bytes, and the counter of what is not so (section 6)."""
_KINDS = len(_FORMS)

# The same for C.
_ABOUT = bytes([_FORMS[kind][0] for kind in range(_KINDS)])
_LEAST = bytes([_FORMS[kind][1] for kind in range(_KINDS)])
_MOST = bytes([_FORMS[kind][2] for kind in range(_KINDS)])


class FrameReader:
    """The receiving end of a connection's frame layer."""

    __slots__ = (
        "_at",
        "_fragments",
        "_gathered",
        "_gathering",
        "_gathering_flags",
        "_most_bytes",
        "_most_fragments",
        "_preface",
        "_settled",
        "_source",
        "code",
        "counter",
        "data",
        "end",
        "flags",
        "kind",
        "pos",
        "reason",
        "size",
        "stream",
    )

    def __init__(self, limits: Limits, preface: bool) -> None:
        self._source = b""
        self._at = 0
        self._preface = len(frames.PREFACE) if preface else 0
        """Bytes of it still to come."""
        self._settled = False
        self._most_bytes, self._most_fragments = limits.section_bytes, limits.continuation_frames + 1
        self._gathering = 0
        """The stream whose field section is not whole yet."""
        self._gathering_flags = 0
        self._gathered = 0
        self._fragments: list[bytes] = []
        self.kind = 0
        self.flags = 0
        self.stream = 0
        self.data = b""
        """Where the payload is, from `pos` up to `end`, padding and priority taken off."""
        self.pos = self.end = 0
        self.size = 0
        """The whole payload, as windows count it."""
        self.code = 0
        """The connection error the last frame was, with its `reason` and `counter`; 0 for none."""
        self.reason = ""
        self.counter = ""

    def feed(self, data: bytes) -> None:
        """Take bytes; then call `next` until it returns False."""
        self._source = self._source + data if self._source else data
        self._at = 0

    def midway(self) -> bool:
        """Whether the preface, a field section or a frame has begun and the rest of it is still to come."""
        return self._gathering != 0 or self._preface > 0 or len(self._source) > 0

    def gathering(self) -> bool:
        """Whether a field section has begun and the rest of it is still to come."""
        return self._gathering != 0

    def stop(self) -> None:
        """Forget what was not read."""
        self._source = b""
        self.data = b""
        self._fragments = []
        self._gathering = 0

    def next(self) -> bool:
        """Read one frame; False when no whole one is there, or it broke a rule (`code`)."""
        if self._preface and not self._read_preface():
            return False
        data = self._source
        p = data
        n = len(data)
        at = self._at
        while n - at >= _HEADER_BYTES:
            size = (p[at] << 16) | (p[at + 1] << 8) | p[at + 2]
            if size > _MAX_FRAME:
                return self._refuse(codes.FRAME_SIZE_ERROR, "a frame is longer than 16,384 bytes", "http2_frame_size")
            start = at + _HEADER_BYTES
            if n - start < size:
                break
            self.kind = p[at + 3]
            self.flags = p[at + 4]
            self.stream = ((p[at + 5] & 127) << 24) | (p[at + 6] << 16) | (p[at + 7] << 8) | p[at + 8]
            self.size = size
            self.data = data
            self.pos = start
            self._at = self.end = at = start + size
            if self._in_order():
                return True
            if self.code:
                return False
        self._source = p[at:n] if at else data
        self._at = 0
        self.data = b""
        return False

    def _read_preface(self) -> bool:
        """Read what is left of the client's preface."""
        want = frames.PREFACE[len(frames.PREFACE) - self._preface :]
        got = self._source[: len(want)]
        if not want.startswith(got):
            return self._refuse(codes.PROTOCOL_ERROR, "the HTTP/2 preface is wrong", "http2_preface")
        self._preface -= len(got)
        self._source = self._source[len(got) :]
        return self._preface == 0

    def _in_order(self) -> bool:
        """Take a frame's payload apart; False when it is not for the connection yet, or breaks a rule."""
        kind = self.kind
        if self._gathering:
            return self._continue()
        if not self._settled and not self._first():
            return False
        if kind < _KINDS and not self._in_form():
            return False
        if kind == _DATA:
            return not self.flags & _PADDED or self._unpad(0)
        if kind == _HEADERS:
            return self._section()
        if kind == _CONTINUATION:
            return self._refuse(codes.PROTOCOL_ERROR, "CONTINUATION came without HEADERS", "http2_continuation")
        return True

    def _in_form(self) -> bool:
        """Hold a frame to the streams it can be about, and to the size its type has."""
        kind = self.kind
        about, least, most = _ABOUT, _LEAST, _MOST
        p, q, r = about, least, most
        if not p[kind] & (_STREAM if self.stream else _CONNECTION):
            why = "a frame came on a stream where it has no meaning"
            return self._refuse(codes.PROTOCOL_ERROR, why, _FORMS[kind][3])
        if self.size < q[kind] or (self.size > r[kind] and r[kind] != _ANY):
            why = "a frame has another size than its type has"
            return self._refuse(codes.FRAME_SIZE_ERROR, why, _FORMS[kind][3])
        if kind == _SETTINGS and self.size and (self.flags & frames.ACK or self.size % settings.ENTRY_BYTES):
            why = "SETTINGS has another size than its entries"
            return self._refuse(codes.FRAME_SIZE_ERROR, why, _FORMS[kind][3])
        return True

    def _first(self) -> bool:
        """Hold the first frame to being the peer's SETTINGS (section 3.4)."""
        if self.kind != _SETTINGS:
            return self._refuse(codes.PROTOCOL_ERROR, "the first frame is not SETTINGS", "http2_preface")
        if self.flags & frames.ACK:
            return self._refuse(codes.PROTOCOL_ERROR, "the first SETTINGS is an acknowledgement", "http2_preface")
        self._settled = True
        return True

    def _unpad(self, need: int) -> bool:
        """Take off the padding; `need` bytes are the frame's own between its length and what it carries."""
        if self.size <= need:
            return self._refuse(codes.FRAME_SIZE_ERROR, "a frame is too short for its flags", "http2_padding")
        padding = self.data[self.pos]
        if padding > self.size - need - 1:
            return self._refuse(codes.PROTOCOL_ERROR, "padding is longer than its frame", "http2_padding")
        self.pos += 1
        self.end -= padding
        return True

    def _section(self) -> bool:
        """Read HEADERS; whether the whole field section is in it."""
        need = 5 if self.flags & _PRIORITIZED else 0
        if self.size < need:
            return self._refuse(codes.FRAME_SIZE_ERROR, "HEADERS is too short for its flags", "http2_headers")
        if self.flags & _PADDED and not self._unpad(need):
            return False
        self.pos += need
        if self.flags & _END_HEADERS:
            return True
        self._gathering = self.stream
        self._gathering_flags = self.flags
        self._gathered = self.end - self.pos
        self._fragments = [self.data[self.pos : self.end]]
        return False

    def _continue(self) -> bool:
        """Add a CONTINUATION to the section that waits for it, which nothing may interrupt (section 4.3)."""
        if self.kind != _CONTINUATION or self.stream != self._gathering:
            return self._refuse(codes.PROTOCOL_ERROR, "a field section was interrupted", "http2_continuation")
        self._fragments.append(self.data[self.pos : self.end])
        self._gathered += self.size
        if len(self._fragments) > self._most_fragments or self._gathered > self._most_bytes:
            return self._refuse(codes.ENHANCE_YOUR_CALM, "a field section goes on for too long", "http2_continuation")
        if not self.flags & _END_HEADERS:
            return False
        self.data = b"".join(self._fragments)
        self._fragments = []
        self._gathering = 0
        self.kind = _HEADERS
        self.flags = self._gathering_flags
        self.pos = 0
        self.end = len(self.data)
        return True

    def _refuse(self, code: int, reason: str, counter: str) -> bool:
        self.code = code
        self.reason = reason
        self.counter = counter
        return False
