"""The frame layer of HTTP/2 (RFC 9113, sections 4 and 6): types, flags, and the nine bytes before a payload.

In: numbers. Out: bytes. Refuses nothing: what is written here was decided by the codec.
"""

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame (section 3.4)."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

HEADER_BYTES: Final = 9
MAX_FRAME: Final = 16384
"""The largest payload we take; what a peer may send before it knows any SETTINGS."""
DEFAULT_WINDOW: Final = 65535
MAX_WINDOW: Final = 2**31 - 1

SETTINGS_ACK: Final = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"

_SCRATCH = bytearray(13)


def put_header(target: bytearray, length: int, kind: int, flags: int, stream: int) -> None:
    """Write a frame header into the first nine bytes of `target`."""
    p = target
    p[0] = (length >> 16) & 255
    p[1] = (length >> 8) & 255
    p[2] = length & 255
    p[3] = kind
    p[4] = flags
    p[5] = (stream >> 24) & 127
    p[6] = (stream >> 16) & 255
    p[7] = (stream >> 8) & 255
    p[8] = stream & 255


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Return a frame header."""
    target = _SCRATCH
    put_header(target, length, kind, flags, stream)
    p = target
    return b"" + p[:9]  # `bytes` uncompiled too; of what is bytes already this makes no copy


def _of_four(kind: int, stream: int, number: int) -> bytes:
    """Return a frame whose payload is one number."""
    target = _SCRATCH
    put_header(target, 4, kind, 0, stream)
    p = target
    p[9] = (number >> 24) & 255
    p[10] = (number >> 16) & 255
    p[11] = (number >> 8) & 255
    p[12] = number & 255
    return b"" + p[:13]


def number(data: bytes, pos: int) -> int:
    """Read a number of 32 bits that stands at `pos`."""
    p = data
    top = p[pos]
    return (top << 24) | (p[pos + 1] << 16) | (p[pos + 2] << 8) | p[pos + 3]


def window_update(stream: int, size: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return _of_four(WINDOW_UPDATE, stream, size)


def rst_stream(stream: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return _of_four(RST_STREAM, stream, code)


def goaway(last_stream: int, code: int, why: bytes) -> bytes:
    """Return a GOAWAY frame."""
    payload = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + why
    return header(len(payload), GOAWAY, 0, 0) + payload


def ping(data: bytes, flags: int) -> bytes:
    """Return a PING frame."""
    return header(8, PING, flags, 0) + data
