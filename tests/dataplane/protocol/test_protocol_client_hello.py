"""A ClientHello is read without answering it."""

import math
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.protocol import client_hello


def hello(name: str | None, alpn: list[str]) -> bytes:
    """A real ClientHello, made by OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(data: bytes, records: int) -> bytes:
    """The same handshake in so many records."""
    message = data[5:]
    size = math.ceil(len(message) / records)
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_client_hello_tells_name_and_alpn():
    """SNI comes in lower case, ALPN in the client's order."""
    found = client_hello.parse(hello("Shop.Example", ["tulle-h2", "h2"]))
    assert (found.state, found.server_name, found.alpn) == (
        client_hello.COMPLETE,
        b"shop.example",
        (b"tulle-h2", b"h2"),
    )


def test_client_hello_tells_nothing_when_nothing_is_offered():
    """A hello without SNI and ALPN is complete and empty."""
    found = client_hello.parse(hello(None, []))
    assert found == client_hello.ClientHello(client_hello.COMPLETE)


@pytest.mark.parametrize("records", [2, 5, 250])
def test_client_hello_is_read_over_many_records(records):
    """A hello cut into records reads as the whole one, also one with a post-quantum key share (OpenSSL 3.5: some 1,500 bytes)."""
    whole = hello("a.b", ["h2"])
    assert client_hello.parse(in_records(whole, records)) == client_hello.parse(whole)


def test_client_hello_asks_for_more_until_it_is_whole():
    """Every true beginning is NEED_MORE."""
    whole = hello("a.b", ["h2"])
    assert {client_hello.parse(whole[:n]).state for n in range(len(whole))} == {client_hello.NEED_MORE}


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x05\x02\0\0\0\0"]
)
def test_client_hello_is_not_seen_in_other_bytes(data):
    """Other protocols, empty records and other handshake types are NOT_TLS."""
    assert client_hello.parse(data).state == client_hello.NOT_TLS


@given(st.integers(5, 400), st.integers(0, 255))
def test_client_hello_reading_survives_any_broken_byte(at, value):
    """A hello with any byte changed is answered, never raised."""
    data = bytearray(hello("a.b", ["h2"]))
    data[min(at, len(data) - 1)] = value
    assert client_hello.parse(bytes(data)).state in (0, 1, 2)


def test_client_hello_cut_into_too_many_records_is_not_tls():
    """Records of one byte each would make every further byte cost a walk over all of them."""
    whole = hello("a" * 60 + ".b", ["h2"])
    assert client_hello.parse(in_records(whole, len(whole))).state == client_hello.NOT_TLS
