"""The frame around every gRPC message: one flag byte, four bytes of length, the message (gRPC over HTTP/2, PROTOCOL-HTTP2).

In: messages to `encode`; received bytes to `FrameDecoder.feed`, cut anywhere. Out: frames; whole messages.
Refuses, with FrameError, messages beyond the limit, unknown flags and compressed messages.
"""

DEFAULT_LIMIT = 4 * 1024 * 1024
"""gRPC's own default for a received message, in bytes."""


class FrameError(ValueError):
    """A frame the peer should not have sent; the call cannot go on."""


def encode(message: bytes) -> bytes:
    """Frame one uncompressed message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class FrameDecoder:
    """Messages out of a body's pieces; holds at most one message and its frame."""

    __slots__ = ("_buffer", "_limit", "_want")

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """Take messages of up to `limit` bytes."""
        self._limit = limit
        self._buffer = bytearray()
        self._want = -1

    @property
    def empty(self) -> bool:
        """Whether no message is half received."""
        return not self._buffer and self._want < 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the messages they complete.

        Raises:
            FrameError: naming the size and the limit, or the flag.

        """
        self._buffer += data
        messages: list[bytes] = []
        while True:
            if self._want < 0:
                if len(self._buffer) < 5:
                    return messages
                self._want = self._header()
            if len(self._buffer) < self._want:
                return messages
            messages.append(bytes(self._buffer[: self._want]))
            del self._buffer[: self._want]
            self._want = -1

    def _header(self) -> int:
        flag = self._buffer[0]
        size = int.from_bytes(self._buffer[1:5], "big")
        if flag == 1:
            raise FrameError("a gRPC message is compressed, though no compression was offered")
        if flag:
            raise FrameError(f"a gRPC frame has flag {flag}; allowed are 0 and 1")
        if size > self._limit:
            raise FrameError(f"a gRPC message has {size} bytes; allowed are {self._limit}")
        del self._buffer[:5]
        return size
