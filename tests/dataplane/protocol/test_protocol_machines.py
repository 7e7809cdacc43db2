"""Any command and any bytes in any state: the codecs end in states their interface allows.

Each machine drives a codec by commands a driver may give and by bytes of every kind, well-formed, odd and random, and
checks after each step what must always hold.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.protocol import events as kinds
from dataplane.protocol.events import Data, Event, Failure, RequestHead, Reset, ResponseHead, Trailers, Upgraded
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.interface import MisuseError
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol import wire
from tests.support.machines import bounded

SMALL = Limits(
    header_count=8,
    header_bytes=400,
    pipeline_bytes=500,
    concurrent_streams=4,
    stream_window=65535,
    connection_window=65535,
)
FIELD = [(b"x-a", b"1", b"X-A")]
LENGTH = (b"content-length", b"3", b"Content-Length")
codes = st.integers(0, 14)
small = st.integers(0, 6)


class CodecMachine(RuleBasedStateMachine):
    """What all four share: the rules of the interface."""

    codec: Any

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self.over: dict[int, bool] = {}
        """Streams told of, and whether the peer's message on them has ended."""
        self.streams: list[int] = []
        self.received = 0
        self.written = b""

    def take(self, events: list[Event]) -> None:
        """Check the order of what was told, stream by stream."""
        for event in events:
            assert not self.failed, f"{event} after a Failure"
            if isinstance(event, Failure):
                self.failed = True
                assert event.counter
                assert event.reason
                assert 400 <= event.status <= 599
                assert (self.codec.active, self.codec.closing) == (0, True)
            elif isinstance(event, RequestHead):
                assert event.stream not in self.over
                self.over[event.stream] = event.end
                self.streams.append(event.stream)
            elif isinstance(event, ResponseHead):
                assert self.over[event.stream] is False
                self.over[event.stream] = event.end
            elif isinstance(event, Data | Trailers):
                assert self.over[event.stream] is False
                self.over[event.stream] = isinstance(event, Trailers) or event.end
                if isinstance(event, Data):
                    assert event.data or event.end
                    self.received += len(event.data)
                    self.codec.consumed(event.stream, len(event.data))
            elif isinstance(event, Reset):
                self.over[event.stream] = True
            elif isinstance(event, Upgraded):
                assert self.over[event.stream] is False
            else:
                assert event.kind in {kinds.GOAWAY, kinds.WRITABLE, kinds.SETTINGS, kinds.PONG}

    def give(self, raw: bytes) -> None:
        """Bytes from the peer."""
        self.take(self.codec.receive(raw))

    def pick(self, at: int) -> int:
        """A stream told of, or one nobody has."""
        return self.streams[-1 - at] if at < len(self.streams) else 2 * at + 1

    @rule(raw=st.binary(max_size=40))
    def random_bytes(self, raw: bytes) -> None:
        self.give(raw)

    @rule()
    def eof(self) -> None:
        self.take(self.codec.receive_eof())

    @rule(at=small, data=st.binary(max_size=20), end=st.booleans())
    def send_data(self, at: int, data: bytes, end: bool) -> None:
        try:
            self.codec.send_data(self.pick(at), data, end)
        except MisuseError as error:
            assert "Content-Length" in str(error)  # noqa: PT017 - any other misuse is ours
            self.codec.reset(self.pick(at), 2)

    @rule(at=small)
    def send_trailers(self, at: int) -> None:
        self.codec.send_trailers(self.pick(at), FIELD)

    @rule(at=small, code=codes)
    def reset(self, at: int, code: int) -> None:
        self.codec.reset(self.pick(at), code)

    @rule(at=small, size=st.integers(0, 100_000))
    def consumed_too_much(self, at: int, size: int) -> None:
        self.codec.consumed(self.pick(at), size)

    @rule()
    def goaway(self) -> None:
        self.codec.goaway()

    @rule()
    def shutdown(self) -> None:
        self.codec.shutdown()

    @invariant()
    def interface_holds(self) -> None:
        codec = self.codec
        assert codec.active >= 0
        assert codec.held() >= 0
        assert all(codec.pending(stream) >= 0 for stream in self.streams[-8:])
        written = codec.output()
        if self.dead():
            assert codec.active == 0
            assert codec.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []
            assert codec.held() == 0
            assert codec.output() == b""
        self.written += written

    def dead(self) -> bool:
        """Whether the codec may say no more."""
        return self.failed


HTTP1_REQUESTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo",
        b"st: a\r\n\r\n",
        b"\r\n",
    ]
)
HTTP1_BODY = st.sampled_from(
    [b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"a", b"\r", b"\n", b"zz\r\n"]
)


class Http1ServerMachine(CodecMachine):
    """Requests of every kind, answered in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = Http1Server(SMALL)

    @rule(raw=HTTP1_REQUESTS)
    def request(self, raw: bytes) -> None:
        self.give(raw)

    @rule(raw=HTTP1_BODY)
    def body(self, raw: bytes) -> None:
        self.give(raw)

    @rule()
    def go_on(self) -> None:
        self.give(b"")

    @rule(
        at=st.integers(0, 1),
        status=st.sampled_from([100, 103, 200, 200, 204, 304, 404, 999]),
        sized=st.booleans(),
        end=st.booleans(),
    )
    def respond(self, at: int, status: int, sized: bool, end: bool) -> None:
        self.codec.send_response(self.pick(at), status, b"", [*FIELD, LENGTH] if sized else FIELD, end)

    @rule()
    def switch(self) -> None:
        try:
            self.codec.send_response(self.pick(0), 101, b"", FIELD, False)
        except MisuseError as error:
            assert "101" in str(error)  # noqa: PT017

    @invariant()
    def one_at_a_time(self) -> None:
        assert self.codec.active in {0, 1}
        assert self.codec.held() <= SMALL.pipeline_bytes + SMALL.header_bytes


class Http1ClientMachine(CodecMachine):
    """Requests whenever they are allowed, answered in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = Http1Client(SMALL)

    @precondition(lambda self: self.codec.can_open)
    @rule(
        method=st.sampled_from([b"GET", b"HEAD", b"POST", b"CONNECT"]),
        protocol=st.sampled_from([b"", b"", b"websocket"]),
        end=st.booleans(),
        sized=st.booleans(),
    )
    def send_request(self, method: bytes, protocol: bytes, end: bool, sized: bool) -> None:
        headers = [*FIELD, LENGTH] if sized and not end else FIELD
        stream = self.codec.send_request(RequestHead(0, method, b"", b"a:1", b"/", headers, end, 11, protocol), end)
        assert stream not in self.over
        self.over[stream] = False
        self.streams.append(stream)

    @rule(
        raw=st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
                b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
                b"HTTP/1.0 304 Not Modified\r\n\r\n",
                b"HTTP/1.1 2",
                b"00 OK\r\ncontent-length: 0\r\n\r\n",
            ]
        )
        | HTTP1_BODY
    )
    def response(self, raw: bytes) -> None:
        self.give(raw)

    @invariant()
    def one_at_a_time(self) -> None:
        codec = self.codec
        assert codec.active in {0, 1}
        assert not (codec.can_open and (codec.active or codec.closing or codec.held()))
        assert codec.held() <= SMALL.header_bytes


SETTINGS = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 99]), st.sampled_from([0, 1, 2, 100, 16384, 65535, 2**31 - 1])),
    max_size=3,
)
FIELDS = st.sampled_from(
    [
        wire.GET,
        wire.POST,
        wire.OK,
        [(b":status", b"103")],
        [(b"x", b"y")],
        wire.GET[1:],
        [*wire.POST, (b"content-length", b"3")],
    ]
)
FLAGS = st.sampled_from([0, 1, 4, 5, 4, 5, 8, 13, 37])


class Http2Machine(CodecMachine):
    """Frames of every kind, on streams of every state."""

    def start(self, codec: Any, raw: bytes) -> None:
        self.codec = codec
        self.take(codec.receive(raw))

    @rule(stream=small, fields=FIELDS, flags=FLAGS)
    def headers(self, stream: int, fields: list[tuple[bytes, bytes]], flags: int) -> None:
        self.give(wire.headers(stream, fields, flags))

    @rule(stream=small, fields=FIELDS)
    def next_headers(self, stream: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.give(wire.headers(self.codec.last_stream + 2 * (stream % 2), fields))

    @rule(stream=small, data=st.binary(max_size=20), flags=st.sampled_from([0, 0, 1, 8, 9]))
    def data(self, stream: int, data: bytes, flags: int) -> None:
        self.give(wire.data(self.pick(stream), data, flags))

    @rule(stream=small, size=st.integers(0, 16384))
    def much_data(self, stream: int, size: int) -> None:
        self.give(wire.data(self.pick(stream), bytes(size)))

    @rule(entries=SETTINGS)
    def settings(self, entries: list[tuple[int, int]]) -> None:
        self.give(wire.settings(*entries))

    @rule(stream=small, step=st.sampled_from([0, 1, 10, 65535, 2**31 - 1]))
    def window(self, stream: int, step: int) -> None:
        self.give(wire.window(self.pick(stream), step))

    @rule(step=st.sampled_from([1, 10, 65535]))
    def connection_window(self, step: int) -> None:
        self.give(wire.window(0, step))

    @rule(stream=small, code=codes)
    def rst(self, stream: int, code: int) -> None:
        self.give(wire.rst(self.pick(stream), code))

    @rule(last=small)
    def peer_goaway(self, last: int) -> None:
        self.give(wire.goaway(last))

    @rule(kind=st.integers(0, 11), flags=st.integers(0, 255), stream=small, payload=st.binary(max_size=12))
    def any_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.give(wire.frame(kind, flags, stream, payload))

    @rule(size=st.sampled_from([1, 10_000, 100_000]), at=small, end=st.booleans())
    def send_much(self, size: int, at: int, end: bool) -> None:
        try:
            self.codec.send_data(self.pick(at), bytes(size), end)
        except MisuseError:
            self.codec.reset(self.pick(at), 2)

    @rule()
    def ping(self) -> None:
        self.codec.ping(b"12345678")

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.codec.now += seconds

    @rule(waiting=st.integers(0, 2))
    def unread(self, waiting: int) -> None:
        assert self.codec.unread(waiting) is False

    @invariant()
    def frames_are_whole_and_ours_to_send(self) -> None:
        raw = self.written
        self.written = b""
        raw = raw.removeprefix(wire.PREFACE)
        for kind, _flags, stream, payload in wire.frames(raw):
            assert kind in {0, 1, 3, 4, 6, 7, 8, 9}
            assert len(payload) <= 16384
            assert (stream == 0) == (kind in {4, 6, 7}) or kind == 8
            assert kind != 8 or 0 < int.from_bytes(payload, "big") < 2**31

    @invariant()
    def little_is_kept(self) -> None:
        assert self.codec.held() == 0
        assert self.codec.active <= max(SMALL.concurrent_streams, len(self.streams))


class Http2ServerMachine(Http2Machine):
    """The side that answers."""

    def __init__(self) -> None:
        super().__init__()
        self.start(Http2Server(SMALL), wire.PREFACE + wire.settings())

    @rule(
        at=small,
        status=st.sampled_from([100, 103, 200, 200, 204, 304, 404, 999]),
        sized=st.booleans(),
        end=st.booleans(),
    )
    def respond(self, at: int, status: int, sized: bool, end: bool) -> None:
        self.codec.send_response(self.pick(at), status, b"", [*FIELD, LENGTH] if sized else FIELD, end)

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert self.codec.active <= SMALL.concurrent_streams


class Http2ClientMachine(Http2Machine):
    """The side that asks."""

    def __init__(self) -> None:
        super().__init__()
        self.start(Http2Client(SMALL), wire.settings())

    @precondition(lambda self: self.codec.can_open)
    @rule(method=st.sampled_from([b"GET", b"HEAD", b"POST"]), end=st.booleans(), sized=st.booleans())
    def send_request(self, method: bytes, end: bool, sized: bool) -> None:
        headers = [*FIELD, LENGTH] if sized and not end else FIELD
        stream = self.codec.send_request(RequestHead(0, method, b"http", b"a", b"/", headers, end), end)
        assert stream not in self.over
        self.over[stream] = False
        self.streams.append(stream)

    @invariant()
    def opens_only_what_the_server_takes(self) -> None:
        assert not (self.codec.can_open and self.codec.closing)


TestHttp1Server = Http1ServerMachine.TestCase
TestHttp1Client = Http1ClientMachine.TestCase
TestHttp2Server = Http2ServerMachine.TestCase
TestHttp2Client = Http2ClientMachine.TestCase
for case in (TestHttp1Server, TestHttp1Client, TestHttp2Server, TestHttp2Client):
    case.settings = bounded(40, 30)
del case  # else it is collected as one more
