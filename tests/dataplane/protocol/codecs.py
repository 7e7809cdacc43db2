"""The two HTTP/2 codecs talking to each other."""

from __future__ import annotations

from typing import Any

from dataplane.protocol.events import Event, RequestHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits


def field(name: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    return (name, value, name)


def head(
    method: bytes = b"GET", path: bytes = b"/", *headers: tuple[bytes, bytes], protocol: bytes = b""
) -> RequestHead:
    return RequestHead(0, method, b"http", b"a", path, [field(*h) for h in headers], True, 20, protocol)


def exchange(client: Any, server: Any) -> tuple[list[Event], list[Event]]:
    """Carry bytes both ways until nothing moves; return what each side was told."""
    told: tuple[list[Event], list[Event]] = ([], [])
    while True:
        up, down = client.output(), server.output()
        if not up and not down:
            return told
        told[1].extend(server.receive(up))
        told[0].extend(client.receive(down))


def pair(limits: Limits | None = None) -> tuple[Http2Client, Http2Server]:
    client, server = Http2Client(Limits()), Http2Server(limits or Limits())
    exchange(client, server)
    return client, server
