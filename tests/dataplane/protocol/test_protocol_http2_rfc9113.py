"""RFC 9113, requirement by requirement, as a strict peer would check it (the list h2spec goes through).

A row is what the peer sends after the prefaces, and what must come of it: `C` a connection error, `S` a stream error on
stream 1, `N` nothing. Each row holds for whatever way its bytes are cut.
"""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.protocol import codes
from dataplane.protocol.events import Data, Failure, Goaway, Pong, RequestHead, Reset, ResponseHead, Trailers
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.wire import (
    ACK,
    END_HEADERS,
    END_STREAM,
    GET,
    OK,
    PADDED,
    POST,
    PREFACE,
    PRIORITIZED,
    asked,
    data,
    frame,
    frames,
    goaway,
    greeted,
    headers,
    literals,
    ping,
    request,
    rst,
    settings,
    window,
    word,
)

PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION = (
    codes.PROTOCOL_ERROR,
    codes.FLOW_CONTROL_ERROR,
    codes.STREAM_CLOSED,
    codes.FRAME_SIZE_ERROR,
    codes.COMPRESSION_ERROR,
)
OPEN = headers(1, POST, END_HEADERS)
HALF = headers(1, GET)
BLOCK = literals(GET)
NEVER = frame(200, 255, 77, b"anything")

SERVER: dict[str, tuple[bytes, str, int]] = {
    "4.1 unknown type is ignored": (NEVER, "N", 0),
    "4.1 unknown flags are ignored": (ping(0x16), "N", 0),
    "4.1 reserved bit is ignored": (frame(6, 0, 0x80000000, b"12345678"), "N", 0),
    "4.2 DATA of 16,384 is taken": (OPEN + data(1, b"x" * 16384), "N", 0),
    "4.2 DATA too large": (OPEN + data(1, b"x" * 16385), "C", SIZE),
    "4.2 HEADERS too large": (frame(1, 5, 1, b"x" * 16385), "C", SIZE),
    "4.2 unknown frame too large": (frame(200, 0, 0, b"x" * 16385), "C", SIZE),
    "4.3 section that cannot be read": (frame(1, 5, 1, b"\x40"), "C", COMPRESSION),
    "4.3 section of index 0": (frame(1, 5, 1, b"\x80"), "C", COMPRESSION),
    "4.3 section beyond the tables": (frame(1, 5, 1, b"\xfe"), "C", COMPRESSION),
    "4.3 unreadable trailers": (OPEN + frame(1, 5, 1, b"\xff"), "C", COMPRESSION),
    "5.1 idle: DATA": (data(1, b"x"), "C", PROTOCOL),
    "5.1 idle: RST_STREAM": (rst(1), "C", PROTOCOL),
    "5.1 idle: WINDOW_UPDATE": (window(1, 1), "C", PROTOCOL),
    "5.1 idle: CONTINUATION": (frame(9, 4, 1, BLOCK), "C", PROTOCOL),
    "5.1 idle: PRIORITY is taken": (frame(2, 0, 1, word(3) + b"\x10"), "N", 0),
    "5.1 half closed: DATA": (HALF + data(1, b"x"), "S", CLOSED),
    "5.1 half closed: empty DATA": (HALF + data(1, b"", END_STREAM), "S", CLOSED),
    "5.1 half closed: HEADERS": (HALF + headers(1, GET), "S", CLOSED),
    "5.1 half closed: CONTINUATION": (HALF + frame(9, 4, 1, BLOCK), "C", PROTOCOL),
    "5.1 half closed: WINDOW_UPDATE is taken": (HALF + window(1, 1), "N", 0),
    "5.1 half closed: PRIORITY is taken": (HALF + frame(2, 0, 1, word(3) + b"\x10"), "N", 0),
    "5.1 half closed: RST_STREAM ends it": (HALF + rst(1), "R", codes.CANCEL),
    "5.1 reset by peer: WINDOW_UPDATE is ignored": (HALF + rst(1) + window(1, 1), "R", codes.CANCEL),
    "5.1 reset by peer: RST_STREAM is ignored": (HALF + rst(1) + rst(1), "R", codes.CANCEL),
    "5.1 reset by peer: HEADERS": (OPEN + rst(1) + headers(1, GET), "C", CLOSED),
    "5.1 reset by peer: CONTINUATION": (OPEN + rst(1) + frame(9, 4, 1, BLOCK), "C", PROTOCOL),
    "5.1.1 even stream": (headers(2, GET), "C", PROTOCOL),
    "5.1.1 smaller than before": (headers(5, GET) + headers(3, GET), "C", PROTOCOL),
    "5.3 depends on itself, PRIORITY": (HALF + frame(2, 0, 1, word(1) + b"\x10"), "N", 0),
    "5.3 depends on itself, HEADERS": (frame(1, 37, 1, word(1) + b"\x10" + BLOCK), "N", 0),
    "5.4.1 nothing after an error": (ping()[:-1] + b"8" + data(0, b"x") + headers(1, GET), "C", PROTOCOL),
    "6.1 DATA on stream 0": (data(0, b"x"), "C", PROTOCOL),
    "6.1 padding as long as its frame": (OPEN + data(1, b"\x05abcd", PADDED), "C", PROTOCOL),
    "6.1 padding up to the end is taken": (OPEN + data(1, b"\x04abcd", PADDED), "N", 0),
    "6.1 padding without its length": (OPEN + data(1, b"", PADDED), "C", SIZE),
    "6.2 HEADERS on stream 0": (headers(0, GET), "C", PROTOCOL),
    "6.2 interrupted by PRIORITY": (headers(1, GET, 0) + frame(2, 0, 1, word(3) + b"\x10"), "C", PROTOCOL),
    "6.2 interrupted by another stream": (headers(1, GET, 0) + headers(3, GET), "C", PROTOCOL),
    "6.2 interrupted by an unknown frame": (headers(1, GET, 0) + NEVER, "C", PROTOCOL),
    "6.2 padding longer than its frame": (frame(1, 13, 1, bytes([len(BLOCK) + 1]) + BLOCK), "C", PROTOCOL),
    "6.2 padding without its length": (frame(1, 13, 1), "C", SIZE),
    "6.2 priority cut": (frame(1, 37, 1, b"1234"), "C", SIZE),
    "6.2 padding and priority are taken": (frame(1, 45, 1, b"\x02" + word(0) + b"\x10" + BLOCK + b"\0\0"), "N", 0),
    "6.3 PRIORITY on stream 0": (frame(2, 0, 0, word(3) + b"\x10"), "C", PROTOCOL),
    "6.3 PRIORITY of four bytes": (HALF + frame(2, 0, 1, word(3)), "S", SIZE),
    "6.3 PRIORITY of four bytes, idle": (frame(2, 0, 1, word(3)), "C", SIZE),
    "6.4 RST_STREAM on stream 0": (rst(0), "C", PROTOCOL),
    "6.4 RST_STREAM of three bytes": (HALF + frame(3, 0, 1, b"\0\0\0"), "C", SIZE),
    "6.5 SETTINGS on a stream": (settings(stream=1), "C", PROTOCOL),
    "6.5 SETTINGS of three bytes": (frame(4, 0, 0, b"\0\3\0"), "C", SIZE),
    "6.5 ACK with a payload": (frame(4, ACK, 0, b"\0\3\0\0\0\1"), "C", SIZE),
    "6.5 ACK nobody asked for is ignored": (frame(4, ACK, 0), "N", 0),
    "6.5.2 ENABLE_PUSH 2": (settings((2, 2)), "C", PROTOCOL),
    "6.5.2 window of 2^31": (settings((4, 2**31)), "C", FLOW),
    "6.5.2 frame size of 16,383": (settings((5, 16383)), "C", PROTOCOL),
    "6.5.2 frame size of 2^24": (settings((5, 2**24)), "C", PROTOCOL),
    "6.5.2 frame size of 2^24-1 may be left unused": (settings((5, 2**24 - 1)), "N", 0),
    "6.5.2 unknown setting is ignored": (settings((0xFFFF, 7)), "N", 0),
    "6.5.2 header table of 2^32-1": (settings((1, 2**32 - 1)), "N", 0),
    "8441 ENABLE_CONNECT_PROTOCOL 2": (settings((8, 2)), "C", PROTOCOL),
    "6.6 PUSH_PROMISE from a client": (HALF + frame(5, 4, 1, word(2) + BLOCK), "C", PROTOCOL),
    "6.7 PING on a stream": (frame(6, 0, 1, b"12345678"), "C", PROTOCOL),
    "6.7 PING of six bytes": (frame(6, 0, 0, b"123456"), "C", SIZE),
    "6.7 ACK of six bytes": (frame(6, ACK, 0, b"123456"), "C", SIZE),
    "6.8 GOAWAY on a stream": (frame(7, 0, 1, word(0) * 2), "C", PROTOCOL),
    "6.8 GOAWAY of four bytes": (frame(7, 0, 0, word(0)), "C", SIZE),
    "6.9 window of 0, connection": (window(0, 0), "C", PROTOCOL),
    "6.9 window of 0, stream": (HALF + window(1, 0), "S", PROTOCOL),
    "6.9 reserved bit of the step is ignored": (HALF + frame(8, 0, 1, word(0x80000001)), "N", 0),
    "6.9 WINDOW_UPDATE of three bytes": (frame(8, 0, 0, b"\0\0\1"), "C", SIZE),
    "6.9 WINDOW_UPDATE of three bytes, stream": (HALF + frame(8, 0, 1, b"\0\0\1"), "C", SIZE),
    "6.9.1 connection's window beyond 2^31-1": (window(0, 2**31 - 1), "C", FLOW),
    "6.9.1 stream's window beyond 2^31-1": (HALF + window(1, 2**31 - 1), "S", FLOW),
    "6.9.2 initial window opens a stream too far": (HALF + window(1, 1) + settings((4, 2**31 - 1)), "C", FLOW),
    "6.10 CONTINUATION after END_HEADERS": (OPEN + frame(9, 4, 1, BLOCK), "C", PROTOCOL),
    "6.10 CONTINUATION after DATA": (OPEN + data(1, b"x") + frame(9, 4, 1, BLOCK), "C", PROTOCOL),
    "6.10 CONTINUATION on stream 0": (headers(1, GET, 0) + frame(9, 4, 0, BLOCK), "C", PROTOCOL),
    "6.10 several CONTINUATIONs are one section": (
        frame(1, END_STREAM, 1, BLOCK[:5]) + frame(9, 0, 1, BLOCK[5:9]) + frame(9, 0, 1) + frame(9, 4, 1, BLOCK[9:]),
        "N",
        0,
    ),
    "8.1 trailers that do not end the stream": (OPEN + headers(1, [(b"x", b"y")], END_HEADERS), "S", PROTOCOL),
    "8.1 trailers end the stream": (OPEN + headers(1, [(b"x", b"y")]), "N", 0),
    "8.1 trailers of :path": (OPEN + headers(1, [(b":path", b"/x")]), "S", PROTOCOL),
    "8.1 trailers of :status": (OPEN + headers(1, [(b":status", b"200")]), "S", PROTOCOL),
    "8.1 trailers with an empty name": (OPEN + headers(1, [(b"", b"x")]), "S", PROTOCOL),
    "8.1 trailers with connection": (OPEN + headers(1, [(b"connection", b"x")]), "S", PROTOCOL),
    "8.1 trailers with capitals": (OPEN + headers(1, [(b"Grpc-Status", b"0")]), "S", PROTOCOL),
    "8.1 trailers with CR LF": (OPEN + headers(1, [(b"x", b"a\r\nb: c")]), "S", PROTOCOL),
    "8.1.1 body shorter than told": (
        headers(1, [*POST, (b"content-length", b"2")], 4) + data(1, b"x", END_STREAM),
        "S",
        PROTOCOL,
    ),
    "8.1.1 body longer than told": (headers(1, [*POST, (b"content-length", b"1")], 4) + data(1, b"xx"), "S", PROTOCOL),
    "8.1.1 body in frames longer than told": (
        headers(1, [*POST, (b"content-length", b"1")], 4) + data(1, b"x") + data(1, b"x", END_STREAM),
        "S",
        PROTOCOL,
    ),
    "8.1.1 body ended by trailers too early": (
        headers(1, [*POST, (b"content-length", b"2")], 4) + data(1, b"x") + headers(1, [(b"x", b"y")]),
        "S",
        PROTOCOL,
    ),
}


def outcome(codec: Any, events: list[Any]) -> tuple[str, int]:
    """What came of it, in the table's terms."""
    failures = [e for e in events if isinstance(e, Failure)]
    resets = [e for e in events if isinstance(e, Reset)]
    written = frames(codec.output())
    if failures:
        assert written[-1][0] == 7, "a connection error is answered by GOAWAY"
        assert int.from_bytes(written[-1][3][4:8], "big") == failures[0].code
        assert (codec.closing, codec.active) == (True, 0)
        return ("C", failures[0].code)
    if resets:
        sent = [int.from_bytes(f[3], "big") for f in written if f[0] == 3]
        return ("S" if sent == [resets[0].code] else "R", resets[0].code)
    assert not [f for f in written if f[0] in {3, 7}]
    return ("N", 0)


@pytest.mark.parametrize(("raw", "kind", "code"), SERVER.values(), ids=SERVER.keys())
@pytest.mark.parametrize("step", [10**6, 5], ids=["whole", "in fives"])
def test_server_answers_as_the_rfc_says(raw: bytes, kind: str, code: int, step: int) -> None:
    """The right error on the right level; a stream error leaves the others alone."""
    server = greeted()
    events = [e for at in range(0, len(raw), step) for e in server.receive(raw[at : at + step])]

    assert outcome(server, events) == (kind, code)
    after = server.receive(headers(101, GET))
    assert [type(e) for e in after] == ([] if kind == "C" else [RequestHead])


PREFACES = {
    "garbage": (b"X" * 30, PROTOCOL),
    "HTTP/1 request": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PROTOCOL),
    "last byte wrong": (PREFACE[:-1] + b"X", PROTOCOL),
    "no SETTINGS": (PREFACE + ping(), PROTOCOL),
    "request before SETTINGS": (PREFACE + headers(1, GET), PROTOCOL),
    "SETTINGS is an ACK": (PREFACE + frame(4, ACK, 0), PROTOCOL),
    "SETTINGS on a stream": (PREFACE + settings(stream=1), PROTOCOL),
}


@pytest.mark.parametrize(("raw", "code"), PREFACES.values(), ids=PREFACES.keys())
def test_connection_preface_is_checked(raw: bytes, code: int) -> None:
    """Section 3.4: the magic, then SETTINGS."""
    server = Http2Server(Limits())
    server.output()
    assert outcome(server, server.receive(raw)) == ("C", code)


REQUESTS: dict[str, tuple[list[tuple[bytes, bytes]], bool]] = {
    "plain": (GET, True),
    "no :authority but host": ([*GET[:3], (b"host", b"a")], True),
    "host like :authority": ([*GET, (b"host", b"a")], True),
    "te trailers": ([*GET, (b"te", b"trailers")], True),
    "OPTIONS *": ([(b":method", b"OPTIONS"), GET[1], (b":path", b"*"), GET[3]], True),
    "equal lengths": ([*GET, (b"content-length", b"0"), (b"content-length", b"0")], True),
    "pseudo order": ([GET[3], GET[2], GET[1], GET[0]], True),
    "https": ([GET[0], (b":scheme", b"https"), GET[2], GET[3]], True),
    "capital in name": ([*GET, (b"X-Y", b"z")], False),
    "empty name": ([*GET, (b"", b"z")], False),
    "colon in name": ([*GET, (b"x:y", b"z")], False),
    "space in name": ([*GET, (b"x y", b"z")], False),
    "CR LF in name": ([*GET, (b"x\r\ny", b"z")], False),
    "CR LF in value": ([*GET, (b"x", b"a\r\ny: z")], False),
    "LF in value": ([*GET, (b"x", b"a\nb")], False),
    "NUL in value": ([*GET, (b"x", b"a\0b")], False),
    "space around value": ([*GET, (b"x", b" a")], False),
    "tab after value": ([*GET, (b"x", b"a\t")], False),
    "unknown pseudo": ([*GET, (b":x", b"y")], False),
    ":status in request": ([*GET, (b":status", b"200")], False),
    "pseudo after field": ([*GET[:3], (b"x", b"y"), GET[3]], False),
    ":method twice": ([*GET, GET[0]], False),
    ":path twice": ([*GET, GET[2]], False),
    ":scheme twice": ([*GET, GET[1]], False),
    ":authority twice": ([*GET, GET[3]], False),
    "no :method": (GET[1:], False),
    "no :scheme": ([GET[0], *GET[2:]], False),
    "no :path": ([GET[0], GET[1], GET[3]], False),
    "no fields at all": ([], False),
    "empty :path": ([GET[0], GET[1], (b":path", b""), GET[3]], False),
    ":path without slash": ([GET[0], GET[1], (b":path", b"x"), GET[3]], False),
    ":path * for GET": ([GET[0], GET[1], (b":path", b"*"), GET[3]], False),
    "space in :path": ([GET[0], GET[1], (b":path", b"/ HTTP/1.1"), GET[3]], False),
    "CR LF in :path": ([GET[0], GET[1], (b":path", b"/\r\nx: y"), GET[3]], False),
    "fragment in :path": ([GET[0], GET[1], (b":path", b"/#a"), GET[3]], False),
    "space in :method": ([(b":method", b"GET /x HTTP/1.1"), *GET[1:]], False),
    "CR LF in :method": ([(b":method", b"GET / HTTP/1.1\r\nx: y"), *GET[1:]], False),
    "empty :method": ([(b":method", b""), *GET[1:]], False),
    "CR LF in :authority": ([*GET[:3], (b":authority", b"a\r\nx: y")], False),
    "slash in :authority": ([*GET[:3], (b":authority", b"a/b")], False),
    "user in :authority": ([*GET[:3], (b":authority", b"u@a")], False),
    "odd port in :authority": ([*GET[:3], (b":authority", b"a:99999")], False),
    "odd host": ([*GET[:3], (b"host", b"a b")], False),
    "host differs": ([*GET, (b"host", b"b")], False),
    "two hosts": ([*GET[:3], (b"host", b"a"), (b"host", b"b")], False),
    ":scheme with CR LF": ([GET[0], (b":scheme", b"http\r\n"), GET[2], GET[3]], False),
    ":scheme javascript": ([GET[0], (b":scheme", b"javascript"), GET[2], GET[3]], False),
    "connection": ([*GET, (b"connection", b"close")], False),
    "keep-alive": ([*GET, (b"keep-alive", b"x")], False),
    "proxy-connection": ([*GET, (b"proxy-connection", b"x")], False),
    "transfer-encoding": ([*GET, (b"transfer-encoding", b"chunked")], False),
    "upgrade": ([*GET, (b"upgrade", b"h2c")], False),
    "te gzip": ([*GET, (b"te", b"gzip")], False),
    "te trailers and more": ([*GET, (b"te", b"trailers, deflate")], False),
    "odd length": ([*GET, (b"content-length", b"0x1")], False),
    "two lengths": ([*GET, (b"content-length", b"0"), (b"content-length", b"1")], False),
    "length of a list": ([*GET, (b"content-length", b"0,0")], False),
    "length of no body": ([*GET, (b"content-length", b"5")], False),
    "CONNECT with :path": ([(b":method", b"CONNECT"), (b":path", b"/"), (b":authority", b"a:1")], False),
    "CONNECT with :scheme": ([(b":method", b"CONNECT"), (b":scheme", b"http"), (b":authority", b"a:1")], False),
    "CONNECT without :authority": ([(b":method", b"CONNECT")], False),
    "CONNECT without port": ([(b":method", b"CONNECT"), (b":authority", b"a")], False),
    "CONNECT with a body": ([(b":method", b"CONNECT"), (b":authority", b"a:1"), (b"content-length", b"1")], False),
    ":protocol without CONNECT": ([*GET, (b":protocol", b"websocket")], False),
    ":protocol that ends": ([(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket")], False),
    ":protocol with CR LF": ([(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"a\r\nb")], False),
}


@pytest.mark.parametrize(("fields", "good"), REQUESTS.values(), ids=REQUESTS.keys())
def test_malformed_request_is_a_stream_error_and_never_forwarded(fields: list[tuple[bytes, bytes]], good: bool) -> None:
    """Section 8.1.1; what would be an injection once it is HTTP/1 is refused here (downgrade)."""
    server = greeted()
    events = server.receive(headers(1, fields))

    assert [type(e) for e in events] == [RequestHead if good else Reset]
    assert outcome(server, events) == (("N", 0) if good else ("S", PROTOCOL))


CLIENT: dict[str, tuple[bytes, str, int]] = {
    "response on an idle stream": (headers(3, OK), "C", PROTOCOL),
    "response on an even stream": (headers(2, OK), "C", PROTOCOL),
    "DATA on an idle stream": (data(3, b"x"), "C", PROTOCOL),
    "push": (frame(5, 4, 1, word(2) + BLOCK), "C", PROTOCOL),
    "a server asks to be pushed to": (settings((2, 1)), "C", PROTOCOL),
    "a server turns push off": (settings((2, 0)), "N", 0),
    "DATA before the head": (data(1, b"x"), "S", PROTOCOL),
    "no :status": (headers(1, [(b"x", b"y")]), "S", PROTOCOL),
    ":status twice": (headers(1, [*OK, *OK]), "S", PROTOCOL),
    ":status of two digits": (headers(1, [(b":status", b"20")]), "S", PROTOCOL),
    ":status of 099": (headers(1, [(b":status", b"099")]), "S", PROTOCOL),
    ":status of letters": (headers(1, [(b":status", b"2xx")]), "S", PROTOCOL),
    ":status 999": (headers(1, [(b":status", b"999")]), "N", 0),
    ":status 101": (headers(1, [(b":status", b"101")], END_HEADERS), "S", PROTOCOL),
    "1xx that ends": (headers(1, [(b":status", b"103")]), "S", PROTOCOL),
    ":method in a response": (headers(1, [*OK, (b":method", b"GET")]), "S", PROTOCOL),
    "pseudo after field": (headers(1, [(b"x", b"y"), *OK]), "S", PROTOCOL),
    "connection": (headers(1, [*OK, (b"connection", b"close")]), "S", PROTOCOL),
    "CR LF in value": (headers(1, [*OK, (b"x", b"a\r\nb")]), "S", PROTOCOL),
    "too many fields": (headers(1, [*OK, *[(b"x", b"y")] * 1005]), "S", PROTOCOL),
    "two lengths": (headers(1, [*OK, (b"content-length", b"1"), (b"content-length", b"2")]), "S", PROTOCOL),
    "length of no body": (headers(1, [*OK, (b"content-length", b"1")]), "S", PROTOCOL),
    "body longer than told": (headers(1, [*OK, (b"content-length", b"1")], 4) + data(1, b"xx"), "S", PROTOCOL),
    "body for 204": (headers(1, [(b":status", b"204")], 4) + data(1, b"x"), "S", PROTOCOL),
    "empty end for 204": (headers(1, [(b":status", b"204")], 4) + data(1, b"", END_STREAM), "N", 0),
    "trailers that do not end": (headers(1, OK, 4) + headers(1, [(b"x", b"y")], 4), "S", PROTOCOL),
    "trailers": (headers(1, OK, 4) + data(1, b"x") + headers(1, [(b"x", b"y")]), "N", 0),
    "DATA after the end": (headers(1, OK) + data(1, b"x"), "N", 0),
    "reset by the server": (rst(1, codes.REFUSED_STREAM), "R", codes.REFUSED_STREAM),
    "preface of a client": (PREFACE, "C", SIZE),
}


@pytest.mark.parametrize(("raw", "kind", "code"), CLIENT.values(), ids=CLIENT.keys())
def test_client_answers_as_the_rfc_says(raw: bytes, kind: str, code: int) -> None:
    """A broken response breaks its stream; a broken connection all of them."""
    client = asked()
    events = client.receive(raw)
    if kind == "N" and raw.endswith(data(1, b"x")):
        assert frames(client.output()) == [(3, 0, 1, word(CLOSED))]
        return
    assert outcome(client, events) == (kind, code)


def test_head_response_may_tell_a_length_and_has_no_body() -> None:
    """Content-Length of HEAD and 304 is not of this message."""
    client = asked(method=b"HEAD")
    events = client.receive(headers(1, [*OK, (b"content-length", b"7")]))
    assert [e.end for e in events if isinstance(e, ResponseHead)] == [True]

    client = asked(method=b"HEAD")
    assert outcome(client, client.receive(headers(1, OK, END_HEADERS) + data(1, b"x"))) == ("S", PROTOCOL)


def test_settings_and_pings_are_acknowledged_in_turn() -> None:
    """Sections 6.5.3 and 6.7: same eight bytes, ACK set, no payload for SETTINGS."""
    server = greeted()
    events = server.receive(settings((3, 7)) + ping() + ping(ACK) + settings())

    assert frames(server.output()) == [(4, ACK, 0, b""), (6, ACK, 0, b"12345678"), (4, ACK, 0, b"")]
    assert [e for e in events if isinstance(e, Pong)] == [Pong(b"12345678")]


def test_goaway_of_the_client_lets_open_streams_end() -> None:
    """Section 6.8: it will open none; ours are served, then the connection may close."""
    server = greeted()
    server.receive(headers(1, GET))
    events = server.receive(goaway(0, codes.NO_ERROR, b"debug data"))
    server.send_response(1, 200, b"", [], True)

    assert events == [Goaway(0, codes.NO_ERROR)]
    assert (server.closing, server.active) == (True, 0)


def test_goaway_may_come_twice_with_a_smaller_last_stream() -> None:
    """The graceful way of closing; what was not taken is safe to retry."""
    client = Http2Client(Limits())
    client.receive(settings())
    streams = [client.send_request(request(), True) for _ in range(3)]
    first = client.receive(goaway(2**31 - 1))
    second = client.receive(goaway(streams[0]))

    assert [type(e) for e in first] == [Goaway]
    assert [(e.stream, e.code) for e in second if isinstance(e, Reset)] == [
        (s, codes.REFUSED_STREAM) for s in streams[1:]
    ]
    assert (client.active, client.can_open, client.closing) == (1, False, True)
    assert [type(e) for e in client.receive(headers(1, OK))] == [ResponseHead]


def test_late_frames_of_a_stream_we_reset_are_ignored() -> None:
    """Section 5.1: the peer could not know; its bytes go back to the connection's window."""
    server = greeted()
    server.receive(OPEN)
    server.reset(1, codes.CANCEL)
    server.output()
    events = server.receive(data(1, b"x" * 16384) * 3 + headers(1, [(b"x", b"y")]) + rst(1) + window(1, 5))

    assert (events, server.output()) == ([], b"")


def test_windows_are_kept_to_the_byte() -> None:
    """Section 6.9.1: one byte more than allowed is an error of its level, and what it cost is given back."""
    limits = Limits(stream_window=65535, connection_window=65535)
    server = greeted(limits)
    server.receive(OPEN)
    full = data(1, b"x" * 16384) * 3 + data(1, b"x" * 16383)
    assert len(server.receive(full)) == 4
    assert outcome(server, server.receive(data(1, b"x"))) == ("C", FLOW)

    server = greeted(Limits(stream_window=65535, connection_window=131072))
    server.receive(OPEN)
    server.receive(full)
    assert outcome(server, server.receive(data(1, b"x"))) == ("S", FLOW)


def test_stream_error_does_not_eat_the_connections_window() -> None:
    """A peer that overruns stream after stream never stalls the others."""
    server = greeted(Limits(stream_window=65535, connection_window=262144))
    for number in range(1, 61, 2):
        server.receive(headers(number, POST, END_HEADERS) + data(number, b"x" * 16384) * 4)
        events = server.receive(data(number, b"x" * 16384))
        if any(isinstance(e, Failure) for e in events):
            raise AssertionError(f"the connection's window was used up on stream {number}")
    assert server.active == 0


def test_padding_is_returned_to_both_windows() -> None:
    """Section 6.1: it counts against them, and nobody reads it."""
    server = greeted(Limits(stream_window=65535, connection_window=65535))
    server.receive(OPEN)
    for _ in range(2000):
        events = server.receive(data(1, b"\xff" + b"x" + b"\0" * 255, PADDED))
        assert events == [Data(1, b"x", False)], events
        server.consumed(1, 1)


def test_negative_window_is_waited_out() -> None:
    """Section 6.9.2: a smaller initial window may take a stream's below zero."""
    client = asked(method=b"POST")
    client.send_data(1, b"x" * 60_000, False)
    client.output()
    client.receive(settings((4, 10_000)))
    client.output()
    client.send_data(1, b"y" * 100, False)
    assert (client.output(), client.pending(1)) == (b"", 100)
    client.receive(window(1, 50_000))
    assert client.pending(1) == 100
    client.receive(window(1, 60))
    assert (client.pending(1), frames(client.output())) == (40, [(0, 0, 1, b"y" * 60)])


def test_windows_beyond_32_bits_never_arise_by_settings() -> None:
    """Growing and shrinking the initial window keeps to what was promised."""
    client = asked(method=b"POST")
    for value in (0, 2**31 - 1, 0, 65535):
        assert not [e for e in client.receive(settings((4, value))) if isinstance(e, Failure)]
    client.send_data(1, b"x" * 65535, True)
    assert client.pending(1) == 0


def test_frames_are_never_larger_than_the_default_though_the_peer_takes_more() -> None:
    """Section 6.5.2: MAX_FRAME_SIZE is an offer."""
    client = asked(method=b"POST")
    client.receive(settings((5, 2**20), (4, 2**20)) + window(0, 2**20))
    client.output()
    client.send_data(1, b"x" * 100_000, True)
    sizes = [len(f[3]) for f in frames(client.output())]

    assert (max(sizes), sum(sizes)) == (16384, 100_000)


def test_header_table_of_size_zero_is_obeyed_and_announced() -> None:
    """RFC 7541, section 4.2: the next section begins with the change, and indexes nothing of its own."""
    server = greeted()
    server.receive(settings((1, 0)) + headers(1, GET) + headers(3, GET) + headers(5, GET))
    server.output()
    blocks = []
    for stream in (1, 3, 5):
        server.send_response(stream, 200, b"", [(b"x-y", b"z", b"x-y")], True)
        blocks.append(frames(server.output())[0][3])

    assert blocks[0] == b"\x20" + blocks[1]
    assert blocks[1] == blocks[2]
    assert not [b for b in blocks if b"\x40" in b]


def test_extended_connect_is_offered_and_understood() -> None:
    """RFC 8441: SETTINGS says so, the stream stays open both ways."""
    server = Http2Server(Limits())
    assert (8, 1) in [
        (int.from_bytes(f[3][i : i + 2], "big"), int.from_bytes(f[3][i + 2 : i + 6], "big"))
        for f in frames(server.output())
        if f[0] == 4
        for i in range(0, len(f[3]), 6)
    ]
    server.receive(PREFACE + settings())
    fields = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"WebSocket"), (b"origin", b"x")]
    events = server.receive(headers(1, fields, END_HEADERS) + data(1, b"up"))

    assert [(e.method, e.protocol, e.end) for e in events if isinstance(e, RequestHead)] == [
        (b"CONNECT", b"websocket", False)
    ]
    assert events[-1] == Data(1, b"up", False)


def test_cookie_crumbs_are_one_field_again() -> None:
    """Section 8.2.3: what goes on as HTTP/1 must have one."""
    events = greeted().receive(headers(1, [*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")]))
    assert isinstance(events[-1], RequestHead)
    assert [(n, v) for n, v, _ in events[-1].headers] == [(b"cookie", b"a=1; b=2"), (b"x", b"y")]


def test_priority_and_padding_of_a_section_are_stripped() -> None:
    """They are framing, not fields."""
    raw = frame(1, END_STREAM | PADDED | PRIORITIZED, 1, b"\x03" + word(0x80000005) + b"\xff" + BLOCK[:6] + b"\0\0\0")
    events = greeted().receive(raw + frame(9, END_HEADERS, 1, BLOCK[6:]))
    assert [type(e) for e in events] == [RequestHead]


def test_trailers_reach_the_driver_as_such() -> None:
    """With the end of the message in them."""
    events = greeted().receive(OPEN + data(1, b"x") + headers(1, [(b"grpc-status", b"0")]))
    assert events[1:] == [Data(1, b"x", False), Trailers(1, [(b"grpc-status", b"0", b"grpc-status")])]
