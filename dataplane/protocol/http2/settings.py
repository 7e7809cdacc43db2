"""What either side tells of itself (RFC 9113, section 6.5, and RFC 8441).

In: what we tell; a SETTINGS payload. Out: a frame; numbers and values. `problem` says which error a value is that may not be.
"""

from collections.abc import Iterator
from typing import Final

from dataplane.protocol import codes
from dataplane.protocol.http2 import frames
from dataplane.protocol.limits import Limits

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8

ENTRY_BYTES: Final = 6

_ALLOWED: Final = {
    ENABLE_PUSH: (0, 1, codes.PROTOCOL_ERROR),
    INITIAL_WINDOW_SIZE: (0, frames.MAX_WINDOW, codes.FLOW_CONTROL_ERROR),
    MAX_FRAME_SIZE: (frames.MAX_FRAME, 2**24 - 1, codes.PROTOCOL_ERROR),
    ENABLE_CONNECT_PROTOCOL: (0, 1, codes.PROTOCOL_ERROR),
}
"""The least and the most a value may be, and the connection error another one is (section 6.5.2)."""
_DEFAULT_TABLE = 4096


def problem(key: int, value: int) -> int:
    """Return the error code of a value a setting may not have, 0 for a good one."""
    least, most, code = _ALLOWED.get(key, (0, value, 0))
    return 0 if least <= value <= most else code


def read(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield numbers and values in the order they count."""
    for at in range(0, len(payload), ENTRY_BYTES):
        yield int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + ENTRY_BYTES], "big")


def frame(values: list[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values)
    return frames.header(len(payload), frames.SETTINGS, 0, 0) + payload


def ours(limits: Limits, server: bool) -> bytes:
    """Return the frame with what a side of ours tells."""
    told = [(INITIAL_WINDOW_SIZE, limits.window), (MAX_HEADER_LIST_SIZE, limits.section_bytes)]
    if server:
        told += [(MAX_CONCURRENT_STREAMS, limits.concurrent_streams), (ENABLE_CONNECT_PROTOCOL, 1)]
    else:
        told += [(ENABLE_PUSH, 0)]
    if limits.hpack_table_bytes != _DEFAULT_TABLE:
        told.append((HEADER_TABLE_SIZE, limits.hpack_table_bytes))
    return frame(told)
