"""HPACK: any sections to the decoder; what it reads, our encoder writes so that a decoder reads the same.

In: sections, each after a byte of its length. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_hpack")
    raise SystemExit

from dataplane.protocol.hpack.decoder import Decoder
from dataplane.protocol.hpack.encoder import Encoder
from dataplane.protocol.hpack.tables import POLICIES
from dataplane.protocol.limits import Limits

LIMITS = Limits(header_count=30, header_bytes=2000)
HUGE = Limits(header_count=1000, header_bytes=1024 * 1024)
DROPPED = {name for name, policy in POLICIES.items() if policy == 3}


def one(data: bytes) -> None:
    """Check one input."""
    first, encoder, second = Decoder(LIMITS), Encoder(LIMITS), Decoder(HUGE)
    at = 0
    while at < len(data):
        end = min(len(data), at + 1 + data[at])
        if data[at] == 255:
            encoder.resize(data[at + 1] * 20 if at + 1 < len(data) else 0)
        fields = first.decode(data, at + 1, end)
        at = end
        if fields is None:
            return
        assert len(fields) <= 35
        assert sum(len(n) + len(v) + 4 for n, v, _ in fields) <= 2000  # as HTTP/1 would write them
        if first.malformed:
            continue
        encoder.begin(9)
        encoder.fields(fields)
        block = bytes(encoder.finish()[: encoder.written])
        again = second.decode(block, 9, len(block))
        kept = [(n, v) for n, v, _ in fields if n not in DROPPED]
        assert again is not None
        assert [(n, v) for n, v, _ in again] == kept
        assert not second.malformed
