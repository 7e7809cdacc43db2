"""Port-forward: kubectl tunnels SPDY/3.1 through a websocket, the Python client uses a pair of websocket channels a port.

In: a websocket request and who dials into pods. Out: bytes both ways, one connection into the pod for each of the caller's. A port nobody listens on is
an error on that connection alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import WSMsgType, web

from devcluster.api.errors import bad_request
from devcluster.api.execution import is_websocket
from devcluster.api.requests import ApiRequest
from devcluster.api.spdy import DataReceived, Pinged, Session, SpdyError, StreamOpened, StreamReset, data_frame
from devcluster.runtime.kubelet import Kubelet

TUNNEL = "SPDY/3.1+portforward.k8s.io"
_CHUNK = 32 * 1024
Send = Callable[[bytes, bool], Awaitable[None]]
"""Sends bytes to the caller; the flag says that no more will come."""


async def forward(request: ApiRequest, kubelet: Kubelet) -> web.StreamResponse:
    """Answer a port-forward."""
    if not is_websocket(request):
        raise bad_request("Upgrade request required: port-forward is spoken over websocket")
    socket = web.WebSocketResponse(protocols=(TUNNEL, "v4.channel.k8s.io"), compress=False, max_msg_size=0)
    await socket.prepare(request.http)
    dial = _Dial(kubelet, request.target.namespace, request.target.name)
    try:
        async with asyncio.TaskGroup() as group:
            if socket.ws_protocol == TUNNEL:
                await _Tunnel(socket, dial, group).run()
            else:
                await _channels(socket, dial, group, [int(port) for port in request.http.query.getall("ports", [])])
            raise _DoneError
    except* _DoneError:
        await socket.close()
    return socket


class _DoneError(Exception):
    """The caller has gone: its connections end too."""


async def _messages(socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            return
        yield message.data


class _Dial:
    """Opens connections into one pod and carries bytes over them."""

    def __init__(self, kubelet: Kubelet, namespace: str, name: str) -> None:
        self._kubelet = kubelet
        self._namespace = namespace
        self._name = name

    async def carry(self, port: int, source: asyncio.Queue[bytes | None], send: Send) -> str:
        """Carry one connection to its end; gives what went wrong, or nothing."""
        try:
            reader, writer = await self._kubelet.dial(self._namespace, self._name, port)
        except OSError as error:
            await send(b"", True)
            return f"error forwarding port {port} to pod {self._name}: {error}"
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(_feed(source, writer))
                with contextlib.suppress(ConnectionError):
                    while data := await reader.read(_CHUNK):
                        await send(data, False)
                    await send(b"", True)
                feeding.cancel()
        finally:
            writer.close()
        return ""


async def _feed(source: asyncio.Queue[bytes | None], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while (data := await source.get()) is not None:
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class _Tunnel:
    """SPDY inside the websocket: a data and an error stream for each connection."""

    def __init__(self, socket: web.WebSocketResponse, dial: _Dial, group: asyncio.TaskGroup) -> None:
        self._socket = socket
        self._dial = dial
        self._group = group
        self._session = Session()
        self._sources: dict[int, asyncio.Queue[bytes | None]] = {}
        self._errors: dict[str, int] = {}

    async def run(self) -> None:
        """Serve until the caller goes or stops speaking SPDY."""
        with contextlib.suppress(SpdyError):
            async for data in _messages(self._socket):
                for event in self._session.receive(data):
                    await self._take(event)

    async def _take(self, event: object) -> None:
        match event:
            case StreamOpened(stream, headers):
                await self._socket.send_bytes(self._session.reply(stream))
                request = headers.get("requestid", "")
                if headers.get("streamtype") == "error":
                    self._errors[request] = stream
                else:
                    self._sources[stream] = asyncio.Queue()
                    self._group.create_task(self._connect(stream, request, int(headers.get("port", "0"))))
            case DataReceived(stream, data, last):
                source = self._sources.get(stream)
                if source is not None:
                    if data:
                        source.put_nowait(data)
                    if last:
                        source.put_nowait(None)
            case StreamReset(stream):
                if stream in self._sources:
                    self._sources[stream].put_nowait(None)
            case Pinged(frame):
                await self._socket.send_bytes(frame)

    async def _connect(self, stream: int, request: str, port: int) -> None:
        async def send(data: bytes, last: bool) -> None:
            await self._socket.send_bytes(data_frame(stream, data, last=last))

        with contextlib.suppress(ConnectionError):
            problem = await self._dial.carry(port, self._sources[stream], send)
            error = self._errors.pop(request, None)
            if error is not None:
                await self._socket.send_bytes(data_frame(error, problem.encode(), last=True))
        self._sources.pop(stream, None)


async def _channels(socket: web.WebSocketResponse, dial: _Dial, group: asyncio.TaskGroup, ports: list[int]) -> None:
    """Serve the older form: channel 2n carries port n, 2n+1 its errors; each begins with the port's number."""
    sources: list[asyncio.Queue[bytes | None]] = []

    async def connect(number: int, port: int) -> None:
        async def send(data: bytes, last: bool) -> None:
            if not last:
                await socket.send_bytes(bytes([2 * number]) + data)

        with contextlib.suppress(ConnectionError):
            problem = await dial.carry(port, sources[number], send)
            if problem:
                await socket.send_bytes(bytes([2 * number + 1]) + problem.encode())
            await socket.close()

    for number, port in enumerate(ports):
        for channel in (2 * number, 2 * number + 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        sources.append(asyncio.Queue())
        group.create_task(connect(number, port))
    async for data in _messages(socket):
        if len(data) > 1 and data[0] % 2 == 0 and data[0] // 2 < len(sources):
            sources[data[0] // 2].put_nowait(data[1:])
