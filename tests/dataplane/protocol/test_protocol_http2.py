"""The HTTP/2 codecs against each other, against h2 as oracle, and against peers that break the rules."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.protocol import codes
from dataplane.protocol.events import (
    Data,
    Event,
    Failure,
    Goaway,
    Pong,
    RequestHead,
    Reset,
    ResponseHead,
    SettingsChanged,
    Trailers,
)
from dataplane.protocol.hpack.encoder import Encoder
from dataplane.protocol.http2 import frames
from dataplane.protocol.http2 import settings as http2_settings
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.frames import PREFACE
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.codecs import exchange, field, head, pair

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]


def section(fields: list[tuple[bytes, bytes]]) -> bytes:
    encoder = Encoder(Limits())
    encoder.begin(0)
    for name, value in fields:
        encoder.field(name, value, False)
    return bytes(encoder.finish()[: encoder.written])


def raw_headers(
    stream: int, fields: list[tuple[bytes, bytes]], flags: int = frames.END_HEADERS | frames.END_STREAM
) -> bytes:
    block = b"".join(b"\x00" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)
    return frames.header(len(block), frames.HEADERS, flags, stream) + block


def greeted() -> Http2Server:
    """A server that has seen the preface and SETTINGS."""
    server = Http2Server(Limits())
    server.receive(PREFACE + http2_settings.frame([]))
    server.output()
    return server


def test_request_and_response_pass_between_both_codecs() -> None:
    """A POST, its answer and trailers arrive as they were sent, and nothing stays open."""
    client, server = pair()
    stream = client.send_request(head(b"POST", b"/x?y", (b"x-a", b"1")), False)
    client.send_data(stream, b"hello", True)
    _, seen = exchange(client, server)
    server.send_response(stream, 103, b"", [field(b"link", b"x")], False)
    server.send_response(stream, 200, b"", [field(b"content-type", b"t")], False)
    server.send_data(stream, b"answer", False)
    server.send_trailers(stream, [field(b"grpc-status", b"0")])
    told, _ = exchange(client, server)

    request = RequestHead(1, b"POST", b"http", b"a", b"/x?y", [field(b"x-a", b"1")], False, 20)
    assert seen == [request, Data(1, b"hello", True)]
    assert told == [
        ResponseHead(1, 103, b"", [field(b"link", b"x")], False, 20),
        ResponseHead(1, 200, b"", [field(b"content-type", b"t")], False, 20),
        Data(1, b"answer", False),
        Trailers(1, [field(b"grpc-status", b"0")]),
    ]
    assert (client.active, server.active) == (0, 0)


def test_many_streams_interleave_and_all_end() -> None:
    """A hundred requests at once are each answered with their own path."""
    client, server = pair()
    for number in range(100):
        client.send_request(head(path=b"/%d" % number), True)
    assert not client.can_open
    _, seen = exchange(client, server)
    for event in reversed(seen):
        assert isinstance(event, RequestHead)
        server.send_response(event.stream, 200, b"", [field(b"x-path", event.path)], True)
    told, _ = exchange(client, server)

    assert {e.headers[0][1] for e in told if isinstance(e, ResponseHead)} == {b"/%d" % n for n in range(100)}
    assert (client.active, server.active, client.can_open) == (0, 0, True)


def test_small_pieces_of_one_read_become_one() -> None:
    """Of one stream only, up to 4 KiB, with the end of the last; every byte stays where it was."""
    client, server = pair()
    first, second = (client.send_request(head(b"POST"), False) for _ in range(2))
    exchange(client, server)
    for _ in range(10):
        client.send_data(first, b"a" * 1000, False)
    client.send_data(second, b"b", False)
    client.send_data(second, b"c", True)
    client.send_data(first, b"d", True)
    _, seen = exchange(client, server)
    told = [(e.stream, len(e.data), e.end) for e in seen if isinstance(e, Data)]

    assert told == [(1, 4000, False), (1, 4000, False), (1, 2000, False), (3, 2, True), (1, 1, True)]
    server.consumed(first, 10_001)
    assert b"".join(e.data for e in seen if isinstance(e, Data) and e.stream == 3) == b"bc"


def test_early_response_asks_the_client_to_stop() -> None:
    """An answer before the end of the body resets the stream without an error (RFC 9113, 8.1)."""
    client, server = pair()
    stream = client.send_request(head(b"POST"), False)
    exchange(client, server)
    server.send_response(stream, 413, b"", [], True)
    told, _ = exchange(client, server)

    assert told == [ResponseHead(1, 413, b"", [], True, 20), Reset(1, codes.NO_ERROR, told[1].reason)]
    client.send_data(stream, b"late", True)
    assert exchange(client, server) == ([], [])


def test_goaway_lets_open_streams_end_and_takes_back_the_rest() -> None:
    """After the second step the open request is answered and the later one is safe to retry."""
    client, server = pair()
    first = client.send_request(head(), True)
    exchange(client, server)
    server.goaway()
    second = client.send_request(head(), True)
    server.shutdown()
    told, seen = exchange(client, server)
    server.send_response(first, 200, b"", [], True)
    more, _ = exchange(client, server)

    assert [e for e in told if isinstance(e, Goaway)][-1] == Goaway(first, codes.NO_ERROR)
    assert Reset(second, codes.REFUSED_STREAM, "the server is going away") in told
    assert [e.stream for e in seen if isinstance(e, RequestHead)] == []
    assert more == [ResponseHead(first, 200, b"", [], True, 20)]
    assert client.closing
    assert server.closing
    assert server.active == 0


def test_extended_connect_is_a_tunnel_of_data() -> None:
    """WebSocket over HTTP/2 (RFC 8441): `:protocol` arrives, 200 opens, DATA goes both ways."""
    client, server = pair()
    assert client.peer_connect
    stream = client.send_request(head(b"CONNECT", b"/chat", protocol=b"websocket"), False)
    _, seen = exchange(client, server)
    server.send_response(stream, 200, b"", [], False)
    server.send_data(stream, b"down", False)
    client.send_data(stream, b"up", False)
    told, got = exchange(client, server)

    assert isinstance(seen[0], RequestHead)
    assert (seen[0].method, seen[0].path, seen[0].protocol, seen[0].end) == (b"CONNECT", b"/chat", b"websocket", False)
    assert told[-1] == Data(stream, b"down", False)
    assert got[-1] == Data(stream, b"up", False)


def test_long_header_section_is_continued_and_put_together() -> None:
    """Fields beyond one frame go by CONTINUATION and arrive whole."""
    client, server = pair()
    client.send_request(head(b"GET", b"/", (b"x-long", b"v" * 40_000)), True)
    _, seen = exchange(client, server)

    assert isinstance(seen[0], RequestHead)
    assert seen[0].headers == [field(b"x-long", b"v" * 40_000)]


def test_too_large_header_section_is_answered_431() -> None:
    """The stream is refused with its status, the connection goes on."""
    client, server = pair()
    client.send_request(head(b"GET", b"/", *[(b"x-%d" % n, b"v") for n in range(1100)]), True)
    told, seen = exchange(client, server)

    assert seen == []
    assert isinstance(told[0], ResponseHead)
    assert told[0].status == 431
    assert b"1000 header lines (TULLE_MAX_HEADER_COUNT)" in told[1].data
    client.send_request(head(), True)
    assert isinstance(exchange(client, server)[1][0], RequestHead)


def test_cookie_crumbs_are_joined() -> None:
    """The next hop may speak HTTP/1, so crumbs become one field (RFC 9113, 8.2.3)."""
    client, server = pair()
    client.send_request(head(b"GET", b"/", (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")), True)
    _, seen = exchange(client, server)

    assert isinstance(seen[0], RequestHead)
    assert seen[0].headers == [field(b"cookie", b"a=1; b=2"), field(b"x", b"y")]


def test_ping_is_answered_and_settings_are_told() -> None:
    """Our PING comes back as Pong; the server's stream limit is told."""
    client, server = Http2Client(Limits()), Http2Server(Limits(concurrent_streams=7))
    told, _ = exchange(client, server)
    client.ping(b"12345678")
    more, _ = exchange(client, server)

    assert told == [SettingsChanged(7)]
    assert more == [Pong(b"12345678")]


MALFORMED = {
    "upper case name": [*GET, (b"X-A", b"1")],
    "connection": [*GET, (b"connection", b"close")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "te other than trailers": [*GET, (b"te", b"gzip")],
    "CR LF in value": [*GET, (b"x", b"a\r\nb: c")],
    "NUL in value": [*GET, (b"x", b"a\x00b")],
    "space in name": [*GET, (b"x y", b"1")],
    "no method": GET[1:],
    "no path": [GET[0], GET[1], GET[3]],
    "empty path": [GET[0], GET[1], (b":path", b""), GET[3]],
    "path without slash": [GET[0], GET[1], (b":path", b"x"), GET[3]],
    "space in path": [GET[0], GET[1], (b":path", b"/a b"), GET[3]],
    "method twice": [GET[0], *GET],
    "unknown pseudo-field": [*GET, (b":x", b"1")],
    "pseudo-field after field": [GET[0], GET[1], (b"x", b"1"), GET[2], GET[3]],
    "status in request": [*GET, (b":status", b"200")],
    "no authority": GET[:3],
    "host differs": [*GET, (b"host", b"b")],
    "user information": [GET[0], GET[1], GET[2], (b":authority", b"u@a")],
    "two lengths": [*GET, (b"content-length", b"1"), (b"content-length", b"2")],
    "signed length": [*GET, (b"content-length", b"+1")],
    "length without body": [*GET, (b"content-length", b"5")],
    "scheme": [GET[0], (b":scheme", b"ftp"), GET[2], GET[3]],
    "connect with path": [(b":method", b"CONNECT"), (b":path", b"/"), (b":authority", b"a")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_request_resets_its_stream_only(fields: list[tuple[bytes, bytes]]) -> None:
    """Nothing of it is forwarded, and the next request is served."""
    server = greeted()
    events = server.receive(raw_headers(1, fields))

    assert [type(e) for e in events] == [Reset]
    assert events[0].stream == 1
    assert server.output() == frames.rst_stream(1, codes.PROTOCOL_ERROR)
    assert isinstance(server.receive(raw_headers(3, GET))[0], RequestHead)


FATAL = {
    "bad preface": (False, b"GET / HTTP/1.1\r\n\r\n", codes.PROTOCOL_ERROR),
    "no settings first": (False, PREFACE + frames.ping(b"12345678", 0), codes.PROTOCOL_ERROR),
    "huge frame": (True, frames.header(2**20, frames.DATA, 0, 1), codes.FRAME_SIZE_ERROR),
    "data on idle stream": (True, frames.header(1, frames.DATA, 0, 1) + b"x", codes.PROTOCOL_ERROR),
    "data on stream 0": (True, frames.header(1, frames.DATA, 0, 0) + b"x", codes.PROTOCOL_ERROR),
    "even stream": (True, raw_headers(2, GET), codes.PROTOCOL_ERROR),
    "reset of idle": (True, frames.rst_stream(1, 0), codes.PROTOCOL_ERROR),
    "short ping": (True, frames.header(4, frames.PING, 0, 0) + b"abcd", codes.FRAME_SIZE_ERROR),
    "window of nothing": (True, frames.window_update(0, 0), codes.PROTOCOL_ERROR),
    "window too far": (True, frames.window_update(0, 2**31 - 1), codes.FLOW_CONTROL_ERROR),
    "stray continuation": (True, frames.header(0, frames.CONTINUATION, 4, 1), codes.PROTOCOL_ERROR),
    "interrupted section": (True, raw_headers(1, GET, 0) + frames.ping(b"12345678", 0), codes.PROTOCOL_ERROR),
    "push promise": (True, frames.header(4, frames.PUSH_PROMISE, 4, 1) + b"\0\0\0\2", codes.PROTOCOL_ERROR),
    "bad compression": (True, frames.header(1, frames.HEADERS, 5, 1) + b"\xff", codes.COMPRESSION_ERROR),
    "bad settings": (
        True,
        http2_settings.frame([(http2_settings.INITIAL_WINDOW_SIZE, 2**31)]),
        codes.FLOW_CONTROL_ERROR,
    ),
    "cut settings": (True, frames.header(5, frames.SETTINGS, 0, 0) + b"12345", codes.FRAME_SIZE_ERROR),
    "padding too long": (True, frames.header(2, frames.HEADERS, 13, 1) + b"\x05\x00", codes.PROTOCOL_ERROR),
}


@pytest.mark.parametrize(("settled", "data", "code"), FATAL.values(), ids=FATAL.keys())
def test_broken_connection_ends_with_goaway_and_a_failure(settled: bool, data: bytes, code: int) -> None:
    """The RFC's connection errors are answered with GOAWAY and its code, once."""
    server = greeted() if settled else Http2Server(Limits())
    server.output()
    events = server.receive(data)

    assert isinstance(events[-1], Failure)
    assert events[-1].code == code
    assert server.closing
    assert server.output().endswith(frames.goaway(server.last_stream, code, events[-1].counter.encode()))
    assert server.receive(b"more") == []


FLOODS = {
    "ping": (frames.ping(b"12345678", 0), "http2_control_flood"),
    "settings": (http2_settings.frame([]), "http2_control_flood"),
    "priority": (frames.header(5, frames.PRIORITY, 0, 1) + b"\0\0\0\0\0", "http2_control_flood"),
    "unknown": (frames.header(0, 99, 0, 0), "http2_control_flood"),
    "window": (frames.window_update(0, 1), "http2_window_flood"),
}


@pytest.mark.parametrize(("frame", "counter"), FLOODS.values(), ids=FLOODS.keys())
def test_flood_of_cheap_frames_ends_the_connection(frame: bytes, counter: str) -> None:
    """Ten thousand of them are not served."""
    server = greeted()
    events = server.receive(frame * 10_000)

    assert isinstance(events[-1], Failure)
    assert (events[-1].code, events[-1].counter) == (codes.ENHANCE_YOUR_CALM, counter)


def test_empty_data_flood_ends_the_connection() -> None:
    """Frames without payload that end nothing are bounded."""
    server = greeted()
    server.receive(raw_headers(1, [(b":method", b"POST"), *GET[1:]], frames.END_HEADERS))
    events = server.receive(frames.header(0, frames.DATA, 0, 1) * 10_000)

    assert isinstance(events[-1], Failure)
    assert events[-1].counter == "http2_empty_flood"


def test_rapid_reset_ends_the_connection() -> None:
    """CVE-2023-44487: requests reset at once run out of credit after some hundreds."""
    server = greeted()
    failed = 0
    for number in range(2000):
        stream = 2 * number + 1
        events = server.receive(raw_headers(stream, GET) + frames.rst_stream(stream, codes.CANCEL))
        failed = number
        if any(isinstance(e, Failure) for e in events):
            break

    assert 100 < failed < 1000
    assert server.closing


def test_continuation_flood_ends_the_connection() -> None:
    """CVE-2024-27316: a section of endless empty CONTINUATION frames is cut off."""
    server = greeted()
    events = server.receive(raw_headers(1, GET, 0) + frames.header(0, frames.CONTINUATION, 0, 1) * 1000)

    assert isinstance(events[-1], Failure)
    assert events[-1].counter == "http2_continuation"


def test_streams_beyond_the_limit_are_refused_so_that_they_may_be_retried() -> None:
    """The hundred and first stream gets REFUSED_STREAM, the others live."""
    server = greeted()
    events = server.receive(b"".join(raw_headers(2 * n + 1, GET) for n in range(101)))

    assert len(events) == 100
    assert server.output().endswith(frames.rst_stream(201, codes.REFUSED_STREAM))
    assert server.active == 100


def h2_client() -> h2.connection.H2Connection:
    oracle = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    oracle.initiate_connection()
    return oracle


def test_h2_client_is_understood_and_understands() -> None:
    """The oracle's request with padding and priority is read, and it accepts our answer and its trailers."""
    server, oracle = Http2Server(Limits()), h2_client()
    oracle.send_headers(1, [*GET[:3], (b":authority", b"a"), (b"x-y", b"z" * 50)], priority_weight=5)
    oracle.send_data(1, b"body", pad_length=20, end_stream=True)
    seen = server.receive(oracle.data_to_send())
    server.send_response(1, 200, b"", [field(b"x", b"y")], False)
    server.send_data(1, b"hello", False)
    server.send_trailers(1, [field(b"t", b"u")])
    told = oracle.receive_data(server.output())

    assert [type(e) for e in seen] == [SettingsChanged, RequestHead, Data]
    assert [e.data for e in told if isinstance(e, h2.events.DataReceived)] == [b"hello"]
    assert any(isinstance(e, h2.events.TrailersReceived) for e in told)
    assert any(isinstance(e, h2.events.StreamEnded) for e in told)


names = st.from_regex(rb"[a-z][a-z0-9-]{0,12}", fullmatch=True).filter(
    lambda n: n not in {b"connection", b"te", b"host", b"upgrade", b"cookie", b"keep-alive"} and n != b"content-length"
)
values = st.binary(max_size=40).map(lambda v: bytes(c for c in v if 33 <= c < 127))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(names, values), max_size=12), min_size=1, max_size=12), st.data())
def test_any_requests_arrive_whole_however_the_bytes_are_cut(
    requests: list[list[tuple[bytes, bytes]]], data: st.DataObject
) -> None:
    """Header compression keeps its state over requests, and any cut of the bytes gives the same events."""
    client, server = Http2Client(Limits()), Http2Server(Limits())
    client.receive(server.output())
    for headers in requests:
        client.send_request(head(b"GET", b"/", *headers), True)
    raw = client.output()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    seen: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        seen += server.receive(raw[start:end])

    assert [e.headers for e in seen if isinstance(e, RequestHead)] == [[field(*h) for h in r] for r in requests]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=60)), max_size=30)
)
def test_any_frames_end_in_events_never_in_an_exception(sequence: list[tuple[int, int, int, bytes]]) -> None:
    """Whatever frames come, the codec answers by events and its state stays countable."""
    for codec in (greeted(), Http2Client(Limits())):
        codec.receive(http2_settings.frame([]))
        if isinstance(codec, Http2Client):
            codec.send_request(head(b"POST"), False)
        for kind, flags, stream, payload in sequence:
            for event in codec.receive(frames.header(len(payload), kind, flags, stream) + payload):
                if isinstance(event, Data):
                    codec.consumed(event.stream, len(event.data))
        codec.output()

        assert codec.active >= 0
        codec.receive_eof()
        assert codec.active == 0


def test_section_helper_speaks_hpack() -> None:
    """What the encoder writes is what the server reads (the helper the fuzz corpus starts from)."""
    server = greeted()
    block = section(GET)
    events = server.receive(frames.header(len(block), frames.HEADERS, 5, 1) + block)

    assert isinstance(events[0], RequestHead)
