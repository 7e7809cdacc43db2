"""Any message goes from client codec to server codec and back as it was, in both versions, whatever way bytes are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.protocol.events import Data, Event, Headers, RequestHead, ResponseHead, Trailers
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from tests.dataplane.protocol.wire import merged

OWN = {
    b"connection",
    b"content-length",
    b"cookie",
    b"expect",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
token = st.text("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCXYZ", min_size=1, max_size=12).map(str.encode)
value = st.binary(max_size=20).map(lambda raw: bytes(c for c in raw if c == 9 or (c >= 32 and c != 127)).strip(b" \t"))
fields = st.lists(st.tuples(token, value), max_size=5).map(
    lambda pairs: [(n.lower(), v, n) for n, v in pairs if n.lower() not in OWN]
)
path = st.binary(max_size=20).map(lambda raw: b"/" + bytes(c for c in raw if c > 32 and c not in b"\x7f#"))
body = st.lists(st.binary(max_size=300), max_size=4)


@dataclass
class Message:
    """One exchange."""

    method: bytes
    path: bytes
    headers: Headers
    body: list[bytes]
    trailers: Headers
    sized: bool
    status: int
    interim: list[int] = field(default_factory=list)
    answer: Headers = field(default_factory=list)
    answer_body: list[bytes] = field(default_factory=list)
    answer_trailers: Headers = field(default_factory=list)


messages = st.builds(
    Message,
    st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"X-Odd.Method"]),
    path,
    fields,
    body,
    fields,
    st.booleans(),
    st.sampled_from([200, 201, 204, 299, 304, 404, 500, 999]),
    st.lists(st.sampled_from([100, 103]), max_size=2),
    fields,
    body,
    fields,
)


def lowered(headers: Headers, http2: bool) -> Headers:
    """HTTP/2 names have one case."""
    return [(n, v, n) for n, v, _ in headers] if http2 else headers


def carry(source: Any, target: Any, draw: st.DataObject) -> list[Event]:
    """Bring what one side wrote to the other, cut at up to four places."""
    raw = source.output()
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        events += target.receive(raw[start:end])
    return events


def body_out(codec: Any, stream: int, pieces: list[bytes], trailers: Headers) -> None:
    """Send a body, ended by its last piece or by trailers."""
    for piece in pieces[:-1] if not trailers else pieces:
        codec.send_data(stream, piece, False)
    if trailers:
        codec.send_trailers(stream, trailers)
    else:
        codec.send_data(stream, pieces[-1] if pieces else b"", True)


def body_in(events: list[Event]) -> tuple[bytes, Headers, int]:
    """The body, the trailers, and how often the end was told."""
    data = b"".join(e.data for e in events if isinstance(e, Data))
    trailers = [e.headers for e in events if isinstance(e, Trailers)]
    ends = sum(isinstance(e, Data | RequestHead | ResponseHead) and e.end for e in events) + len(trailers)
    return data, trailers[0] if trailers else [], ends


def ask(client: Any, server: Any, message: Message, http2: bool, draw: st.DataObject) -> int:
    """Send a request and hold the server to it; return its stream there."""
    whole = b"".join(message.body)
    sent = list(message.headers)
    if message.sized:
        sent.append((b"content-length", b"%d" % len(whole), b"Content-Length"))
    trailers = [] if message.sized and not http2 else message.trailers
    bare = not message.body and not message.trailers
    head = RequestHead(0, message.method, b"http", b"a:80", message.path, sent, True)
    stream = client.send_request(head, bare)
    if not bare:
        body_out(client, stream, message.body, message.trailers)
    got = [e for e in carry(client, server, draw) if e.stream]
    head_in = got[0]
    assert isinstance(head_in, RequestHead)
    assert (head_in.method, head_in.path, head_in.authority) == (message.method, message.path, b"a:80")
    want = lowered(sent, http2)
    if bare and not http2 and not message.sized and message.method in {b"POST", b"PUT"}:
        want = [*want, (b"content-length", b"0", b"Content-Length")]
    assert head_in.headers == want
    assert body_in(got) == (whole, lowered(trailers, http2), 1)
    return head_in.stream


def answer(client: Any, server: Any, stream: int, message: Message, draw: st.DataObject) -> None:
    """Send the response and hold the client to it."""
    http2 = isinstance(server, Http2Server)
    for status in message.interim:
        server.send_response(stream, status, b"", message.answer, False)
    bodyless = message.method == b"HEAD" or message.status in {204, 304}
    pieces, trailers = ([], []) if bodyless else (message.answer_body, message.answer_trailers)
    bare = not pieces and not trailers
    server.send_response(stream, message.status, b"" if http2 else b"R", message.answer, bare)
    if not bare:
        body_out(server, stream, pieces, trailers)
    got = [e for e in carry(server, client, draw) if e.stream]
    heads = [e for e in got if isinstance(e, ResponseHead)]
    assert [e.status for e in heads] == [*message.interim, message.status]
    want = lowered(message.answer, http2)
    if bare and not bodyless and not http2:
        want = [*want, (b"content-length", b"0", b"content-length")]
    assert [e.headers for e in heads] == [*[lowered(message.answer, http2)] * len(message.interim), want]
    assert body_in(got) == (b"".join(pieces), lowered(trailers, http2), 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_http1_carries_any_messages(exchanges: list[Message], draw: st.DataObject) -> None:
    """Names in their case, values to the byte, one after the other on one connection."""
    client, server = Http1Client(Limits()), Http1Server(Limits())
    for message in exchanges:
        stream = ask(client, server, message, False, draw)
        answer(client, server, stream, message, draw)
        assert (client.active, client.can_open, server.active, server.closing, server.held()) == (0, True, 0, False, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_http2_carries_any_messages_and_answers_in_any_order(exchanges: list[Message], draw: st.DataObject) -> None:
    """All are asked before the first is answered."""
    client, server = Http2Client(Limits()), Http2Server(Limits())
    client.receive(server.output())
    streams = [ask(client, server, message, True, draw) for message in exchanges]
    client.receive(server.output())
    for at in draw.draw(st.permutations(range(len(streams)))):
        answer(client, server, streams[at], exchanges[at], draw)
    assert (client.active, client.can_open, server.active) == (0, True, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_pipelined_bytes_read_the_same_however_they_are_cut(exchanges: list[Message], draw: st.DataObject) -> None:
    """A driver that answers each request at once sees the same events from any pieces."""
    client, raw = Http1Client(Limits()), b""
    for message in exchanges:
        bare = not message.body and not message.trailers
        stream = client.send_request(
            RequestHead(0, message.method, b"http", b"a", message.path, message.headers, True), bare
        )
        if not bare:
            body_out(client, stream, message.body, message.trailers)
        raw += client.output()
        client.receive(b"HTTP/1.1 204 No\r\n\r\n")

    def serve(cuts: list[int]) -> list[Any]:
        server, seen = Http1Server(Limits()), []
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            events = server.receive(raw[start:end])
            while events:
                seen += events
                if body_in(events)[2]:
                    server.send_response(events[-1].stream, 204, b"", [], True)
                events = server.receive(b"") if server.held() else []
        return merged(seen)

    one = serve([])
    two = serve(sorted(draw.draw(st.lists(st.integers(0, len(raw)), max_size=8))))
    assert ends(one) == ends(two) == len(exchanges)
    assert texts(one) == texts(two)


def ends(events: list[Any]) -> int:
    """How many messages were ended."""
    return body_in(events)[2]


def texts(events: list[Any]) -> list[Any]:
    """Events without where exactly a body was cut or its end told."""
    out: list[Any] = []
    for event in events:
        if isinstance(event, Data):
            if out and isinstance(out[-1], bytes):
                out[-1] += event.data
            else:
                out.append(event.data)
        else:
            out.append(event)
    return [e for e in out if e != b""]
