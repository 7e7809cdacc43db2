"""Conversations with the HTTP/1 client codec, told as plays."""

from __future__ import annotations

import pytest

from dataplane.protocol import codes
from dataplane.protocol.events import Data, Failure, RequestHead, Reset, ResponseHead, Trailers, Upgraded
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits
from tests.support.playbook import EOF, Playbook, call

LENGTH2 = (b"content-length", b"2", b"Content-Length")


def head(method: bytes = b"GET", *fields: tuple[bytes, bytes, bytes], protocol: bytes = b"") -> RequestHead:
    path = b"" if method == b"CONNECT" else b"/x"
    return RequestHead(0, method, b"http", b"a:80", path, list(fields), True, 11, protocol)


def ask(
    method: bytes = b"GET", *fields: tuple[bytes, bytes, bytes], protocol: bytes = b"", end: bool = True
) -> Playbook:
    """A client whose request is out."""
    play = Playbook(Http1Client(Limits()))
    play >> call("send_request", head(method, *fields, protocol=protocol), end) << bytes
    return play


REQUESTS = {
    "GET": (b"GET", [], True, b"GET /x HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    "POST without body": (b"POST", [], True, b"POST /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n\r\n"),
    "POST of known length": (b"POST", [LENGTH2], False, b"POST /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 2\r\n\r\n"),
    "POST of unknown length": (
        b"POST",
        [],
        False,
        b"POST /x HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "case is kept, own fields are ours": (
        b"GET",
        [(b"x-a", b"1", b"X-a"), (b"host", b"b", b"Host"), (b"connection", b"x", b"Connection")],
        True,
        b"GET /x HTTP/1.1\r\nHost: a:80\r\nX-a: 1\r\n\r\n",
    ),
    "CONNECT": (b"CONNECT", [LENGTH2], False, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "fields", "end", "raw"), REQUESTS.values(), ids=REQUESTS.keys())
def test_request_is_written_with_its_framing(
    method: bytes, fields: list[tuple[bytes, bytes, bytes]], end: bool, raw: bytes
) -> None:
    """Host first, then the fields as they are, then what frames the body."""
    play = Playbook(Http1Client(Limits()))
    play >> call("send_request", head(method, *fields), end) << raw
    play.done()
    assert play.returned == 1


def test_upgrade_tells_no_length() -> None:
    """A server that does not switch would wait for the body and take the next request for it."""
    play = Playbook(Http1Client(Limits()))
    play >> call("send_request", head(b"GET", LENGTH2, protocol=b"websocket"), False)
    play << b"GET /x HTTP/1.1\r\nHost: a:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    play >> call("send_data", 1, b"ahead", False)
    play.done()


def test_response_leaves_the_connection_ready_for_the_next_request() -> None:
    """One at a time, any number after each other."""
    play = ask()
    assert not play.codec.can_open
    play >> b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    play << ResponseHead(1, 200, b"OK", [LENGTH2], False) << Data(1, b"ok", True)
    assert play.codec.can_open
    play >> call("send_request", head(), True) << bytes
    play >> b"HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n" << (lambda e: (e.stream, e.status, e.end) == (2, 404, True))
    play.done()


STATUS_LINES = {
    b"HTTP/1.1 200 OK": (200, b"OK", 11),
    b"HTTP/1.1 200 ": (200, b"", 11),
    b"HTTP/1.1 200": (200, b"", 11),
    b"HTTP/1.0 404 Not \xfcberall": (404, b"Not \xfcberall", 10),
    b"HTTP/1.1 999 Request denied": (999, b"Request denied", 11),
}


@pytest.mark.parametrize(("line", "found"), STATUS_LINES.items())
def test_status_lines_in_use_are_read(line: bytes, found: tuple[int, bytes, int]) -> None:
    """Reason phrases may be anything, or missing with their space."""
    play = ask()
    play >> line + b"\r\ncontent-length: 0\r\n\r\n"
    play << (lambda e: (e.status, e.reason, e.version) == found)


BROKEN = {
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", "http1_version"),
    "HTTP/2": (b"HTTP/2 200 OK\r\n\r\n", "http1_version"),
    "HTTP/0.9 body": (b"<html>\n", "http1_version"),
    "two digits": (b"HTTP/1.1 20\r\n\r\n", "http1_status_line"),
    "four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "http1_status_line"),
    "below 100": (b"HTTP/1.1 099 X\r\n\r\n", "http1_status_line"),
    "NUL in phrase": (b"HTTP/1.1 200 \0\r\n\r\n", "http1_status_line"),
    "bare LF": (b"HTTP/1.1 200 OK\nx: y\n\n", "http1_status_line"),
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "http1_smuggling",
    ),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "http1_content_length"),
    "odd length": (b"HTTP/1.1 200 OK\r\ncontent-length: 1,1\r\n\r\n", "http1_content_length"),
    "unknown coding": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "http1_transfer_encoding"),
    "chunked in 1.0": (b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "http1_transfer_encoding"),
    "folded": (b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n", "http1_obs_fold"),
    "space before colon": (b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "http1_field_name"),
    "bare CR in value": (b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n", "http1_field_value"),
    "too many fields": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1001 + b"\r\n", "http1_header_count"),
    "too long": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 65536, "http1_header_bytes"),
    "unasked 101": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "http1_upgrade"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\n", "http1_chunk_size"),
}


@pytest.mark.parametrize(("raw", "counter"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_response_is_refused(raw: bytes, counter: str) -> None:
    """By one Failure; a client has nothing to answer."""
    play = ask()
    events = play.codec.receive(raw)

    assert [e.counter for e in events if isinstance(e, Failure)] == [counter]
    assert not [e for e in events if isinstance(e, ResponseHead) and e.end]
    assert (play.codec.output(), play.codec.active, play.codec.can_open) == (b"", 0, False)
    assert play.codec.receive(b"HTTP/1.1 200 OK\r\n\r\n") == []


def test_bytes_nobody_asked_for_end_the_connection() -> None:
    """A second response would answer the next client's request."""
    client = Http1Client(Limits())
    assert [e.counter for e in client.receive(b"HTTP/1.1 200 OK\r\n\r\n") if isinstance(e, Failure)] == [
        "http1_unsolicited"
    ]
    play = ask()
    play >> b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    play << (lambda e: e.status == 204 and e.end) << (lambda e: e.counter == "http1_unsolicited")
    play.done()


BODYLESS = {
    "HEAD with length": (b"HEAD", b"200 OK", b"content-length: 2\r\n"),
    "HEAD with chunked": (b"HEAD", b"200 OK", b"transfer-encoding: chunked\r\n"),
    "HEAD with nothing": (b"HEAD", b"200 OK", b""),
    "204": (b"GET", b"204 No Content", b""),
    "204 with length": (b"GET", b"204 No Content", b"content-length: 2\r\n"),
    "304 with length": (b"GET", b"304 Not Modified", b"content-length: 2\r\n"),
    "304 with chunked": (b"GET", b"304 Not Modified", b"transfer-encoding: chunked\r\n"),
    "length 0": (b"GET", b"200 OK", b"content-length: 0\r\n"),
}


@pytest.mark.parametrize(("method", "status", "fields"), BODYLESS.values(), ids=BODYLESS.keys())
def test_responses_without_body_end_with_their_head(method: bytes, status: bytes, fields: bytes) -> None:
    """Whatever their fields say; the connection is free again."""
    play = ask(method)
    play >> b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n"
    play << (lambda e: isinstance(e, ResponseHead) and e.end)
    play.done()
    assert play.codec.can_open


def test_body_without_framing_ends_with_the_connection() -> None:
    """The oldest way; the connection is used up."""
    play = ask()
    play >> b"HTTP/1.1 200 OK\r\n\r\nab" << (lambda e: not e.end) << Data(1, b"ab", False)
    assert play.codec.closing
    play >> b"cd" << Data(1, b"cd", False)
    play >> EOF << Data(1, b"", True)
    play.done()
    assert (play.codec.active, play.codec.can_open) == (0, False)


def test_chunked_response_with_trailers() -> None:
    """The trailers end it."""
    play = ask()
    play >> b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n"
    play << ResponseHead(1, 200, b"OK", [], False) << Data(1, b"ab", False) << Trailers(1, [(b"x-t", b"1", b"X-T")])
    play.done()
    assert play.codec.can_open


def test_end_inside_a_response_resets_it() -> None:
    """Of a length or of chunks something is missing; a head is, too."""
    for raw, told in (
        (b"", []),
        (b"HTTP/1.1 20", []),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", [ResponseHead, Data]),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", [ResponseHead, Data]),
    ):
        play = ask()
        play >> raw
        for kind in told:
            play << kind
        play >> EOF << (lambda e: isinstance(e, Reset) and e.code == codes.CONNECT_ERROR)
        play.done()
        assert (play.codec.active, play.codec.closing) == (0, True)


def test_end_of_an_idle_connection_just_closes_it() -> None:
    """Servers close idle connections at any time."""
    play = ask()
    play >> b"HTTP/1.1 204 No Content\r\n\r\n" << ResponseHead
    play >> EOF
    play.done()
    assert (play.codec.closing, play.codec.can_open) == (True, False)


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b"connection: x, CLOSE\r\n"])
def test_connection_close_of_the_server_is_heard(fields: bytes) -> None:
    """The response is whole, the connection is not used again."""
    play = ask()
    play >> b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + fields + b"\r\n" << (lambda e: e.end)
    assert (play.codec.closing, play.codec.can_open, play.codec.active) == (True, False, 0)


def test_http_1_0_server_closes_unless_it_says_otherwise() -> None:
    """RFC 9112, section 9.3."""
    for fields, reusable in ((b"", False), (b"connection: keep-alive\r\n", True)):
        play = ask()
        play >> b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n" + fields + b"\r\n" << ResponseHead
        assert play.codec.can_open is reusable


def test_informational_responses_come_before_the_final_one() -> None:
    """Any number of them."""
    play = ask(b"POST", end=False)
    play >> b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    play << ResponseHead(1, 100, b"Continue", [], False)
    play << ResponseHead(1, 103, b"Early Hints", [(b"link", b"x", b"link")], False)
    play >> call("send_data", 1, b"ab", False) << b"2\r\nab\r\n"
    play >> call("send_trailers", 1, [(b"t", b"u", b"T")]) << b"0\r\nT: u\r\n\r\n"
    play >> b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" << (lambda e: e.end)
    play.done()
    assert play.codec.can_open


def test_upgrade_becomes_a_tunnel_both_ways() -> None:
    """Bytes behind the 101 are the tunnel's already."""
    play = ask(b"GET", protocol=b"websocket", end=False)
    play >> b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\nhi"
    play << ResponseHead(1, 101, b"Switching Protocols", [(b"x", b"y", b"X")], False)
    play << Upgraded(1, b"websocket") << Data(1, b"hi", False)
    play >> call("send_data", 1, b"up", False) << b"up"
    play >> call("send_data", 1, b"", True)
    assert (play.codec.write_eof, play.codec.active) == (True, 1)
    play >> EOF << Data(1, b"", True)
    play.done()
    assert (play.codec.active, play.codec.closing) == (0, True)


def test_server_that_does_not_switch_answers_as_ever() -> None:
    """And the connection can be used again."""
    play = ask(b"GET", protocol=b"websocket", end=False)
    play >> b"HTTP/1.1 426 Upgrade Required\r\nupgrade: x\r\ncontent-length: 2\r\n\r\nno"
    play << (lambda e: e.status == 426 and not e.end) << Data(1, b"no", True)
    play.done()
    assert play.codec.can_open


def test_connect_answered_by_2xx_is_a_tunnel_whatever_its_fields_say() -> None:
    """RFC 9112, section 6.3: no length, no chunks count."""
    play = ask(b"CONNECT", end=False)
    play >> b"HTTP/1.1 200 Connected\r\ncontent-length: 5\r\n\r\nabcdefgh"
    play << (lambda e: e.status == 200 and not e.end) << Upgraded(1, b"") << Data(1, b"abcdefgh", False)
    play >> call("send_data", 1, b"x", False) << b"x"
    play >> EOF << Data(1, b"", True)
    assert play.codec.active == 1
    play >> call("send_data", 1, b"", True)
    assert play.codec.active == 0


def test_refused_connect_has_a_body_of_its_own() -> None:
    """Only 2xx opens the tunnel."""
    play = ask(b"CONNECT", end=False)
    (
        play
        >> b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"
        << (lambda e: e.status == 403)
        << Data(1, b"no", True)
    )
    play.done()
    assert play.codec.can_open


def test_answer_before_the_body_was_sent_ends_the_connection() -> None:
    """The response is whole; what would still be sent has no meaning."""
    play = ask(b"POST", end=False)
    play >> b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n" << (lambda e: e.end)
    play >> call("send_data", 1, b"late", True)
    play.done()
    assert (play.codec.active, play.codec.closing, play.codec.can_open) == (0, True, False)


def test_body_shorter_than_its_length_ends_the_connection() -> None:
    """The server must not wait for ever, nor read on into another request."""
    play = ask(b"POST", LENGTH2, end=False)
    play >> call("send_data", 1, b"o", True) << b"o"
    assert (play.codec.active, play.codec.closing) == (0, True)


def test_request_while_another_is_out_is_the_drivers_mistake() -> None:
    """Nothing is pipelined to servers."""
    play = ask()
    with pytest.raises(MisuseError):
        play.codec.send_request(head(), True)
    odd = head(b"POST", (b"content-length", b"x", b"content-length"))
    with pytest.raises(MisuseError, match="Content-Length"):
        Http1Client(Limits()).send_request(odd, False)


def test_goaway_and_reset_end_it() -> None:
    """An idle connection at once, a busy one after its response, or without."""
    idle = Http1Client(Limits())
    idle.shutdown()
    busy = ask().codec
    busy.goaway()
    given_up = ask().codec
    given_up.reset(1, codes.CANCEL)

    assert (idle.closing, idle.active, idle.can_open) == (True, 0, False)
    assert (busy.closing, busy.active) == (True, 1)
    assert (given_up.closing, given_up.active) == (True, 0)
    assert len(busy.receive(b"HTTP/1.1 204 X\r\n\r\n")) == 1
    assert busy.active == 0
