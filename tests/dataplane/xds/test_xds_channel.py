"""gRPC on our own codec against grpcio's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from dataplane.net.dial import Dialer
from dataplane.net.poller import Poller
from dataplane.xds.channel import CallListener, Channel


class Told(CallListener):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.end: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()

    def message(self, data: bytes) -> None:
        self.messages.append(data)
        self.arrived.set()

    def finished(self, status: int, words: str) -> None:
        self.end.set_result((status, words))


class Echo(grpc.GenericRpcHandler):
    """`/t/unary` answers, `/t/deny` refuses, `/t/stream` echoes."""

    def service(self, details: Any) -> Any:
        return {
            "/t/unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t/deny": grpc.unary_unary_rpc_method_handler(self.deny),
            "/t/stream": grpc.stream_stream_rpc_method_handler(self.stream),
        }.get(details.method)

    async def unary(self, request: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        return request.upper() + metadata["authorization"].encode()

    async def deny(self, request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "not you, \N{SNOWMAN}")

    async def stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request * 2


@pytest.fixture
def poller(event_loop_or_running: asyncio.AbstractEventLoop) -> Iterator[Poller]:
    made = Poller(event_loop_or_running)
    yield made
    made.close()


@pytest.fixture
async def event_loop_or_running() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
async def server() -> AsyncIterator[int]:
    made = grpc.aio.server()
    made.add_generic_rpc_handlers((Echo(),))
    port = made.add_insecure_port("127.0.0.1:0")
    await made.start()
    yield port
    await made.stop(None)


async def connected(poller: Poller, port: int) -> tuple[Channel, asyncio.Future[str]]:
    loop = asyncio.get_running_loop()
    opened, lost = loop.create_future(), loop.create_future()
    channel = Channel("there", lambda: opened.set_result(None), lost.set_result)
    channel.attach(Dialer(poller).dial("127.0.0.1", port, channel))
    await opened
    return channel, lost


async def test_unary_call_is_answered(server: int, poller: Poller) -> None:
    """Message and metadata arrive, the answer and status come back."""
    channel, lost = await connected(poller, server)
    told = Told()
    channel.call("/t/unary", [("authorization", "Bearer x")], told).send(b"hello", last=True)

    assert await told.end == (0, "")
    assert told.messages == [b"HELLOBearer x"]
    channel.close()
    assert await lost


async def test_refusal_carries_its_words(server: int, poller: Poller) -> None:
    """Status and percent-encoded message of a trailers-only answer are read."""
    channel, lost = await connected(poller, server)
    told = Told()
    channel.call("/t/deny", [], told).send(b"", last=True)

    assert await told.end == (16, "not you, \N{SNOWMAN}")
    channel.close()
    await lost


async def test_stream_goes_both_ways_with_large_messages(server: int, poller: Poller) -> None:
    """Messages beyond a frame and a window come whole, and a check is answered."""
    channel, lost = await connected(poller, server)
    told = Told()
    call = channel.call("/t/stream", [], told)
    for size in (1, 100_000, 900_000):
        call.send(b"x" * size)
        while not told.messages or len(told.messages[-1]) != 2 * size:
            told.arrived.clear()
            await asyncio.wait_for(told.arrived.wait(), 10)
        channel.check()
    call.cancel()
    channel.close()
    await lost

    assert [len(m) for m in told.messages] == [2, 200_000, 1_800_000]


async def test_lost_connection_ends_calls_with_unavailable(server: int, poller: Poller) -> None:
    """Who waits is told, and a later call too."""
    channel, lost = await connected(poller, server)
    told, late = Told(), Told()
    channel.call("/t/stream", [], told)
    channel.close()
    await lost
    channel.call("/t/stream", [], late)

    assert (await told.end)[0] == 14
    assert (await late.end)[0] == 14


async def test_server_that_speaks_no_grpc_is_said_so(poller: Poller) -> None:
    """Garbage ends the connection and its calls."""

    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    plain = await asyncio.start_server(garble, "127.0.0.1", 0)
    async with plain:
        channel, lost = await connected(poller, plain.sockets[0].getsockname()[1])
        told = Told()
        channel.call("/t/unary", [], told)

        assert (await told.end)[0] == 14
        await lost
