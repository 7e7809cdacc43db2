"""Every form of a request that two parsers could read differently is refused, answered, counted, and never forwarded."""

from __future__ import annotations

import pytest

from dataplane.protocol.events import Data, Failure, RequestHead, Trailers
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.limits import Limits

HOST = b"Host: a\r\n"


def get(fields: bytes, line: bytes = b"GET / HTTP/1.1\r\n", host: bytes = HOST) -> bytes:
    return line + host + fields + b"\r\n"


def post(fields: bytes) -> bytes:
    return get(fields, b"POST / HTTP/1.1\r\n")


# Name: (bytes, status, counter). "E:" names what Envoy 1.40 was measured to answer.
HEADS: dict[str, tuple[bytes, int, str]] = {
    "length and chunked, E: 400": (
        post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        400,
        "http1_smuggling",
    ),
    "chunked and length, E: 400": (
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        400,
        "http1_smuggling",
    ),
    "two equal lengths, E: 400": (post(b"Content-Length: 4\r\nContent-Length: 4\r\n"), 400, "http1_content_length"),
    "two lengths, E: 400": (post(b"Content-Length: 4\r\nContent-Length: 5\r\n"), 400, "http1_content_length"),
    "two lengths, one line, E: 400": (post(b"Content-Length: 5, 5\r\n"), 400, "http1_content_length"),
    "signed length, E: 400": (post(b"Content-Length: +5\r\n"), 400, "http1_content_length"),
    "negative length, E: 400": (post(b"Content-Length: -1\r\n"), 400, "http1_content_length"),
    "hex length": (post(b"Content-Length: 0x5\r\n"), 400, "http1_content_length"),
    "empty length": (post(b"Content-Length: \r\n"), 400, "http1_content_length"),
    "spaced length": (post(b"Content-Length: 1 2\r\n"), 400, "http1_content_length"),
    "length of 2^64": (post(b"Content-Length: 18446744073709551616\r\n"), 400, "http1_content_length"),
    "length in Arabic digits": (post(b"Content-Length: \xd9\xa1\r\n"), 400, "http1_content_length"),
    "xchunked, E: 501": (post(b"Transfer-Encoding: xchunked\r\n"), 400, "http1_transfer_encoding"),
    "gzip, chunked, E: 501": (post(b"Transfer-Encoding: gzip, chunked\r\n"), 501, "http1_transfer_encoding"),
    "chunked, identity, E: 501": (post(b"Transfer-Encoding: chunked, identity\r\n"), 400, "http1_transfer_encoding"),
    "chunked twice, E: 501": (
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        400,
        "http1_transfer_encoding",
    ),
    "chunked, chunked": (post(b"Transfer-Encoding: chunked, chunked\r\n"), 400, "http1_transfer_encoding"),
    "identity": (post(b"Transfer-Encoding: identity\r\n"), 400, "http1_transfer_encoding"),
    "empty coding": (post(b"Transfer-Encoding:\r\n"), 400, "http1_transfer_encoding"),
    "coding with a parameter": (post(b"Transfer-Encoding: chunked;q=1\r\n"), 400, "http1_transfer_encoding"),
    "quoted chunked": (post(b'Transfer-Encoding: "chunked"\r\n'), 400, "http1_transfer_encoding"),
    "vertical tab before chunked": (post(b"Transfer-Encoding: \x0bchunked\r\n"), 400, "http1_field_value"),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "http1_transfer_encoding",
    ),
    "space before colon, E: 400": (post(b"Transfer-Encoding : chunked\r\n"), 400, "http1_field_name"),
    "tab before colon": (post(b"Content-Length\t: 4\r\n"), 400, "http1_field_name"),
    "empty name": (get(b": v\r\n"), 400, "http1_field_name"),
    "no colon": (get(b"novalue\r\n"), 400, "http1_field_name"),
    "NUL in name": (get(b"x\0y: v\r\n"), 400, "http1_field_name"),
    "high byte in name": (get(b"x\xffy: v\r\n"), 400, "http1_field_name"),
    "parenthesis in name": (get(b"x(y: v\r\n"), 400, "http1_field_name"),
    "NUL in value, E: 400": (get(b"x: a\0b\r\n"), 400, "http1_field_value"),
    "VT in value, E: 400": (get(b"x: a\x0bb\r\n"), 400, "http1_field_value"),
    "DEL in value": (get(b"x: a\x7fb\r\n"), 400, "http1_field_value"),
    "bare CR in value, E: 200": (get(b"x: a\rb\r\n"), 400, "http1_field_value"),
    "bare LF in value, E: 200": (get(b"x: a\nb: c\r\n"), 400, "http1_field_value"),
    "bare LF ends, E: 200": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "http1_request_line"),
    "one bare LF, E: 200": (b"GET / HTTP/1.1\r\nHost: a\nx: y\r\n\r\n", 400, "http1_field_value"),
    "CR CR LF": (get(b"x: a\r\r\n"), 400, "http1_field_value"),
    "folded line, E: 200": (get(b"x: a\r\n b\r\n"), 400, "http1_obs_fold"),
    "folded by tab, E: 200": (get(b"x: a\r\n\tb\r\n"), 400, "http1_obs_fold"),
    "folded before any field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "http1_obs_fold"),
    "no Host, E: 400": (b"GET / HTTP/1.1\r\nx: y\r\n\r\n", 400, "http1_host"),
    "no field at all, E: 400": (b"GET / HTTP/1.1\r\n\r\n", 400, "http1_host"),
    "two Hosts, E: 200": (get(b"Host: b\r\n"), 400, "http1_host"),
    "two equal Hosts": (get(b"Host: a\r\n"), 400, "http1_host"),
    "empty Host": (get(b"", host=b"Host:\r\n"), 400, "http1_host"),
    "Host with a path": (get(b"", host=b"Host: a/b\r\n"), 400, "http1_host"),
    "Host with a user": (get(b"", host=b"Host: u@a\r\n"), 400, "http1_host"),
    "Host with a space": (get(b"", host=b"Host: a b\r\n"), 400, "http1_host"),
    "Host with a bad port": (get(b"", host=b"Host: a:x\r\n"), 400, "http1_host"),
    "Host with a huge port": (get(b"", host=b"Host: a:65536\r\n"), 400, "http1_host"),
    "Host with an open bracket": (get(b"", host=b"Host: [::1\r\n"), 400, "http1_host"),
    "absolute target without Host": (b"GET http://b/ HTTP/1.1\r\n\r\n", 400, "http1_host"),
    "fragment, E: 400": (get(b"", b"GET /a#b HTTP/1.1\r\n"), 400, "http1_request_line"),
    "space in target, E: 400": (get(b"", b"GET /a b HTTP/1.1\r\n"), 400, "http1_version"),
    "two spaces": (get(b"", b"GET  / HTTP/1.1\r\n"), 400, "http1_request_line"),
    "tab for space": (get(b"", b"GET\t/\tHTTP/1.1\r\n"), 400, "http1_request_line"),
    "space before method": (get(b"", b" GET / HTTP/1.1\r\n"), 400, "http1_request_line"),
    "space after version": (get(b"", b"GET / HTTP/1.1 \r\n"), 400, "http1_request_line"),
    "NUL in target": (get(b"", b"GET /\0 HTTP/1.1\r\n"), 400, "http1_request_line"),
    "bare CR after line": (get(b"", b"GET / HTTP/1.1\rX\r\n"), 400, "http1_bare_cr"),
    "no version": (get(b"", b"GET /\r\n"), 400, "http1_request_line"),
    "small version": (get(b"", b"GET / http/1.1\r\n"), 400, "http1_version"),
    "version 1.2": (get(b"", b"GET / HTTP/1.2\r\n"), 505, "http1_version"),
    "version 2.0": (get(b"", b"GET / HTTP/2.0\r\n"), 505, "http1_version"),
    "version 1.10": (get(b"", b"GET / HTTP/1.10\r\n"), 400, "http1_request_line"),
    "separator in method": (get(b"", b"GE(T / HTTP/1.1\r\n"), 400, "http1_request_line"),
    "relative target": (get(b"", b"GET a/b HTTP/1.1\r\n"), 400, "http1_target"),
    "star for GET": (get(b"", b"GET * HTTP/1.1\r\n"), 400, "http1_target"),
    "ftp target": (get(b"", b"GET ftp://a/ HTTP/1.1\r\n"), 400, "http1_target"),
    "target with a user": (get(b"", b"GET http://u@a/ HTTP/1.1\r\n"), 400, "http1_target"),
    "target without a host": (get(b"", b"GET http:///x HTTP/1.1\r\n"), 400, "http1_target"),
    "CONNECT to a path": (get(b"", b"CONNECT /x HTTP/1.1\r\n"), 400, "http1_target"),
    "CONNECT without a port": (get(b"", b"CONNECT a HTTP/1.1\r\n"), 400, "http1_target"),
    "CONNECT without a port, IPv6": (get(b"", b"CONNECT [::1] HTTP/1.1\r\n"), 400, "http1_target"),
    "CONNECT with a body": (get(b"Content-Length: 3\r\n", b"CONNECT a:1 HTTP/1.1\r\n"), 400, "http1_connect"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "http1_target"),
    "too many fields, E: 431": (get(b"x: y\r\n" * 1001), 431, "http1_header_count"),
    "head too long, E: 431": (get(b"x: " + b"y" * 65536 + b"\r\n"), 431, "http1_header_bytes"),
    "endless head": (b"GET / HTTP/1.1\r\nx: " + b"y" * 65536, 431, "http1_header_bytes"),
    "target too long": (get(b"", b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n"), 414, "http1_header_bytes"),
}

CHUNKED = post(b"Transfer-Encoding: chunked\r\n")

BODIES: dict[str, tuple[bytes, int, str]] = {
    "size with 0x, E: 400": (b"0x1\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "signed size": (b"+1\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "negative size": (b"-1\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "empty size": (b"\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "space before size": (b" 1\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "space after size": (b"1 \r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "size of 2^64": (b"10000000000000001\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "size of many zeros": (b"0000000000000001\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "underscore in size": (b"1_0\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "LF for CRLF, E: 400": (b"1\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "bare CR after size": (b"1\rXa\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "extension with CR, E: 400": (b"1;x\ry\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "extension with LF": (b"1;x\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "extension with NUL": (b"1;\0\r\na\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "chunk longer than said": (b"1\r\nab\r\n0\r\n\r\n", 400, "http1_chunk_size"),
    "LF after chunk": (b"1\r\na\n0\r\n\r\n", 400, "http1_chunk_size"),
    "anything two bytes after chunk": (b"1\r\naXX0\r\n\r\n", 400, "http1_chunk_size"),
    "extensions without end": (b"1;" + b"x" * 5000, 400, "http1_chunk_extensions"),
    "extensions in all": ((b"1;" + b"x" * 3000 + b"\r\na\r\n") * 2, 400, "http1_chunk_extensions"),
    "folded trailer": (b"0\r\nx: y\r\n z\r\n\r\n", 400, "http1_obs_fold"),
    "trailer without colon": (b"0\r\nabc\r\n\r\n", 400, "http1_field_name"),
    "trailer with bare LF": (b"0\r\nx: y\n\r\n", 400, "http1_field_value"),
    "trailer with NUL": (b"0\r\nx: \0\r\n\r\n", 400, "http1_field_value"),
    "too many trailers": (b"0\r\n" + b"x: y\r\n" * 1001 + b"\r\n", 431, "http1_header_count"),
    "endless trailers": (b"0\r\nx: " + b"y" * 65536, 431, "http1_header_bytes"),
}


def refusal(raw: bytes, pieces: int = 1) -> tuple[list[object], Http1Server, bytes]:
    """Give a server these bytes in pieces, then a well-formed request; return what it made of them."""
    server = Http1Server(Limits())
    events: list[object] = []
    size = max(1, -(-len(raw) // pieces))
    for at in range(0, len(raw), size):
        events += server.receive(raw[at : at + size])
    events += server.receive(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    return events, server, server.output()


@pytest.mark.parametrize(("raw", "status", "counter"), HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("pieces", [1, 7, 10_000], ids=["whole", "in seven", "bytewise"])
def test_ambiguous_head_is_refused_and_never_forwarded(raw: bytes, status: int, counter: str, pieces: int) -> None:
    """One Failure and its answer; no request comes of it, nor of what follows."""
    events, server, output = refusal(raw, pieces)

    assert [(e.status, e.counter) for e in events if isinstance(e, Failure)] == [(status, counter)]
    assert not [e for e in events if isinstance(e, RequestHead)]
    assert output.startswith(b"HTTP/1.1 %d " % status)
    assert output.count(b"HTTP/1.1 ") == 1
    assert b"connection: close\r\nx-tulle-error: " + counter.encode() in output
    assert (server.active, server.closing, server.held()) == (0, True, 0)


@pytest.mark.parametrize(("raw", "status", "counter"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("pieces", [1, 7, 10_000], ids=["whole", "in seven", "bytewise"])
def test_ambiguous_body_is_refused_and_nothing_follows(raw: bytes, status: int, counter: str, pieces: int) -> None:
    """The request is broken off by a Failure; its message never ends well, and no other begins."""
    events, server, output = refusal(CHUNKED + raw, pieces)

    assert isinstance(events[0], RequestHead)
    assert [(e.status, e.counter) for e in events if isinstance(e, Failure)] == [(status, counter)]
    assert len([e for e in events if isinstance(e, RequestHead)]) == 1
    assert not [e for e in events if isinstance(e, Trailers) or (isinstance(e, Data) and e.end)]
    assert output.startswith(b"HTTP/1.1 %d " % status)
    assert (server.active, server.closing) == (0, True)


def test_nothing_is_written_after_a_failure() -> None:
    """A driver that answers a request whose body broke meanwhile adds nothing to the refusal."""
    server = Http1Server(Limits())
    server.receive(CHUNKED + b"zz\r\n")
    server.output()
    server.send_response(1, 200, b"", [], False)
    server.send_data(1, b"late", True)
    server.send_trailers(1, [])

    assert server.output() == b""
    assert server.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []


def test_refusal_does_not_break_into_a_response_on_its_way() -> None:
    """When the answer has begun, the connection just ends: a second status line would read as its body."""
    server = Http1Server(Limits())
    server.receive(CHUNKED)
    server.send_response(1, 200, b"", [], False)
    server.output()
    events = server.receive(b"zz\r\n")

    assert [type(e) for e in events] == [Failure]
    assert server.output() == b""
    assert server.closing
