"""gzip of an answer that is written slice by slice (RFC 1952), by zlib-ng: of a scrape it is as small as zlib's sixth level makes it, in less than half of the time.

In: slices. Out: their gzip; whoever reads has each slice whole once it has its bytes. Refuses nothing.
"""

from __future__ import annotations

from zlib_ng import zlib_ng

LEVEL = 6
_GZIP = 31
"""The largest window (15), and a gzip member around it (16)."""


class Gzip:
    """One gzip member."""

    def __init__(self) -> None:
        self._packer = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, _GZIP)

    def add(self, data: bytes) -> bytes:
        """Pack a slice."""
        packed: bytes = self._packer.compress(data) + self._packer.flush(zlib_ng.Z_SYNC_FLUSH)
        return packed

    def end(self) -> bytes:
        """Return what ends the member: the checksum and the length of all."""
        packed: bytes = self._packer.flush()
        return packed
