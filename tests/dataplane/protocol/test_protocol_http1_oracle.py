"""h11 as an independent judge of the same HTTP/1 bytes, both directions.

Where we and h11 differ, the difference stands in a table here with its reason, and the test demands that it is still one.
"""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.protocol.events import Data, Failure, RequestHead, ResponseHead, Trailers
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.test_protocol_http1_smuggling import BODIES, CHUNKED, HEADS
from tests.dataplane.protocol.wire import request

Reading = tuple[str, bytes, bytes, list[tuple[bytes, bytes]], bytes, list[tuple[bytes, bytes]]]
"""Verdict, method or status, target, fields, body, trailers."""

REFUSED: Reading = ("refused", b"", b"", [], b"", [])
UNFINISHED: Reading = ("unfinished", b"", b"", [], b"", [])


def theirs(role: Any, raw: bytes, method: bytes = b"GET") -> Reading:
    """How h11 reads the first message."""
    conn = h11.Connection(role, max_incomplete_event_size=64 * 1024)
    if role is h11.CLIENT:
        conn.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
        conn.send(h11.EndOfMessage())
    what, target, fields, body = b"", b"", [], b""
    try:
        conn.receive_data(raw)
        while True:
            event = conn.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return UNFINISHED
            if isinstance(event, h11.Request):
                what, target = bytes(event.method), bytes(event.target)
                fields = [(bytes(n), bytes(v)) for n, v in event.headers]
            elif isinstance(event, h11.Response):
                what, fields = b"%d" % event.status_code, [(bytes(n), bytes(v)) for n, v in event.headers]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return ("read", what, target, fields, body, [(bytes(n), bytes(v)) for n, v in event.headers])
            elif isinstance(event, h11.ConnectionClosed):
                return UNFINISHED
    except h11.RemoteProtocolError:
        return REFUSED


def ours(codec: Any, raw: bytes) -> Reading:
    """How our codec reads the first message."""
    what, target, fields, body = b"", b"", [], b""
    for event in codec.receive(raw):
        if isinstance(event, Failure):
            return REFUSED
        if isinstance(event, RequestHead):
            what, target = event.method, event.path or event.authority
            fields = [(n, v) for n, v, _ in event.headers]
        elif isinstance(event, ResponseHead):
            what, fields = b"%d" % event.status, [(n, v) for n, v, _ in event.headers]
            if event.status < 200:
                continue
        elif isinstance(event, Data):
            body += event.data
        elif isinstance(event, Trailers):
            return ("read", what, target, fields, body, [(n, v) for n, v, _ in event.headers])
        if isinstance(event, RequestHead | ResponseHead | Data) and event.end:
            return ("read", what, target, fields, body, [])
    return UNFINISHED


HOP = {b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"}


def plain(reading: Reading) -> Reading:
    """A reading without what our codec takes out of the list by design."""
    verdict, what, target, fields, body, trailers = reading
    return (verdict, what, target, [f for f in fields if f[0] not in HOP], body, trailers)


def verdicts(raw: bytes) -> tuple[str, str]:
    """Ours and theirs."""
    return ours(Http1Server(Limits()), raw)[0], theirs(h11.SERVER, raw)[0]


ALL = {**{k: v[0] for k, v in HEADS.items()}, **{"body: " + k: CHUNKED + v[0] for k, v in BODIES.items()}}

STRICTER: dict[str, str] = {
    **dict.fromkeys(
        ("length and chunked, E: 400", "chunked and length, E: 400"),
        "h11 lets Transfer-Encoding win; RFC 9112, 6.1 calls it a likely attack, and a proxy must not pass it on",
    ),
    **dict.fromkeys(
        ("two equal lengths, E: 400", "two lengths, one line, E: 400"),
        "h11 folds equal lengths into one, which RFC 9112, 6.3 allows; Envoy refuses, and nobody needs it",
    ),
    **dict.fromkeys(
        ("length of 2^64", "body: size of 2^64", "body: size of many zeros"),
        "Python's integers have no end, a peer's may",
    ),
    "chunked in HTTP/1.0": "RFC 9112, 6.1: a server must treat its framing as faulty",
    "DEL in value": "RFC 9110, 5.5 has no DEL; h11 is lenient",
    **dict.fromkeys(
        (
            "bare LF in value, E: 200",
            "bare LF ends, E: 200",
            "one bare LF, E: 200",
            "body: trailer with bare LF",
        ),
        "h11 takes LF for CRLF (RFC 9112, 2.2 allows); two parsers then may see different lines",
    ),
    **dict.fromkeys(
        ("folded line, E: 200", "folded by tab, E: 200", "body: folded trailer"),
        "h11 joins folded lines; RFC 9112, 5.2 tells a server to refuse or to replace them",
    ),
    **dict.fromkeys(
        (
            "empty Host",
            "Host with a path",
            "Host with a user",
            "Host with a space",
            "Host with a bad port",
            "Host with a huge port",
            "Host with an open bracket",
        ),
        "h11 does not look into Host; RFC 9112, 3.2 demands 400 for an invalid one, and we route by it",
    ),
    **dict.fromkeys(
        (
            "fragment, E: 400",
            "relative target",
            "star for GET",
            "ftp target",
            "target with a user",
            "target without a host",
            "CONNECT to a path",
            "CONNECT without a port",
            "CONNECT without a port, IPv6",
        ),
        "h11 leaves the target's form to its user; RFC 9112, 3.2",
    ),
    **dict.fromkeys(
        ("version 1.2", "version 2.0", "HTTP/2 preface"), "h11 leaves the version to its user; we speak 1.0 and 1.1"
    ),
    "CONNECT with a body": "RFC 9110, 9.3.6: it has none; h11 waits for it",
    **dict.fromkeys(
        (
            "too many fields, E: 431",
            "head too long, E: 431",
            "target too long",
            "body: extensions without end",
            "body: extensions in all",
            "body: too many trailers",
        ),
        "our limits are smaller, or are limits at all",
    ),
    **dict.fromkeys(
        ("body: space after size", "body: extension with CR, E: 400", "body: extension with NUL"),
        "h11 skips what stands between size and CRLF; RFC 9112, 7.1.1 has no such bytes (CVE-2025-43859 was its kin)",
    ),
}
"""What we refuse and h11 reads or waits for, with the reason."""


@pytest.mark.parametrize("name", ALL)
def test_differences_to_h11_are_those_listed(name: str) -> None:
    """All are of one kind: we refuse more."""
    mine, oracle = verdicts(ALL[name])
    assert mine == "refused"
    assert (oracle != "refused") == (name in STRICTER), oracle


# Bytes requests are put together from: what is right, and what is nearly right.
WORDS = st.sampled_from(
    [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"/",
        b"/a?b ",
        b"* ",
        b"http://b/ ",
        b"HTTP/1.1\r\n",
        b"HTTP/1.0\r\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"Host: a\r\n",
        b"x: y\r\n",
        b"x:\t y \r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"content-length:3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: q\r\n",
        b"Expect: 100-continue\r\n",
        b"3\r\nabc\r\n",
        b"03;a=b\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\nt: u\r\n\r\n",
        b"abc",
        b"\0",
        b"\xe4",
        b"+",
    ]
)
GOOD = st.tuples(
    st.sampled_from(
        [b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"PUT http://b/c HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n"]
    ),
    st.permutations([b"Host: a\r\n", b"x: y\r\n"]),
    st.sampled_from([b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"]),
    st.sampled_from([b"\r\n"]),
    st.lists(st.sampled_from([b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nt: u\r\n\r\n"]), max_size=3),
).map(lambda parts: [parts[0], *parts[1], parts[2], parts[3], *parts[4]])


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """A request with up to two words put in, taken out or put in place of others."""
    words = list(draw(GOOD))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(words)))
        words[at : at + draw(st.integers(0, 1))] = draw(st.lists(WORDS, max_size=2))
    return b"".join(words)


def looser(raw: bytes, reading: Reading) -> str:
    """Why we may read what h11 refuses, or empty."""
    if raw.startswith(b"\r\n"):
        return "empty lines before a request are to be skipped (RFC 9112, 2.2); h11 does not"
    if any(c > 126 for c in reading[2]):
        return "raw bytes beyond ASCII in the target: apps send UTF-8, and Envoy passes them"
    return ""


@settings(max_examples=250, deadline=None)
@given(nearly())
def test_what_we_read_h11_reads_the_same(raw: bytes) -> None:
    """Method, target, fields, body and trailers; we never accept what h11 refuses but for the reasons listed."""
    mine, oracle = plain(ours(Http1Server(Limits()), raw)), plain(theirs(h11.SERVER, raw))
    if mine[0] == "read" and not looser(raw, mine):
        if oracle[2].startswith(b"http://"):
            oracle = (*oracle[:2], b"/" + oracle[2].split(b"/", 3)[3], *oracle[3:])
        assert mine == oracle


RESPONSES = st.tuples(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 404 \r\n",
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.1 204 X\r\n",
            b"HTTP/1.1 304 X\r\n",
        ]
    ),
    st.permutations([b"Date: a\r\n", b"x: y\r\n"]),
    st.sampled_from([b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"]),
    st.sampled_from([b"\r\n"]),
    st.lists(st.sampled_from([b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nt: u\r\n\r\n"]), max_size=3),
).map(lambda parts: [parts[0], *parts[1], parts[2], parts[3], *parts[4]])


@st.composite
def nearly_response(draw: st.DrawFn) -> bytes:
    """A response, changed in the same way."""
    words = list(draw(RESPONSES))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(words)))
        words[at : at + draw(st.integers(0, 1))] = draw(st.lists(WORDS, max_size=2))
    return b"".join(words)


@settings(max_examples=250, deadline=None)
@given(nearly_response(), st.sampled_from([b"GET", b"HEAD"]))
def test_responses_we_read_h11_reads_the_same(raw: bytes, method: bytes) -> None:
    """Status, fields, body and trailers."""
    client = Http1Client(Limits())
    client.send_request(request(method), True)
    mine, oracle = plain(ours(client, raw)), plain(theirs(h11.CLIENT, raw, method))
    if mine[0] == "read":
        assert mine == oracle


def test_h11_reads_what_we_write_and_we_read_what_h11_writes() -> None:
    """A chunked exchange with trailers each way, on one connection twice."""
    client, server = Http1Client(Limits()), Http1Server(Limits())
    conn, peer = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    for _ in range(2):
        stream = client.send_request(request(b"POST", b"/x", (b"x-a", b"1", b"X-A")), False)
        client.send_data(stream, b"hello", False)
        client.send_trailers(stream, [(b"t", b"u", b"T")])
        conn.receive_data(client.output())
        got = [conn.next_event() for _ in range(3)]
        assert [type(e) for e in got] == [h11.Request, h11.Data, h11.EndOfMessage]
        assert list(got[2].headers) == [(b"t", b"u")]  # type: ignore[union-attr]
        raw = conn.send(h11.Response(status_code=200, headers=[(b"transfer-encoding", b"chunked")])) or b""
        raw += (conn.send(h11.Data(data=b"answer")) or b"") + (
            conn.send(h11.EndOfMessage(headers=[(b"v", b"w")])) or b""
        )
        events = client.receive(raw)
        assert [type(e) for e in events] == [ResponseHead, Data, Trailers]

        raw = peer.send(h11.Request(method="PUT", target="/y", headers=[("host", "b"), ("content-length", "2")])) or b""
        raw += (peer.send(h11.Data(data=b"ok")) or b"") + (peer.send(h11.EndOfMessage()) or b"")
        events = server.receive(raw)
        assert [type(e) for e in events] == [RequestHead, Data]
        server.send_response(events[0].stream, 201, b"", [], True)
        peer.receive_data(server.output())
        assert [type(peer.next_event()) for _ in range(2)] == [h11.Response, h11.EndOfMessage]
        conn.start_next_cycle()
        peer.start_next_cycle()
    assert (client.can_open, server.active) == (True, 0)
