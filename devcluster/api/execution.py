"""exec and attach over websocket: `v5.channel.k8s.io` as kubectl speaks it, `v4` as the Python client does.

In: a websocket request and who runs programs. Out: the program's streams, each message led by its channel; its exit code as a Status on the
error channel. Refuses plain HTTP with 400.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from devcluster.api.errors import StatusError, bad_request
from devcluster.api.requests import ApiRequest
from devcluster.runtime.streams import Sink, Streams

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255


class Executes(Protocol):
    """Who runs programs in containers."""

    async def exec(self, namespace: str, name: str, container: str, command: Sequence[str], streams: Streams, /) -> int:
        """Run a program and return its exit code."""


async def execute(request: ApiRequest, runner: Executes, command: Sequence[str]) -> web.StreamResponse:
    """Run a program with its streams on a websocket."""
    if not is_websocket(request):
        raise bad_request("Upgrade request required: exec and attach are spoken over websocket")
    socket = web.WebSocketResponse(protocols=PROTOCOLS, compress=False, heartbeat=30)
    await socket.prepare(request.http)
    inputs = _Inputs(socket)

    def sink(name: str, channel: int) -> Sink | None:
        async def send(data: bytes) -> None:
            await socket.send_bytes(bytes([channel]) + data)

        return send if request.flag(name) else None

    streams = Streams(
        stdin=inputs.stdin() if request.flag("stdin") else None,
        stdout=sink("stdout", _STDOUT),
        stderr=sink("stderr", _STDERR) if not request.flag("tty") else None,
        tty=request.flag("tty"),
        resizes=inputs.resizes() if request.flag("tty") else None,
    )
    target = request.target
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(inputs.read())
        running = group.create_task(
            _run(runner.exec(target.namespace, target.name, request.parameter("container"), command, streams))
        )
        await asyncio.wait((reading, running), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
        else:
            with contextlib.suppress(ConnectionError):
                await socket.send_bytes(bytes([_ERROR]) + json.dumps(running.result()).encode())
        reading.cancel()
    await socket.close()
    return socket


def is_websocket(request: ApiRequest) -> bool:
    """Tell whether a request asks to become a websocket."""
    return request.http.headers.get("upgrade", "").lower() == "websocket"


async def _run(running: Any) -> dict[str, Any]:
    """Wait for a program and put its end into a Status."""
    try:
        code = await running
    except StatusError as error:
        return error.status()
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


class _Inputs:
    """What the caller sends: input and terminal sizes. An unread input makes the caller wait."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._stdin: asyncio.Queue[bytes | None] = asyncio.Queue(16)
        self._sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    async def read(self) -> None:
        """Sort messages by channel until the caller goes."""
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                data = message.data.encode()
            elif message.type is WSMsgType.BINARY:
                data = message.data
            else:
                break
            if not data:
                continue
            channel, rest = data[0], data[1:]
            if channel == _STDIN:
                if rest:
                    await self._stdin.put(rest)
            elif channel == _CLOSE and rest[:1] == bytes([_STDIN]):
                await self._stdin.put(None)
            elif channel == _RESIZE:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    size = json.loads(rest)
                    self._sizes.put_nowait((int(size["Width"]), int(size["Height"])))

    async def stdin(self) -> AsyncIterator[bytes]:
        """Give the input until it is closed."""
        while (data := await self._stdin.get()) is not None:
            yield data

    async def resizes(self) -> AsyncIterator[tuple[int, int]]:
        """Give the terminal's sizes."""
        while True:
            yield await self._sizes.get()
