"""ClientHello: any bytes; a verdict once given does not change with more bytes, and is given before the bound.

In: a connection's first bytes. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_client_hello")
    raise SystemExit

from dataplane.protocol import client_hello

TOO_MUCH = 2 * client_hello.LONGEST + 2048


def one(data: bytes) -> None:
    """Check one input."""
    whole = client_hello.parse(data)
    assert whole.state in {client_hello.NEED_MORE, client_hello.NOT_TLS, client_hello.COMPLETE}
    assert whole.state != client_hello.NEED_MORE or len(data) < TOO_MUCH
    for size in {0, 1, 5, 6, 43, len(data) // 2, len(data) - 1}:
        part = client_hello.parse(data[: max(size, 0)])
        if part.state != client_hello.NEED_MORE:
            assert part == whole, (part, whole)
    if whole.state == client_hello.COMPLETE:
        assert client_hello.parse(data + b"\x17\x03\x03") == whole
        assert whole.server_name == whole.server_name.lower()
        assert sum(map(len, whole.alpn)) < len(data)
