"""Conversations with the HTTP/1 server codec, told as plays."""

from __future__ import annotations

import time

import pytest

from dataplane.protocol import codes
from dataplane.protocol.events import Data, Event, Failure, RequestHead, Reset, Trailers
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits
from tests.support.playbook import EOF, Playbook, call

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH2 = [(b"content-length", b"2", b"Content-Length")]


def field(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    return (name.lower(), value, name)


def head(raw: bytes) -> RequestHead:
    """The one request these bytes are."""
    events = Http1Server(Limits()).receive(raw)
    assert isinstance(events[0], RequestHead), events
    return events[0]


def serve(*events: bytes) -> Playbook:
    play = Playbook(Http1Server(Limits()))
    for event in events:
        play >> event
    return play


def test_request_is_answered_and_the_next_one_awaited() -> None:
    """Keep-alive is the rule of HTTP/1.1."""
    play = serve(GET)
    play << RequestHead(1, b"GET", b"http", b"a", b"/", [], True)
    play >> call("send_response", 1, 200, b"", LENGTH2, False)
    play << b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    play >> call("send_data", 1, b"ok", True) << b"ok"
    play >> GET << RequestHead(2, b"GET", b"http", b"a", b"/", [], True)
    play.done()


def test_order_and_case_of_fields_are_kept() -> None:
    """The list says names in lower case and as received, in the order received."""
    found = head(b"GET / HTTP/1.1\r\nX-B: 1\r\nhOsT: a\r\nx-a: 2\r\nX-b: 3\r\nX-E:\r\nX-S: \t s p \t \r\n\r\n")

    assert found.headers == [
        (b"x-b", b"1", b"X-B"),
        (b"x-a", b"2", b"x-a"),
        (b"x-b", b"3", b"X-b"),
        (b"x-e", b"", b"X-E"),
        (b"x-s", b"s p", b"X-S"),
    ]


def test_values_beyond_ascii_pass_as_they_are() -> None:
    """Apps send UTF-8 and Latin-1 in values and paths; it is not ours to judge."""
    found = head(b"GET /\xc3\xa4?q=\xff HTTP/1.1\r\nHost: a\r\nx: \xe4\xff\r\n\r\n")

    assert (found.path, found.headers[0][1]) == (b"/\xc3\xa4?q=\xff", b"\xe4\xff")


TARGETS = {
    b"GET /a?b=c": (b"", b"a", b"/a?b=c"),
    b"GET /../a//b/%2e%2e": (b"", b"a", b"/../a//b/%2e%2e"),
    b"GET http://b:81/x?y": (b"http", b"b:81", b"/x?y"),
    b"GET HTTPS://b/x": (b"https", b"b", b"/x"),
    b"GET http://b": (b"http", b"b", b"/"),
    b"GET http://b?q=/": (b"http", b"b", b"/?q=/"),
    b"OPTIONS *": (b"", b"a", b"*"),
    b"OPTIONS http://b": (b"http", b"b", b"*"),
    b"OPTIONS http://b/": (b"http", b"b", b"/"),
    b"CONNECT b:443": (b"", b"b:443", b""),
    b"CONNECT [::1]:443": (b"", b"[::1]:443", b""),
}


@pytest.mark.parametrize(("line", "found"), TARGETS.items())
def test_target_forms_of_rfc_9112(line: bytes, found: tuple[bytes, bytes, bytes]) -> None:
    """A host in the target counts, Host is ignored then (section 3.2.2); the path is kept as it was sent."""
    got = head(line + b" HTTP/1.1\r\nHost: a\r\n\r\n")

    assert (got.scheme, got.authority, got.path) == (found[0] or b"http", found[1], found[2])


def test_scheme_is_the_connections_when_the_target_has_none() -> None:
    """Behind TLS a path is https."""
    events = Http1Server(Limits(), b"https").receive(GET)
    assert isinstance(events[0], RequestHead)
    assert events[0].scheme == b"https"


HOP = {
    b"Connection: x-foo\r\nX-Foo: 1\r\nX-Bar: 2\r\n": [field(b"X-Bar", b"2")],
    b"Connection: close, X-FOO\r\nx-foo: 1\r\n": [],
    b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n": [],
    b"TE: gzip\r\n": [],
    b"TE: trailers\r\n": [field(b"TE", b"trailers")],
    b"Connection: te\r\nTE: trailers\r\n": [field(b"TE", b"trailers")],
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n": [],
    b"Connection: content-length\r\nContent-Length: 0\r\n": [field(b"Content-Length", b"0")],
    b"Connection: host\r\nAccept: a\r\n": [field(b"Accept", b"a")],
    b"Connection: authorization\r\nAuthorization: b\r\n": [field(b"Authorization", b"b")],
    b"Connection:\r\nConnection: ,, ,\r\n": [],
}


@pytest.mark.parametrize(("fields", "kept"), HOP.items())
def test_hop_by_hop_fields_go_no_further(fields: bytes, kept: list[tuple[bytes, bytes, bytes]]) -> None:
    """And a Connection field cannot take away what frames or authorises the message."""
    got = head(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")

    assert (got.headers, got.protocol) == (kept, b"")


def test_pipelined_requests_come_one_by_one() -> None:
    """The next head is told when the response before it is over."""
    play = serve(GET * 3)
    for number in (1, 2, 3):
        play << (lambda e, n=number: isinstance(e, RequestHead) and e.stream == n)
        play.done()
        assert play.codec.held() == len(GET) * (3 - number)
        play >> call("send_response", number, 204, b"", [], True) << b"HTTP/1.1 204 No Content\r\n\r\n"
        play >> b""
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, False)


def test_pipeline_is_bounded() -> None:
    """What is sent ahead of a response is held up to a limit only."""
    server = Http1Server(Limits(pipeline_bytes=100))
    server.receive(GET)
    events = server.receive(GET * 5)

    assert [e.counter for e in events if isinstance(e, Failure)] == ["http1_pipeline_bytes"]
    assert server.closing


def test_empty_lines_before_a_request_are_skipped() -> None:
    """Old clients send CRLF after a POST (RFC 9112, section 2.2)."""
    play = serve(b"\r", b"\n\r\n\r\n" + GET)
    play << RequestHead


def test_body_by_length_ends_with_its_last_byte() -> None:
    """The end is told with the data."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    play << RequestHead(1, b"POST", b"http", b"a", b"/", [field(b"Content-Length", b"5")], False)
    play << Data(1, b"he", False)
    play >> b"lloGET / HT" << Data(1, b"llo", True)
    play.done()
    assert play.codec.held() == len(b"GET / HT")


def test_request_with_length_zero_has_no_body() -> None:
    """`end` is told with the head."""
    assert head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").end


def test_chunked_body_with_trailers_arrives_and_its_end_is_the_trailers() -> None:
    """Framing fields among trailers are dropped (RFC 9110, section 6.5.1)."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n")
    play << RequestHead(1, b"POST", b"http", b"a", b"/", [], False) << Data(1, b"abc", False)
    play >> b"0A\r\n0123456789\r\n000;z\r\nX-T: 1\r\nContent-Length: 5\r\nHost: b\r\nTransfer-Encoding: x\r\n\r\n"
    play << Data(1, b"0123456789", False) << Trailers(1, [field(b"X-T", b"1")])
    play.done()


def test_only_framing_trailers_are_as_none() -> None:
    """The end comes with the last data then."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: b\r\n\r\n")
    play << RequestHead << Data(1, b"a", True)
    play.done()


def test_expect_continue_is_answered_when_the_driver_says_so() -> None:
    """The field passes on; 100 goes out before the final head."""
    play = serve(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    play << (lambda e: e.headers[0] == field(b"Expect", b"100-continue") and not e.end)
    play >> call("send_response", 1, 100, b"", [], False) << b"HTTP/1.1 100 Continue\r\n\r\n"
    play >> b"x" << Data(1, b"x", True)
    play >> call("send_response", 1, 201, b"", [], True) << b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
    play.done()


def test_refused_expectation_closes_since_the_body_may_follow_or_not() -> None:
    """RFC 9110, section 10.1.1: with a final status instead of 100 the connection cannot go on."""
    play = serve(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, 417, b"", [], True)
    play << b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert (play.codec.closing, play.codec.active) == (True, 0)
    assert play.codec.receive(b"x" + GET) == []


def test_informational_responses_are_not_for_http_1_0() -> None:
    """RFC 9110, section 15.2; early hints go to the others, without framing."""
    link = [field(b"Link", b"</x>"), field(b"Content-Length", b"3"), field(b"Connection", b"x")]
    play = serve(GET)
    play << RequestHead
    play >> call("send_response", 1, 103, b"", link, False) << b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    play = serve(b"GET / HTTP/1.0\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, 103, b"", link, False)
    play.done()


# method, status, fields, end -> head as written, and the body bytes "ok" as written
FRAMING = {
    "length": (b"GET", 200, LENGTH2, False, b"Content-Length: 2\r\n\r\n", b"ok"),
    "chunked without length": (b"GET", 200, [], False, b"transfer-encoding: chunked\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"),
    "no body": (b"GET", 200, [], True, b"content-length: 0\r\n\r\n", b""),
    "HEAD keeps the length": (b"HEAD", 200, LENGTH2, True, b"Content-Length: 2\r\n\r\n", b""),
    "HEAD body is dropped": (b"HEAD", 200, LENGTH2, False, b"Content-Length: 2\r\n\r\n", b""),
    "HEAD without length": (b"HEAD", 200, [], False, b"\r\n", b""),
    "204 has no length": (b"GET", 204, LENGTH2, True, b"\r\n", b""),
    "204 has no body": (b"GET", 204, [], False, b"\r\n", b""),
    "304 keeps the length": (b"GET", 304, LENGTH2, True, b"Content-Length: 2\r\n\r\n", b""),
    "304 has no body": (b"GET", 304, [], False, b"\r\n", b""),
    "own framing fields are ours": (
        b"GET",
        200,
        [field(b"Transfer-Encoding", b"gzip"), field(b"Connection", b"close"), field(b"Host", b"x")],
        True,
        b"content-length: 0\r\n\r\n",
        b"",
    ),
}


@pytest.mark.parametrize(("method", "status", "fields", "end", "tail", "body"), FRAMING.values(), ids=FRAMING.keys())
def test_response_is_framed_as_rfc_9112_says(  # noqa: PLR0913, PLR0917 - a table's row
    method: bytes, status: int, fields: list[tuple[bytes, bytes, bytes]], end: bool, tail: bytes, body: bytes
) -> None:
    """And the connection stays usable after each."""
    play = serve(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, status, b"R", fields, end)
    play << b"HTTP/1.1 %d R\r\n" % status + tail
    if not end:
        play >> call("send_data", 1, b"ok", True)
        if body:
            play << body
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, False)


def test_chunks_and_trailers_are_written_as_they_come() -> None:
    """Empty pieces are no chunks: an empty chunk would end the body."""
    play = serve(GET)
    play << RequestHead
    play >> call("send_response", 1, 200, b"Fine", [], False)
    play << b"HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\n\r\n"
    play >> call("send_data", 1, b"", False)
    play >> call("send_data", 1, b"x" * 26, False) << b"1a\r\n" + b"x" * 26 + b"\r\n"
    play >> call("send_trailers", 1, [field(b"Grpc-Status", b"0"), field(b"Content-Length", b"7")])
    play << b"0\r\nGrpc-Status: 0\r\n\r\n"
    play.done()
    assert play.codec.active == 0


def test_trailers_after_a_length_are_left_out() -> None:
    """There is no place for them."""
    play = serve(GET)
    play << RequestHead
    play >> call("send_response", 1, 200, b"", LENGTH2, False) << bytes
    play >> call("send_data", 1, b"ok", False) << b"ok"
    play >> call("send_trailers", 1, [field(b"x", b"y")])
    play.done()
    assert play.codec.active == 0


def test_response_shorter_than_its_length_ends_the_connection() -> None:
    """The client must see that something is missing."""
    play = serve(GET)
    play << RequestHead
    play >> call("send_response", 1, 200, b"", LENGTH2, False) << bytes
    play >> call("send_data", 1, b"o", True) << b"o"
    assert (play.codec.closing, play.codec.active) == (True, 0)


def test_response_longer_than_its_length_is_the_drivers_mistake() -> None:
    """It would be read as the next response."""
    server = Http1Server(Limits())
    server.receive(GET)
    server.send_response(1, 200, b"", LENGTH2, False)
    with pytest.raises(MisuseError, match="Content-Length"):
        server.send_data(1, b"long", True)


def test_http_1_0_closes_unless_it_asked_to_stay() -> None:
    """And has no chunks: without a length the end of the connection is the end of the body."""
    play = serve(b"GET / HTTP/1.0\r\n\r\n")
    play << RequestHead(1, b"GET", b"http", b"", b"/", [], True, 10)
    play >> call("send_response", 1, 200, b"", LENGTH2, False)
    play << b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\n"
    play >> call("send_data", 1, b"ok", True) << b"ok"
    assert (play.codec.closing, play.codec.active) == (True, 0)

    play = serve(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, 200, b"", LENGTH2, False)
    play << b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: keep-alive\r\n\r\n"
    play >> call("send_data", 1, b"ok", True) << b"ok"
    play >> b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" << RequestHead
    play >> call("send_response", 2, 200, b"", [], False) << b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    play >> call("send_data", 2, b"ok", True) << b"ok"
    play.done()
    assert (play.codec.closing, play.codec.active) == (True, 0)


@pytest.mark.parametrize("value", [b"close", b"CLOSE", b"x, close", b"keep-alive, close"])
def test_connection_close_is_heard(value: bytes) -> None:
    """The response says so, too, and nothing more is read."""
    play = serve(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + value + b"\r\n\r\n" + GET)
    play << RequestHead
    play >> call("send_response", 1, 204, b"", [], True) << b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    play >> b""
    play.done()
    assert (play.codec.closing, play.codec.active, play.codec.held()) == (True, 0, 0)


def test_goaway_makes_the_current_response_the_last() -> None:
    """A graceful end: it is announced, finished, and then the connection may close."""
    play = serve(GET)
    play << RequestHead
    play >> call("goaway")
    assert (play.codec.closing, play.codec.active) == (True, 1)
    play >> call("send_response", 1, 200, b"", [], True)
    play << b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert play.codec.active == 0
    assert play.codec.receive(GET) == []


UPLOADS = {
    "length": (b"Content-Length: 6\r\n\r\n", b"abc", b"def"),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc", b"\r\n3;x=1\r\ndef\r\n0\r\nX-T: 1\r\n\r\n"),
}


@pytest.mark.parametrize("body", [b"", b"no"], ids=["bodyless", "body"])
@pytest.mark.parametrize(("fields", "first", "rest"), UPLOADS.values(), ids=UPLOADS)
def test_rest_of_an_upload_is_read_after_its_answer(fields: bytes, first: bytes, rest: bytes, body: bytes) -> None:
    """The next request is where the body ends, so the connection can be kept (RFC 9112, section 9.3)."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + first)
    play << RequestHead << Data(1, b"abc", False)
    play >> call("send_response", 1, 413, b"", LENGTH2 if body else [], not body)
    play << (
        b"HTTP/1.1 413 Content Too Large\r\n" + (b"Content-Length: 2\r\n\r\n" if body else b"content-length: 0\r\n\r\n")
    )
    if body:
        play >> call("send_data", 1, body, True) << body
    assert (play.codec.active, play.codec.closing) == (1, False)
    events = play.codec.receive(rest + GET)
    assert [event.stream for event in events if isinstance(event, RequestHead)] == [2]
    play >> call("send_response", 2, 200, b"", [], True) << b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, False)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Content-Length: 100000000", 413),
        (b"Content-Length: 6\r\nExpect: 100-continue", 417),
        (b"Content-Length: 6", 408),
        (b"Content-Length: 6\r\nConnection: close", 413),
    ],
    ids=["too much", "not asked to go on", "too slow", "the last"],
)
@pytest.mark.parametrize("body", [False, True], ids=["bodyless", "body"])
def test_connection_that_ends_with_an_early_answer_says_so(fields: bytes, status: int, body: bool) -> None:
    """A body that is too long, or may never come, or is late, is not waited for."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, status, b"", LENGTH2 if body else [], not body)
    play << (lambda out: b"\r\nconnection: close\r\n\r\n" in out)
    if body:
        play >> call("send_data", 1, b"no", True) << b"no"
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, True)


def test_upload_that_was_asked_to_go_on_is_read_after_its_answer() -> None:
    """A client that saw 100 sends its body, whatever comes then."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, 100, b"", [], False) << b"HTTP/1.1 100 Continue\r\n\r\n"
    play >> call("send_response", 1, 413, b"", [], True) << (lambda out: b"connection: close" not in out)
    assert (play.codec.active, play.codec.closing) == (1, False)


def test_end_inside_an_upload_that_was_answered_is_the_end() -> None:
    """Nobody is left to be told."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, 413, b"", [], True) << bytes
    play.codec.receive_eof()
    assert (play.codec.active, play.codec.closing) == (0, True)


@pytest.mark.parametrize("answered", [False, True], ids=["before the answer", "inside it"])
def test_end_while_an_answer_is_due_resets_the_request(answered: bool) -> None:
    """Go, hyper and Envoy take it for a client that is gone; who does not is told long after."""
    play = serve(GET)
    play << RequestHead
    if answered:
        play >> call("send_response", 1, 200, b"", LENGTH2, False) << bytes
    play >> EOF << (lambda e: isinstance(e, Reset) and e.code == codes.CONNECT_ERROR)
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, True)


@pytest.mark.parametrize(
    "last",
    [
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=["1.0", "1.0 kept alive", "close"],
)
def test_client_that_said_it_ends_still_gets_its_answer(last: bytes) -> None:
    """`printf ... | nc -N` sends and shuts down; then it waits."""
    play = serve(last)
    play << RequestHead
    play >> EOF
    play >> call("send_response", 1, 200, b"", LENGTH2, False) << bytes
    play >> call("send_data", 1, b"ok", True) << b"ok"
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, True)


def test_requests_sent_ahead_of_the_end_are_answered_but_for_the_last() -> None:
    """The end is noticed where it stands, after everything the client asked before (as in Go)."""
    play = serve(GET * 2)
    play << RequestHead
    play >> EOF
    play >> call("send_response", 1, 200, b"", [], True) << b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    play >> b"" << RequestHead << (lambda e: isinstance(e, Reset) and e.stream == 2)
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, True)


def test_end_inside_a_body_resets_the_request() -> None:
    """A cut body is no body."""
    for raw in (b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"):
        play = serve(b"POST / HTTP/1.1\r\nHost: a\r\n" + raw)
        play << RequestHead << Data(1, b"ab", False)
        play >> EOF << (lambda e: isinstance(e, Reset) and e.code == codes.CONNECT_ERROR)
        play.done()
        assert (play.codec.active, play.codec.closing) == (0, True)


def test_end_between_requests_is_just_the_end() -> None:
    """Nobody is told anything, also not inside a head."""
    for raw in (b"", b"GET / HT", b"\r\n"):
        play = serve(raw)
        play >> EOF
        play.done()
        assert (play.codec.active, play.codec.closing) == (0, True)


def test_websocket_upgrade_becomes_a_tunnel_both_ways() -> None:
    """What came ahead of the 101 goes through, either side may end first."""
    play = serve(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\nahead")
    play << RequestHead(1, b"GET", b"http", b"a", b"/ws", [], False, 11, b"websocket")
    play >> call("send_response", 1, 101, b"", [field(b"Sec-WebSocket-Accept", b"k")], False)
    play << (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nSec-WebSocket-Accept: k\r\n\r\n"
    )
    play >> b"" << Data(1, b"ahead", False)
    play >> b"\x81\x00" << Data(1, b"\x81\x00", False)
    play >> call("send_data", 1, b"down", False) << b"down"
    play >> EOF << Data(1, b"", True)
    assert (play.codec.active, play.codec.write_eof) == (1, False)
    play >> call("send_data", 1, b"last", True) << b"last"
    play.done()
    assert (play.codec.active, play.codec.write_eof, play.codec.closing) == (0, True, True)


def test_refused_upgrade_is_a_plain_response() -> None:
    """The connection goes on as HTTP."""
    play = serve(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    play << RequestHead
    play >> call("send_response", 1, 403, b"", [], True) << b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
    play >> GET << RequestHead
    play.done()


def test_upgrade_with_a_body_or_without_connection_is_ignored() -> None:
    """RFC 9110, section 7.8: it may be."""
    for fields in (
        b"Upgrade: websocket\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Connection: upgrade\r\n",
        b"Connection: upgrade\r\nUpgrade: ,\r\n",
    ):
        assert head(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n").protocol == b""


def test_switching_without_having_been_asked_is_the_drivers_mistake() -> None:
    """A client would take the 101 for a broken response."""
    server = Http1Server(Limits())
    server.receive(GET)
    with pytest.raises(MisuseError, match="101"):
        server.send_response(1, 101, b"", [], False)


def test_connect_becomes_a_tunnel_without_framing() -> None:
    """A 2xx to CONNECT has neither length nor chunks (RFC 9110, section 9.3.6)."""
    play = serve(b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n\x16\x03")
    play << RequestHead(1, b"CONNECT", b"http", b"b:443", b"", [], False)
    play >> call("send_response", 1, 200, b"", LENGTH2, False) << b"HTTP/1.1 200 OK\r\n\r\n"
    play >> b"" << Data(1, b"\x16\x03", False)
    play >> call("send_data", 1, b"x", True) << b"x"
    assert (play.codec.write_eof, play.codec.active) == (True, 1)
    play >> EOF << Data(1, b"", True)
    assert play.codec.active == 0


def test_refused_connect_closes_since_what_follows_may_be_meant_for_the_tunnel() -> None:
    """Else tunnel bytes sent in hope would be read as requests."""
    play = serve(b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n" + GET)
    play << RequestHead
    play >> call("send_response", 1, 403, b"", [], True)
    play << b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    play >> b""
    play.done()
    assert (play.codec.active, play.codec.closing, play.codec.held()) == (0, True, 0)


def test_reset_ends_the_connection_without_a_word() -> None:
    """HTTP/1 has no other way to give a message up."""
    play = serve(GET)
    play << RequestHead
    play >> call("reset", 1, codes.CANCEL)
    play >> call("send_response", 1, 200, b"", [], True)
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, True)


def test_commands_for_a_stream_that_is_over_are_ignored() -> None:
    """A late answer must not reach the next request."""
    play = serve(GET)
    play << RequestHead
    play >> call("send_response", 1, 204, b"", [], True) << bytes
    play >> GET << RequestHead
    play >> call("send_response", 1, 200, b"", [], False)
    play >> call("send_data", 1, b"x", True)
    play >> call("send_trailers", 1, [])
    play >> call("reset", 1, 0)
    play.done()
    assert (play.codec.active, play.codec.closing) == (1, False)


def test_unknown_status_and_reason_pass() -> None:
    """They are the app's to choose, 999 included."""
    for status, reason, line in ((299, b"", b"HTTP/1.1 299 \r\n"), (999, b"Denied", b"HTTP/1.1 999 Denied\r\n")):
        play = serve(GET)
        play << RequestHead
        play >> call("send_response", 1, status, reason, [], True) << line + b"content-length: 0\r\n\r\n"


def test_heads_up_to_the_limits_are_taken() -> None:
    """The bound itself is allowed."""
    server = Http1Server(Limits(header_count=3, header_bytes=100))
    raw = b"GET /123456789 HTTP/1.1\r\nHost: a\r\na: b\r\nc: "
    raw += b"d" * (100 - len(raw) - 4) + b"\r\n\r\n"
    events: list[Event] = server.receive(raw)

    assert len(raw) == 100
    assert [type(e) for e in events] == [RequestHead]


def test_limits_count_what_real_clients_send() -> None:
    """A thousand lines and a target of almost the whole 64 KiB (signed URLs, federated queries) are taken by default."""
    lines = b"".join(b"x-%d: %d\r\n" % (n, n) for n in range(999))
    assert len(head(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n").headers) == 999
    assert len(head(b"GET /" + b"a" * 65_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n").path) == 65_001


@pytest.mark.parametrize(
    ("raw", "status", "setting"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 1000 + b"\r\n",
            b"431",
            b"1000 header lines (TULLE_MAX_HEADER_COUNT)",
        ),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 65_536, b"431", b"65536 bytes (TULLE_MAX_HEADER_BYTES)"),
        (b"GET /" + b"y" * 65_536, b"414", b"65536 bytes (TULLE_MAX_HEADER_BYTES)"),
    ],
    ids=["lines", "bytes", "target"],
)
def test_answer_to_what_is_too_much_names_the_limit_and_its_setting(raw: bytes, status: bytes, setting: bytes) -> None:
    """It may be no attack at all, and whoever reads the answer knows what to do."""
    server = Http1Server(Limits())
    server.receive(raw)
    told = server.output()

    assert told.startswith(b"HTTP/1.1 " + status)
    body = told.partition(b"\r\n\r\n")[2]
    assert setting in body
    assert b"content-length: %d\r\n" % len(body) in told


def test_names_in_connection_cost_no_walk_each() -> None:
    """Thousands of names beside a thousand fields are looked up, not searched for."""
    names = b",".join(b"%x" % n for n in range(12_000))
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + names + b"\r\n" + b"zz: \r\n" * 990 + b"\r\n"
    began = time.process_time()
    head(raw)

    assert time.process_time() - began < 0.5


def test_part_of_a_body_is_not_held() -> None:
    """`held` is what waits for an answer; a chunk size cut short waits for its other half."""
    play = serve(b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n1")
    assert play.codec.held() == 0
