"""An HTTP/1 message into bytes: field lines, and a body framed as its head said (RFC 9112, sections 6 and 7).

In: fields, then pieces. Out: bytes in `out`, in the order they were given; whether the message is complete. Refuses, with
MisuseError, a body longer than its Content-Length. Lines of a head other than fields are `server`'s and `client`'s, put in `out`.
"""

from dataplane.protocol.events import Headers
from dataplane.protocol.fields import content_length
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE
from dataplane.protocol.interface import MisuseError

_CHUNKED = CHUNKED
_LENGTH = LENGTH
_NONE = NONE
_OWNED = frozenset((b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


class MessageWriter:
    """What one side sends; reused from message to message."""

    __slots__ = ("left", "mode", "open", "out")

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.mode = NONE
        """How the body is framed, in `body`'s words."""
        self.left = 0
        """Bytes to come, by Content-Length."""
        self.open = False
        """A body may be sent."""

    def fields(self, headers: Headers, trailers: bool) -> int:
        """Write field lines; return the Content-Length among them, or -1."""
        out = self.out
        length = -1
        for field in headers:
            name = field[0]
            n = len(name)
            if n == 14:
                if name == b"content-length":
                    if length >= 0 or trailers:
                        continue
                    length = content_length(field[1])
                    if length < 0:
                        raise MisuseError("Content-Length to send is not a plain number")
            elif (n == 4 or n == 7 or n == 10 or n == 16 or n == 17) and name in _OWNED:  # noqa: PLR1714 - plain C compares
                continue
            out.append(field[2])
            out.append(b": ")
            out.append(field[1])
            out.append(b"\r\n")
        return length

    def start(self, mode: int, length: int) -> None:
        """Begin a body, after its head."""
        self.open = True
        self.mode = mode
        self.left = length

    def data(self, data: bytes, end: bool) -> None:
        """Write a piece of the body."""
        n = len(data)
        if n:
            mode = self.mode
            if mode == _CHUNKED:
                self.out.append(b"%x\r\n" % n)
                self.out.append(data)
                self.out.append(b"\r\n0\r\n\r\n" if end else b"\r\n")
            elif mode == _LENGTH:
                self.left -= n
                if self.left < 0:
                    raise MisuseError("more body bytes were sent than Content-Length said")
                self.out.append(data)
            elif mode != _NONE:
                self.out.append(data)
        elif end and self.mode == _CHUNKED:
            self.out.append(b"0\r\n\r\n")

    def trailers(self, headers: Headers) -> None:
        """Write the fields after the body, where its framing has a place for them."""
        if self.mode == _CHUNKED:
            self.out.append(b"0\r\n")
            self.fields(headers, True)
            self.out.append(b"\r\n")

    def end(self) -> bool:
        """The body is complete; False when it is shorter than its head said."""
        self.open = False
        return self.mode != _LENGTH or self.left <= 0
