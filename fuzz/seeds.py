"""Write the inputs the kept corpora begin with: what the tests know to be right, refused, and nearly right.

In: the tables of tests/dataplane/protocol. Out: files in `corpora/`, named by their content; run again, the same files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import hpack

from dataplane.protocol.grpcframe import encode
from tests.dataplane.protocol import wire
from tests.dataplane.protocol.test_protocol_client_hello import hello, in_records
from tests.dataplane.protocol.test_protocol_detect import KNOWN
from tests.dataplane.protocol.test_protocol_hpack import BROKEN, MALFORMED
from tests.dataplane.protocol.test_protocol_http1_client import BROKEN as RESPONSES
from tests.dataplane.protocol.test_protocol_http1_smuggling import BODIES, CHUNKED, HEADS
from tests.dataplane.protocol.test_protocol_http2_rfc9113 import CLIENT, REQUESTS, SERVER

LONGEST = 600
"""Larger inputs make a fuzzer slow, and say nothing more."""

PLAIN = b"POST /a?b HTTP/1.1\r\nHost: a:80\r\nX-B: c\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = CHUNKED + b"3;x=y\r\nabc\r\n0\r\nt: u\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw"
ANSWERS = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nt: u\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
)


def http1() -> Iterable[bytes]:
    """A choice, then bytes."""
    yield from (b"\0" + raw for raw in (PLAIN, CHUNKS, UPGRADE))
    yield from (b"\0" + row[0] for row in HEADS.values())
    yield from (b"\2" + CHUNKED + row[0] for row in BODIES.values())
    yield from (b"\1" + row[0] for row in RESPONSES.values())
    yield from (bytes([1 | 32 * (b" 101 " in raw)]) + raw for raw in ANSWERS)


def http2() -> Iterable[bytes]:
    """A choice, then frames."""
    yield from (b"\0" + row[0] for row in SERVER.values())
    yield from (b"\x0e" + wire.headers(1, row[0]) for row in REQUESTS.values())
    yield from (b"\1" + row[0] for row in CLIENT.values())
    yield b"\x0f" + wire.headers(1, wire.OK, 4) + wire.data(1, b"abc") + wire.headers(1, [(b"t", b"u")])


def sections() -> Iterable[bytes]:
    """Sections behind a byte of their length."""
    yield from (bytes([len(block)]) + block for block in [*BROKEN.values(), *MALFORMED.values()])
    encoder, out = hpack.Encoder(), b""
    for fields in (wire.GET, wire.GET, [(b"x-a", b"value"), (b"authorization", b"secret")]):
        block = encoder.encode(fields)
        out += bytes([len(block)]) + block
    yield out


def hellos() -> Iterable[bytes]:
    """With and without names, whole, cut and in records."""
    whole = hello("shop.example", ["h2", "http/1.1"])
    yield from (whole, hello(None, []), whole[:100], in_records(hello("a.b", ["h2"]), 40), b"\x16\x03\x01\0\4\1\0\0\0")


def grpc() -> Iterable[bytes]:
    """A way to cut, then a body."""
    yield b"\0" + encode(b"") + encode(b"hello")
    yield from (b"\2" + raw for raw in (encode(b"x" * 40)[:20], b"\1\0\0\0\1x", b"\7\0\0\0\1x", b"\0\xff\xff\xff\xffx"))


def carriers() -> Iterable[bytes]:
    """A choice, then frames: of both sides, right and nearly right."""
    data, mark = b"\3\0\0\5hello", b"\0\0\0"
    for kinds in ((), (4,), (4, 1, 4), (4, 5), (4, 5, 2), (1,), (2,), (9,)):
        frames = data + b"".join(bytes([kind]) + mark for kind in kinds)
        yield from (bytes([choice]) + frames for choice in (0, 1, 3, 18))
    yield from (b"\1\3\0\0\0", b"\1\4\0\0\1x", b"\1\3\xff\xff\xffx")


def main() -> None:
    """Write them."""
    kept = Path(__file__).parent / "corpora"
    detect = (raw for raw, _ in KNOWN)
    made = {
        "http1": http1(),
        "http2": http2(),
        "hpack": sections(),
        "client_hello": hellos(),
        "detect": detect,
        "grpc": grpc(),
        "carrier": carriers(),
    }
    for target, inputs in made.items():
        folder = kept / target
        folder.mkdir(parents=True, exist_ok=True)
        for raw in inputs:
            if len(raw) <= LONGEST:
                (folder / hashlib.sha1(raw, usedforsecurity=False).hexdigest()[:12]).write_bytes(raw)


if __name__ == "__main__":
    main()
