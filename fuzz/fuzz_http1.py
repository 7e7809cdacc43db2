"""HTTP/1: any bytes to both codecs, whole and in pieces; what the server reads must read the same again once forwarded.

In: a byte of choices, then bytes from the network. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_http1")
    raise SystemExit

from typing import Any

from dataplane.protocol.events import Data, Event, Failure, RequestHead, Reset, ResponseHead, Trailers
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.limits import Limits

LIMITS = Limits(header_count=20, header_bytes=1000, chunk_extension_bytes=50, pipeline_bytes=2000)
METHODS = (b"GET", b"HEAD", b"POST", b"CONNECT")


def one(data: bytes) -> None:
    """Check one input."""
    if not data:
        return
    choice, raw = data[0], data[1:2000]
    if choice & 1:
        events = [shape(client(raw, choice, step)) for step in (len(raw) or 1, 1, 7)]
    else:
        reads = [server(raw, choice, step) for step in (len(raw) or 1, 1, 7)]
        forwarded(reads[0])
        events = [shape(read) for read in reads]
    assert events[0] == events[1] == events[2], events


def server(raw: bytes, choice: int, step: int) -> list[Event]:
    """Let a server read it, answering each request once it is whole, in one of several ways."""
    codec = Http1Server(LIMITS)
    events: list[Event] = []
    for at in range(0, len(raw), step):
        batch = codec.receive(raw[at : at + step])
        while batch:
            events += batch
            last = batch[-1]
            sound(codec, last)
            if ended(last):
                answer(codec, last.stream, choice)
            batch = codec.receive(b"") if codec.held() and not codec.closing else []
        codec.output()
    return events + codec.receive_eof()


def answer(codec: Http1Server, stream: int, choice: int) -> None:
    """End the exchange."""
    if choice & 2:
        codec.send_response(stream, 200, b"", [], False)
        codec.send_data(stream, b"x", True)
    else:
        codec.send_response(stream, 204, b"", [], True)


def client(raw: bytes, choice: int, step: int) -> list[Event]:
    """Let a client read it as the answer to a request."""
    codec = Http1Client(LIMITS)
    method = METHODS[choice >> 2 & 3]
    protocol = b"websocket" if choice & 32 else b""
    head = RequestHead(0, method, b"http", b"a:1", b"/", [], True, 11, protocol)
    codec.send_request(head, not protocol and method != b"CONNECT")
    events: list[Event] = []
    for at in range(0, len(raw), step):
        batch = codec.receive(raw[at : at + step])
        for event in batch:
            sound(codec, event)
        events += batch
    return events + codec.receive_eof()


def sound(codec: Any, event: Event) -> None:
    """What holds after any event."""
    assert codec.active in {0, 1}
    if isinstance(event, Failure):
        assert (codec.active, codec.closing, codec.held()) == (0, True, 0)
        assert event.counter.startswith("http1_")
        assert codec.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []


def ended(event: Event) -> bool:
    """Whether a message is whole with this."""
    return isinstance(event, Trailers) or (isinstance(event, RequestHead | ResponseHead | Data) and event.end)


def shape(events: list[Event]) -> list[Any]:
    """Events without where bodies were cut, and without what differs when a body breaks off."""
    out: list[Any] = []
    for event in events:
        if isinstance(event, Data):
            if out and isinstance(out[-1], bytes):
                out[-1] += event.data
            elif event.data:
                out.append(event.data)
        elif isinstance(event, Failure):
            out.append((event.status, event.counter))
        elif isinstance(event, Reset):
            out.append(event.code)
        else:
            out.append(event)
    return out


def forwarded(events: list[Event]) -> None:
    """Each whole request, sent on by a client codec, is one request to the next server, and the same one."""
    parts: list[Event] = []
    for event in events:
        if isinstance(event, RequestHead):
            parts = []
        parts.append(event)
        if ended(event):
            send_on(parts)


def send_on(parts: list[Event]) -> None:
    """Forward one request and read it again."""
    head = parts[0]
    assert isinstance(head, RequestHead)
    if head.protocol or head.method == b"CONNECT" or not head.authority:
        return
    sender, reader = Http1Client(Limits()), Http1Server(Limits(), head.scheme)
    stream = sender.send_request(head, head.end)
    for part in parts[1:]:
        if isinstance(part, Data):
            sender.send_data(stream, part.data, part.end)
        elif isinstance(part, Trailers):
            sender.send_trailers(stream, part.headers)
    read = reader.receive(sender.output())
    again = read[0]
    assert isinstance(again, RequestHead), read
    assert (again.method, again.authority, again.path) == (head.method, head.authority, head.path)
    added = [(b"content-length", b"0", b"Content-Length")]
    assert again.headers in (head.headers, head.headers + added), (again, head)
    bodies = [b"".join(e.data for e in es if isinstance(e, Data)) for es in (parts, read)]
    assert bodies[0] == bodies[1]
    assert ended(read[-1])
    assert reader.held() == 0
