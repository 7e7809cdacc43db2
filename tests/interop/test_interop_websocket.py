"""WebSocket by the `websockets` and `aiohttp` packages: through one sidecar and through the pair with mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import websockets
from aiohttp import web

from tests.interop.mesh import MeshPair
from tests.support.sidecar import Sidecar

Proxy = tuple[Sidecar, dict[str, int]]
BIG = bytes(range(256)) * 2000


@pytest.fixture(params=["one", "mesh"])
def way(request: pytest.FixtureRequest, proxy: Proxy, pair: MeshPair) -> tuple[int, int]:
    """The port to dial and the port of the app."""
    if request.param == "mesh":
        return pair.ports["any"], pair.ports["app"]
    return proxy[1]["one"], proxy[1]["app"]


async def echo(connection: websockets.ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def aiohttp_app(port: int) -> AsyncIterator[None]:
    """A server that echoes at `/ws` and answers elsewhere."""

    async def socket(request: web.Request) -> web.WebSocketResponse:
        made = web.WebSocketResponse()
        await made.prepare(request)
        async for message in made:
            if message.type is aiohttp.WSMsgType.TEXT:
                await made.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await made.send_bytes(message.data)
        return made

    async def plain(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        async for piece in request.content.iter_any():
            await answer.write(piece)
        return answer

    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/ws", socket)
    app.router.add_route("*", "/plain", plain)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_websockets_talks_to_websockets(way: tuple[int, int]) -> None:
    """Text, large binary messages, ping, and the closing code both ways; compression is agreed end to end."""
    port, app = way
    async with (
        websockets.serve(echo, "127.0.0.1", app, max_size=None),
        websockets.connect(f"ws://127.0.0.1:{port}/ws?x=1", max_size=None) as client,
    ):
        await client.send("hello")
        assert await client.recv() == "hello"
        await client.send(BIG)
        assert await client.recv() == BIG
        await (await client.ping())
        await client.close(4001, "enough")

    assert (client.close_code, client.close_reason) == (4001, "enough")


async def test_server_ends_the_conversation(way: tuple[int, int]) -> None:
    """The server's closing code arrives."""

    async def leave(connection: websockets.ServerConnection) -> None:
        await connection.send("bye")
        await connection.close(4002, "gone")

    port, app = way
    async with websockets.serve(leave, "127.0.0.1", app), websockets.connect(f"ws://127.0.0.1:{port}/") as client:
        assert await client.recv() == "bye"
        with pytest.raises(websockets.ConnectionClosed) as ended:
            await client.recv()

    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4002


async def test_many_websockets_side_by_side(way: tuple[int, int]) -> None:
    """Thirty conversations at once do not mix."""
    port, app = way

    async def talk(number: int) -> list[str]:
        async with websockets.connect(f"ws://127.0.0.1:{port}/") as client:
            got = []
            for turn in range(5):
                await client.send(f"{number}.{turn}")
                got.append(str(await client.recv()))
            return got

    async with websockets.serve(echo, "127.0.0.1", app):
        results = await asyncio.gather(*(talk(number) for number in range(30)))

    assert results == [[f"{number}.{turn}" for turn in range(5)] for number in range(30)]


async def test_refused_handshake_arrives_as_it_is(way: tuple[int, int]) -> None:
    """A server that says no in HTTP is heard."""

    def refuse(connection: websockets.ServerConnection, _: object) -> object:
        return connection.respond(403, "not you\n")

    port, app = way
    async with websockets.serve(echo, "127.0.0.1", app, process_request=refuse):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"ws://127.0.0.1:{port}/"):
                pass

    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"not you\n")


async def test_aiohttp_talks_to_aiohttp(way: tuple[int, int]) -> None:
    """The same server for WebSocket and for plain requests, one client session for both."""
    port, app = way
    base = f"http://127.0.0.1:{port}"
    async with aiohttp_app(app), aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{base}/ws") as socket:
            await socket.send_str("hi")
            assert await socket.receive_str() == "hi"
            await socket.send_bytes(BIG)
            assert await socket.receive_bytes() == BIG
        async with session.post(f"{base}/plain", data=BIG) as answer:
            assert await answer.read() == BIG
        answers = await asyncio.gather(*(plain(session, f"{base}/plain", number) for number in range(50)))

    assert answers == [str(number) for number in range(50)]


async def plain(session: aiohttp.ClientSession, url: str, number: int) -> str:
    async with session.post(url, data=str(number)) as answer:
        return await answer.text()
