"""Raw frames and messages for the protocol tests, made without the code under test."""

from __future__ import annotations

from typing import Any

from dataplane.protocol.events import Data, Event, RequestHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
POST = [(b":method", b"POST"), *GET[1:]]
OK = [(b":status", b"200")]

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A DATA frame."""
    return frame(0, flags, stream, payload)


def literals(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A field section of literals that are not indexed."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(value: bytes) -> bytes:
    size = len(value)
    if size < 127:
        return bytes([size]) + value
    out, size = [127], size - 127
    while size >= 128:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size]) + value


def headers(stream: int, fields: list[tuple[bytes, bytes]], flags: int = END_HEADERS | END_STREAM) -> bytes:
    """A HEADERS frame."""
    return frame(1, flags, stream, literals(fields))


def settings(*entries: tuple[int, int], flags: int = 0, stream: int = 0) -> bytes:
    """A SETTINGS frame."""
    return frame(4, flags, stream, b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in entries))


def word(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "big")


def rst(stream: int, code: int = 8) -> bytes:
    """A RST_STREAM frame."""
    return frame(3, 0, stream, word(code))


def window(stream: int, step: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(8, 0, stream, word(step))


def ping(flags: int = 0) -> bytes:
    """A PING frame."""
    return frame(6, flags, 0, b"12345678")


def goaway(last: int, code: int = 0, why: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame(7, 0, 0, word(last) + word(code) + why)


def frames(raw: bytes) -> list[tuple[int, int, int, bytes]]:
    """Take written frames apart: type, flags, stream, payload."""
    found = []
    while raw:
        size = int.from_bytes(raw[:3], "big")
        found.append((raw[3], raw[4], int.from_bytes(raw[5:9], "big"), raw[9 : 9 + size]))
        raw = raw[9 + size :]
    return found


def greeted(limits: Limits | None = None) -> Http2Server:
    """A server that has seen the preface and SETTINGS, and whose own were read."""
    server = Http2Server(limits or Limits())
    server.receive(PREFACE + settings())
    server.output()
    return server


def asked(limits: Limits | None = None, method: bytes = b"GET") -> Http2Client:
    """A client that has a request open on stream 1 and has seen the server's SETTINGS."""
    client = Http2Client(limits or Limits())
    client.receive(settings())
    client.send_request(request(method), method != b"POST")
    client.output()
    return client


def request(method: bytes = b"GET", path: bytes = b"/", *fields: tuple[bytes, bytes, bytes]) -> RequestHead:
    """A request head to send."""
    return RequestHead(0, method, b"http", b"a", path, list(fields), True)


def merged(events: list[Event]) -> list[Any]:
    """Events with neighbouring Data of a stream joined, for comparing what was cut differently."""
    out: list[Any] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream and not last.end:
            out[-1] = Data(event.stream, last.data + event.data, event.end)
        elif isinstance(event, Data):
            out.append(Data(event.stream, event.data, event.end))
        else:
            out.append(event)
    return [e for e in out if not (isinstance(e, Data) and not e.data and not e.end)]
