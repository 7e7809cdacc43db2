"""HTTP/2: any frames to both codecs, whole and in pieces; what is read must be one and the same request as HTTP/1.

In: a byte of choices, then bytes after the prefaces. Out: nothing, or an AssertionError.
"""

# ruff: noqa: S101 - the finder of sources comes before the first import; asserts are what a target is made of

from __future__ import annotations

if __name__ == "__main__":
    from fuzz.run import run

    run("fuzz_http2")
    raise SystemExit

from typing import Any

from dataplane.protocol.events import Data, Event, Failure, RequestHead, Reset, Trailers
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits

LIMITS = Limits(
    header_count=20,
    header_bytes=1000,
    concurrent_streams=5,
    stream_window=65535,
    connection_window=65535,
    control_frames=50,
    window_frames=50,
    empty_frames=10,
    premature_resets=10,
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def one(data: bytes) -> None:
    """Check one input."""
    if not data:
        return
    choice, raw = data[0], data[1:]
    reads = [conversation(raw, choice, step) for step in (len(raw) or 1, 3)]
    if not choice & ~1:  # answers come between the pieces, so only without them must all be the same
        assert reads[0] == reads[1], reads


def conversation(raw: bytes, choice: int, step: int) -> list[Any]:
    """Feed one codec, answer what is whole, and return what it made of it."""
    codec: Any
    if choice & 1:
        codec = Http2Client(LIMITS)
        codec.receive(SETTINGS)
        for method in (b"GET", b"HEAD", b"POST"):
            codec.send_request(RequestHead(0, method, b"http", b"a", b"/", [], True), method != b"POST")
    else:
        codec = Http2Server(LIMITS)
        codec.receive(PREFACE + SETTINGS)
    codec.output()
    out: list[Any] = []
    for at in range(0, len(raw), step):
        for event in codec.receive(raw[at : at + step]):
            react(codec, event, choice)
            note(out, event)
        well_formed(codec.output())
        assert 0 <= codec.active <= 8
    for event in codec.receive_eof():
        note(out, event)
    assert (codec.active, codec.closing) == (0, True)
    return out


def react(codec: Any, event: Event, choice: int) -> None:
    """What a driver does."""
    if isinstance(event, Failure):
        assert event.counter.startswith("http2_")
        assert codec.active == 0
    elif isinstance(event, RequestHead):
        downgraded(event)
        if choice & 2:
            codec.send_response(event.stream, 200, b"", [(b"x", b"y", b"x")], False)
            codec.send_data(event.stream, b"z" * (choice << 8), False)
    elif isinstance(event, Data) and choice & 4:
        codec.consumed(event.stream, len(event.data))
    if choice & 8 and isinstance(event, Trailers | Data | RequestHead) and (isinstance(event, Trailers) or event.end):
        codec.send_data(event.stream, b"", True)


def note(out: list[Any], event: Event) -> None:
    """Write an event down without what the pieces may change."""
    if isinstance(event, Failure):
        out.append((event.code, event.counter))
    elif isinstance(event, Reset):
        out.append((event.stream, event.code))
    elif isinstance(event, Data) and out and out[-1][:2] == ("data", event.stream) and not out[-1][3]:
        out[-1] = ("data", event.stream, out[-1][2] + event.data, event.end)
    elif isinstance(event, Data):
        out.append(("data", event.stream, event.data, event.end))
    else:
        out.append(repr(event))


def downgraded(head: RequestHead) -> None:
    """As HTTP/1 it is exactly one request, with the same line and fields (downgrade injection)."""
    if head.protocol or head.method == b"CONNECT":
        return
    sender, reader = Http1Client(Limits()), Http1Server(Limits())
    sender.send_request(head, True)
    raw = sender.output()
    events = reader.receive(raw)
    again = events[0]
    assert isinstance(again, RequestHead), events
    assert (again.method, again.path, again.authority) == (head.method, head.path, head.authority)
    plain = [(n, v) for n, v, _ in head.headers if n not in {b"te", b"content-length"}]
    assert [(n, v) for n, v, _ in again.headers if n not in {b"te", b"content-length"}] == plain
    assert reader.held() == 0


def well_formed(raw: bytes) -> None:
    """What we write is whole frames a peer must take."""
    while raw:
        assert len(raw) >= 9
        size, kind = int.from_bytes(raw[:3], "big"), raw[3]
        assert size <= 16384
        assert kind in {0, 1, 3, 4, 6, 7, 8, 9}
        assert len(raw) >= 9 + size
        raw = raw[9 + size :]
