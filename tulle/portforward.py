"""A port of a pod's own loopback, through the API server: `kubectl port-forward` for one request.

In: a `Kube`, a pod, a port and a path. Out: the body of the answer. It is spoken over a websocket (RFC 6455) of the subprotocol `v4.channel.k8s.io`: a message begins with its channel, 0 for the
port's bytes and 1 for what went wrong, and the first of each has the port's number. Who asks needs `get` and `create` on `pods/portforward`. Refuses with KubeError.
"""

from __future__ import annotations

import base64
import http.client
import io
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, Protocol, cast

from tulle.kube import Kube, KubeError, Query, target_of

_PROTOCOL = "v4.channel.k8s.io"
_MOST = 64 * 1024 * 1024
"""Bytes of an answer, and of a message."""
_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_FINAL = 0x80
_MASKED = 0x80


def ask_port(kube: Kube, pod: Mapping[str, Any], port: int, path: str, query: Query | None = None) -> bytes:
    """GET from a port of a pod. Raises KubeError, with the status that the port answered or the API server refused with."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    headers = {
        **kube.headers,
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
        "sec-websocket-protocol": _PROTOCOL,
    }
    connection, upgraded = replace(kube, headers=headers).upgrade(
        f"/api/v1/namespaces/{namespace}/pods/{name}/portforward", {"ports": str(port)}
    )
    try:
        forwarded = _Forwarded(cast("BinaryIO", upgraded.fp), connection.sock)
        asked = f"GET {target_of(path, query or {})} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        forwarded.send(_BINARY, b"\0" + asked.encode())
        answer = http.client.HTTPResponse(cast("socket.socket", forwarded), method="GET")
        answer.begin()
        body = answer.read(_MOST)
    except (OSError, http.client.HTTPException) as error:
        raise KubeError(f"port {port} of pod {name} in namespace {namespace} stopped answering: {error}") from None
    finally:
        connection.close()
    if answer.status >= 300:
        raise KubeError(body[:1000].decode(errors="replace").strip(), answer.status)
    return body


class _Sink(Protocol):
    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""


class _Forwarded(io.RawIOBase):
    """What a port says, as a file; stands in for its socket. Raises OSError where it cannot be reached, or the websocket ends amid a message."""

    def __init__(self, source: BinaryIO, sink: _Sink) -> None:
        self._source = source
        self._sink = sink
        self._begun: set[int] = set()
        self._held = memoryview(b"")

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give the file, as a socket does."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Take what has come, or wait; 0 at the end."""
        while not self._held:
            data = self._message()
            if data is None:
                return 0
            self._held = memoryview(data)
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    def send(self, kind: int, data: bytes) -> None:
        """Send a message, masked as a client's must be (RFC 6455, 5.3)."""
        size = len(data)
        length = bytes([_MASKED | size]) if size < 126 else bytes([_MASKED | 126]) + size.to_bytes(2, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self._sink.sendall(bytes([_FINAL | kind]) + length + mask + masked)

    def _message(self) -> bytes | None:
        """Read a message; what of it are the port's bytes, or None at the end."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        if size > _MOST or second & _MASKED:
            raise OSError("the API server sent no websocket message that could be read")
        data = self._exactly(size)
        kind = first & 0x0F
        if kind == _CLOSE:
            return None
        if kind == _PING:
            self.send(_PONG, data[:125])
        if kind != _BINARY or not data:
            return b""
        channel, rest = data[0], data[1:]
        if channel not in self._begun:
            self._begun.add(channel)
            rest = rest[2:]
        if channel == 1 and rest:
            raise OSError(rest.decode(errors="replace"))
        return rest

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise OSError("the API server ended the websocket")
        return data
