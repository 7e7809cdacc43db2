"""The client of the API server: whatever is answered is an object or an ApiError, which everybody who calls knows how to survive."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from controlplane.kube.client import ApiError, Cluster
from controlplane.kube.connect import Connection
from controlplane.write.leader import Elector

BODIES = [b"", b"<html>Bad Gateway</html>", b'{"metadata": {"na', b"[]", b'"words"', b"\xff", b"null"]


@pytest.fixture(params=BODIES, ids=repr)
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster behind something that says yes to everything, with these bytes."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=request.param, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Cluster(Connection(server=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    yield made
    await made.close()
    await runner.cleanup()


async def test_answer_that_is_no_object_is_an_error_of_the_api_server(cluster: Cluster) -> None:
    """A balancer's page or half an object ended the process: nobody expects a library's exception."""
    for call in (
        lambda: cluster.get("/x"),
        lambda: cluster.create("/x", {}),
        lambda: cluster.update("/x", {}),
        lambda: cluster.patch("/x", {}),
        lambda: anext(cluster.pages("/x")),
    ):
        with pytest.raises(ApiError, match=r"no (object|list)"):
            await call()


async def test_replica_whose_lease_is_answered_with_nonsense_tries_again(cluster: Cluster) -> None:
    """It does not lead, and it does not end."""
    elector = Elector(cluster, "tulle-system", "tulle", "one")

    assert not await asyncio.wait_for(elector._renewed(), 10)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whoever asks something."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
    writer.close()


async def test_pause_ends_when_an_api_server_that_was_away_answers_anybody() -> None:
    """Feeds of several kinds come back together: by what one of them knows and another does not, a pod that is served looks like none."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        cluster = Cluster(Connection(server=f"http://127.0.0.1:{held.getsockname()[1]}"))
        with pytest.raises(aiohttp.ClientConnectorError):
            await cluster.get("/x")
        waiting = [asyncio.ensure_future(cluster.pause(3600)) for _ in range(3)]
        await cluster.pause(0.01)
        assert not any(one.done() for one in waiting)
        held.listen()
        async with await asyncio.start_server(refuse, sock=held.dup()):
            with pytest.raises(ApiError):
                await cluster.get("/x")
            await asyncio.wait_for(asyncio.gather(*waiting), 5)
            again = asyncio.ensure_future(cluster.pause(3600))
            with pytest.raises(ApiError):
                await cluster.get("/x")
            await asyncio.sleep(0)
            assert not again.done()
            again.cancel()
        await cluster.close()


async def test_server_that_takes_no_connection_is_away_like_one_that_refuses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that is gone answers nothing: who waits for it goes on when it is back, too."""
    monkeypatch.setattr("controlplane.kube.client.CONNECT_SECONDS", 0.2)
    with socket.socket() as full, contextlib.ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            one = queue.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        cluster = Cluster(Connection(server=f"http://127.0.0.1:{full.getsockname()[1]}"))
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await cluster.get("/x")
        waiting = asyncio.ensure_future(cluster.pause(3600))
        queue.close()
        async with await asyncio.start_server(refuse, sock=full.dup()), asyncio.timeout(10):
            while not waiting.done():
                with pytest.raises((ApiError, aiohttp.ConnectionTimeoutError)):  # those before it are taken first
                    await cluster.get("/x")
        await cluster.close()
