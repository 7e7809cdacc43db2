"""Probes: is a container started, alive, ready? Asked as a kubelet asks, from the node.

In: a probe's specification and where the container is. Out: None when all is well, else a sentence. HTTP redirects count as well;
certificates are not checked, as the kubelet does not either.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devcluster.runtime.spawner import StartError

Object = dict[str, Any]
_BODY: Final = 10 << 10
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The container to be asked."""

    address: str
    container: Object
    execute: Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
    """Run a program in the container; gives its code and what it wrote."""

    def port(self, wanted: int | str) -> int:
        """Give a port by number or name."""
        if isinstance(wanted, int) or str(wanted).isdigit():
            return int(wanted)
        found = [p["containerPort"] for p in self.container.get("ports") or [] if p.get("name") == wanted]
        if not found:
            raise OSError(f'couldn\'t find port: "{wanted}" in container "{self.container["name"]}"')
        return int(found[0])


async def ask(probe: Object, subject: Subject) -> str | None:
    """Ask once; None is success."""
    seconds = probe.get("timeoutSeconds") or 1
    try:
        async with asyncio.timeout(seconds):
            if "httpGet" in probe:
                return await http_get(probe["httpGet"], subject)
            if "tcpSocket" in probe:
                return await _tcp(probe["tcpSocket"], subject)
            if "grpc" in probe:
                return await _grpc(probe["grpc"], subject)
            if "exec" in probe:
                code, said = await subject.execute(probe["exec"]["command"])
                return None if code == 0 else said.strip() or f"command exited with {code}"
    except TimeoutError:
        return f"context deadline exceeded (no answer in {seconds} s)"
    except (OSError, EOFError, StartError, ValueError) as failed:
        return str(failed) or type(failed).__name__
    return None


async def http_get(spec: Object, subject: Subject) -> str | None:
    """Ask for a page; a status from 200 to 399 is success."""
    host, port = spec.get("host") or subject.address, subject.port(spec["port"])
    secure = spec.get("scheme", "HTTP").upper() == "HTTPS"
    context = ssl._create_unverified_context() if secure else None  # noqa: SLF001 - the documented way to check nothing
    path = spec.get("path") or "/"
    given = {h["name"].lower(): h["value"] for h in spec.get("httpHeaders") or []}
    headers = {
        "host": f"{host}:{port}",
        "user-agent": "kube-probe/1.33",
        "accept": "*/*",
        "connection": "close",
    } | given
    lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = int((await reader.readline()).split(b" ", 2)[1])
        while (await reader.readline()).strip():
            pass
        if 200 <= status < 400:
            return None
        body = await reader.read(_BODY)
        return f"HTTP probe failed with statuscode: {status}" + (f" ({body.decode(errors='replace')})" if body else "")
    except IndexError:
        return "the answer is not HTTP"
    finally:
        await _shut(writer)


async def _tcp(spec: Object, subject: Subject) -> str | None:
    _, writer = await asyncio.open_connection(spec.get("host") or subject.address, subject.port(spec["port"]))
    await _shut(writer)
    return None


async def _shut(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header field never to be indexed, uncoded (RFC 7541, 6.2.3); values here are shorter than 127 bytes."""
    return b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


async def _grpc(spec: Object, subject: Subject) -> str | None:
    """Call grpc.health.v1.Health/Check by a minimal HTTP/2: only the first message of the answer is looked at."""
    host, port = subject.address, subject.port(spec["port"])
    service = (spec.get("service") or "").encode()
    request = b"\x0a" + bytes([len(service)]) + service if service else b""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Check", ":authority": f"{host}:{port}"[:126],
        "content-type": "application/grpc", "te": "trailers", "user-agent": "kube-probe/1.33",
    }  # fmt: skip
    block = b"".join(_literal(name, value) for name, value in fields.items())
    message = b"\0" + struct.pack(">I", len(request)) + request
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, 4, 1, block) + _frame(_DATA, 1, 1, message)
        )
        while True:
            head = await reader.readexactly(9)
            kind, flags = head[3], head[4]
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind in {_SETTINGS, _PING} and not flags & 1:
                writer.write(_frame(kind, 1, 0, payload if kind == _PING else b""))
            elif kind == _DATA and len(payload) >= 5:
                return (
                    None
                    if payload[5:] == b"\x08\x01"
                    else "service unhealthy (responded with a status other than SERVING)"
                )
            elif kind in {_RESET, _GOAWAY} or (kind == _HEADERS and flags & 1):
                return "the health service did not answer (is grpc.health.v1.Health served here?)"
    finally:
        await _shut(writer)


def sentence(kind: str, said: str) -> str:
    """Word a failure as the kubelet's event does."""
    return f"{kind.capitalize()} probe failed: {said}"
