"""The little of SPDY/3.1 that port-forward speaks: streams with headers and data, multiplexed over one connection.

Sans-io. In: bytes as they come. Out: typed events, and frames to send. Flow control is not spoken, as neither kubectl nor the real server do.
Refuses other versions and frames that are too large with SpdyError.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TAIL = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 "
    b"Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 "
    b"Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept "
    b"Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    b"application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    b"charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
LARGEST = 1 << 20
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING = 1, 2, 3, 6
_FIN = 1


class SpdyError(Exception):
    """The peer does not speak SPDY/3.1."""


def dictionary() -> bytes:
    """Give the dictionary header blocks are compressed with (SPDY/3 section 2.6.10.1)."""
    words = _WORDS.encode().split()
    return b"".join(len(word).to_bytes(4, "big") + word.replace(b"_", b" ") for word in words) + _TAIL


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes came on a stream; `last` when no more will."""

    stream: int
    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up."""

    stream: int


@dataclass(frozen=True, slots=True)
class Pinged:
    """The peer wants this frame back."""

    frame: bytes


Event = StreamOpened | DataReceived | StreamReset | Pinged


class Session:
    """One connection, seen from the server."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=dictionary())
        self._deflate = zlib.compressobj(zdict=dictionary())

    def receive(self, data: bytes) -> Iterator[Event]:
        """Take bytes; raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            size = int.from_bytes(self._buffer[5:8], "big")
            if size > LARGEST:
                raise SpdyError(f"a frame of {size} bytes is larger than {LARGEST}")
            if len(self._buffer) < 8 + size:
                return
            frame = bytes(self._buffer[: 8 + size])
            del self._buffer[: 8 + size]
            yield from self._frame(frame)

    def _frame(self, frame: bytes) -> Iterator[Event]:
        flags, body = frame[4], frame[8:]
        if not frame[0] & 0x80:
            yield DataReceived(int.from_bytes(frame[:4], "big"), body, bool(flags & _FIN))
            return
        version, kind = int.from_bytes(frame[:2], "big") & 0x7FFF, int.from_bytes(frame[2:4], "big")
        if version != 3:
            raise SpdyError(f"the peer speaks SPDY/{version}, not SPDY/3")
        stream = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
        if kind == _SYN_STREAM:
            yield StreamOpened(stream, self._headers(body[10:]))
            if flags & _FIN:
                yield DataReceived(stream, b"", last=True)
        elif kind == _RST_STREAM:
            yield StreamReset(stream)
        elif kind == _PING:
            yield Pinged(frame)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, LARGEST)
            count, at = int.from_bytes(plain[:4], "big"), 4
            found = {}
            for _ in range(count):
                parts = []
                for _ in range(2):
                    size = int.from_bytes(plain[at : at + 4], "big")
                    parts.append(plain[at + 4 : at + 4 + size].decode())
                    at += 4 + size
                found[parts[0].lower()] = parts[1].partition("\0")[0]
        except (zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a header block is malformed: {error}") from error
        return found

    def reply(self, stream: int) -> bytes:
        """Accept a stream."""
        block = self._deflate.compress((0).to_bytes(4, "big")) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        body = stream.to_bytes(4, "big") + block
        return b"\x80\x03" + _SYN_REPLY.to_bytes(2, "big") + b"\0" + len(body).to_bytes(3, "big") + body


def data_frame(stream: int, data: bytes, *, last: bool = False) -> bytes:
    """Send bytes on a stream."""
    return stream.to_bytes(4, "big") + bytes([_FIN if last else 0]) + len(data).to_bytes(3, "big") + data
