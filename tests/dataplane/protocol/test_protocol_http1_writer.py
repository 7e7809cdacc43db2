"""An HTTP/1 message into bytes, by each framing."""

from __future__ import annotations

import pytest

from dataplane.protocol.events import Headers
from dataplane.protocol.http1.body import CHUNKED, LENGTH, NONE, TO_EOF, TUNNEL
from dataplane.protocol.http1.writer import MessageWriter
from dataplane.protocol.interface import MisuseError

FIELDS: Headers = [(b"x-a", b"1", b"X-A"), (b"content-length", b"3", b"Content-Length")]


@pytest.mark.parametrize(
    ("mode", "written"),
    [
        (NONE, b""),
        (LENGTH, b"abc"),
        (CHUNKED, b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (TO_EOF, b"abc"),
        (TUNNEL, b"abc"),
    ],
)
def test_a_body_is_framed_as_its_head_said(mode: int, written: bytes) -> None:
    """An empty piece that ends nothing leaves no trace, least of all a last chunk."""
    writer = MessageWriter()
    writer.start(mode, 3)
    for piece, end in ((b"ab", False), (b"", False), (b"c", True)):
        writer.data(piece, end)
    assert writer.end()
    assert b"".join(writer.out) == written
    assert not writer.open


def test_an_end_without_bytes_writes_the_last_chunk() -> None:
    """And nothing in a body of known length."""
    for mode, written in ((CHUNKED, b"0\r\n\r\n"), (LENGTH, b"")):
        writer = MessageWriter()
        writer.start(mode, 0)
        writer.data(b"", True)
        assert b"".join(writer.out) == written


def test_a_body_is_neither_longer_nor_shorter_than_its_length() -> None:
    """Longer is the driver's mistake; shorter ends the connection, which is all that can be done."""
    writer = MessageWriter()
    writer.start(LENGTH, 3)
    with pytest.raises(MisuseError, match="Content-Length"):
        writer.data(b"abcd", False)
    writer.start(LENGTH, 3)
    writer.data(b"ab", True)
    assert not writer.end()


def test_fields_of_the_connection_are_the_codecs_and_a_length_stands_once() -> None:
    """In the case they came in."""
    writer = MessageWriter()
    extra = [(name, b"x", name) for name in (b"connection", b"host", b"keep-alive", b"transfer-encoding", b"upgrade")]
    assert writer.fields([*FIELDS, *extra, (b"content-length", b"4", b"content-length")], False) == 3
    assert b"".join(writer.out) == b"X-A: 1\r\nContent-Length: 3\r\n"
    with pytest.raises(MisuseError):
        writer.fields([(b"content-length", b"+3", b"content-length")], False)


def test_trailers_need_chunks_and_frame_nothing() -> None:
    """A length among them would be read as one."""
    for mode, written in ((CHUNKED, b"0\r\nX-A: 1\r\n\r\n"), (LENGTH, b""), (TO_EOF, b"")):
        writer = MessageWriter()
        writer.start(mode, 0)
        writer.trailers(FIELDS)
        assert b"".join(writer.out) == written
