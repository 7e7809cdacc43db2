"""Real grpcio clients and servers: through one sidecar without TLS, and through the pair with mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web

from tests.interop.mesh import MeshPair
from tests.support.sidecar import Sidecar

Proxy = tuple[Sidecar, dict[str, int]]
OPTIONS = (("grpc.max_receive_message_length", 1 << 26), ("grpc.max_send_message_length", 1 << 26))
LARGE = b"L" * 5_000_000


@dataclass
class Service:
    """Speaks bytes; what it saw is kept."""

    name: str
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    metadata: dict[str, Any] = field(default_factory=dict)
    calls: int = 0

    async def unary(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata() or ())
        await context.send_initial_metadata((("x-first", "1"), ("x-raw-bin", b"\x00\xff")))
        context.set_trailing_metadata((("x-last", "2"), ("x-end-bin", b"\xfe")))
        return request + b"@" + self.name.encode()

    async def fail(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Fail at once (headers only), or after the first headers."""
        if request == b"late":
            await context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00e9 100%")
        return b""

    async def wait(self, _: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        """Wait until the client gives up."""
        self.begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def count(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def total(self, requests: AsyncIterator[bytes], _: Any) -> bytes:
        size = 0
        async for request in requests:
            size += len(request)
        return b"%d" % size

    async def echo(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def endless(self, _: bytes, __: Any) -> AsyncIterator[bytes]:
        self.begun.set()
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            self.cancelled.set()

    async def drop(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """End with an error while the client is still sending."""
        async for _ in requests:
            yield b"one"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        shapes = {
            "unary": grpc.unary_unary_rpc_method_handler,
            "fail": grpc.unary_unary_rpc_method_handler,
            "wait": grpc.unary_unary_rpc_method_handler,
            "count": grpc.unary_stream_rpc_method_handler,
            "endless": grpc.unary_stream_rpc_method_handler,
            "total": grpc.stream_unary_rpc_method_handler,
            "echo": grpc.stream_stream_rpc_method_handler,
            "drop": grpc.stream_stream_rpc_method_handler,
        }
        handlers = {name: shape(getattr(self, name)) for name, shape in shapes.items()}
        made: grpc.GenericRpcHandler[Any, Any] = grpc.method_handlers_generic_handler("test.Service", handlers)
        return made


@asynccontextmanager
async def served(port: int, name: str = "one") -> AsyncIterator[Service]:
    """A grpcio server."""
    service = Service(name)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((service.handler(),))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    try:
        yield service
    finally:
        await server.stop(0.2)


@dataclass
class Caller:
    """A grpcio channel and the service at its other end."""

    channel: grpc.aio.Channel
    service: Service

    def unary(self, name: str) -> Any:
        return self.channel.unary_unary(f"/test.Service/{name}")


@pytest.fixture(params=["one sidecar", "pair"])
def way(request: pytest.FixtureRequest, proxy: Proxy, pair: MeshPair) -> tuple[int, int]:
    """The port to dial and the port of the server."""
    return (pair.ports["any"], pair.ports["app"]) if request.param == "pair" else (proxy[1]["two"], proxy[1]["app"])


@asynccontextmanager
async def calling(way: tuple[int, int]) -> AsyncIterator[Caller]:
    """A server, and a channel to it through the proxies."""
    async with served(way[1]) as service, grpc.aio.insecure_channel(f"127.0.0.1:{way[0]}", options=OPTIONS) as channel:
        yield Caller(channel, service)


async def test_unary_call_with_metadata(way: tuple[int, int]) -> None:
    """Text and binary metadata both ways, initial and trailing."""
    async with calling(way) as caller:
        call = caller.unary("unary")(b"hi", metadata=(("x-mine", "m"), ("x-mine-bin", b"\x00\x01\xff")), timeout=10)
        answer = await call
        first = dict(await call.initial_metadata())
        last = dict(await call.trailing_metadata())

    assert answer == b"hi@one"
    assert (first["x-first"], first["x-raw-bin"]) == ("1", b"\x00\xff")
    assert (last["x-last"], last["x-end-bin"]) == ("2", b"\xfe")
    assert (caller.service.metadata["x-mine"], caller.service.metadata["x-mine-bin"]) == ("m", b"\x00\x01\xff")


async def test_large_messages(way: tuple[int, int]) -> None:
    """Five megabytes there and back."""
    async with calling(way) as caller:
        assert await caller.unary("unary")(LARGE, timeout=20) == LARGE + b"@one"


async def test_server_stream(way: tuple[int, int]) -> None:
    """Five hundred messages in order."""
    async with calling(way) as caller:
        call = caller.channel.unary_stream("/test.Service/count")(b"500", timeout=20)

        assert [int(message) async for message in call] == list(range(500))


async def test_client_stream(way: tuple[int, int]) -> None:
    """Many messages in, one answer."""

    async def messages() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 10_000

    async with calling(way) as caller:
        assert await caller.channel.stream_unary("/test.Service/total")(messages(), timeout=20) == b"2000000"


async def test_both_stream_in_turns(way: tuple[int, int]) -> None:
    """Each message is answered before the next is sent: nothing is held back for more."""
    async with calling(way) as caller:
        call = caller.channel.stream_stream("/test.Service/echo")(timeout=20)
        for number in range(50):
            await call.write(b"%d" % number)
            assert await call.read() == b"%d" % number
        await call.done_writing()

        assert await call.read() == grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("when", [b"at once", b"late"])
async def test_error_arrives_with_its_words(way: tuple[int, int], when: bytes) -> None:
    """Headers only, and in trailers: code, message in UTF-8, trailing metadata."""
    async with calling(way) as caller:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await caller.unary("fail")(when, timeout=10)

    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert failed.value.details() == "no such thing: \u00e9 100%"
    assert dict(failed.value.trailing_metadata())["x-last"] == "2"


async def test_deadline_reaches_the_server(way: tuple[int, int]) -> None:
    """The client stops waiting, and the server learns of it."""
    async with calling(way) as caller:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await caller.unary("wait")(b"", timeout=0.5)
        async with asyncio.timeout(10):
            await caller.service.cancelled.wait()

    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_cancellation_reaches_the_server(way: tuple[int, int]) -> None:
    """A client that cancels a call it waits for, and one that leaves a stream in the middle."""
    async with calling(way) as caller, asyncio.timeout(10):
        call = caller.unary("wait")(b"")
        await caller.service.begun.wait()
        call.cancel()
        await caller.service.cancelled.wait()
        caller.service.cancelled.clear()
        stream = caller.channel.unary_stream("/test.Service/endless")(b"")
        assert len(await stream.read()) == 1000
        stream.cancel()
        await caller.service.cancelled.wait()


async def test_server_ends_a_stream_the_client_keeps_open(way: tuple[int, int]) -> None:
    """The error arrives after the messages before it, though the client has not ended its side."""
    async with calling(way) as caller:
        call = caller.channel.stream_stream("/test.Service/drop")(timeout=10)
        await call.write(b"more")
        got = await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()

    assert got == b"one"
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_many_calls_at_once(way: tuple[int, int]) -> None:
    """Three hundred calls over one channel, more than a connection's streams; each gets its own answer."""
    async with calling(way) as caller:
        unary = caller.unary("unary")
        answers = await asyncio.gather(*(unary(b"%d" % number, timeout=20) for number in range(300)))

    assert answers == [b"%d@one" % number for number in range(300)]


async def test_calls_of_one_channel_are_spread(proxy: Proxy) -> None:
    """Each request is balanced by itself: one client connection, two servers, equal shares."""
    ports = proxy[1]
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(served(ports[port], port)) for port in ("app", "app2")]
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{ports['both']}"))
        call = channel.unary_unary("/test.Service/unary")
        for _ in range(40):
            await call(b"", timeout=10)

    assert sorted(service.calls for service in services) == [20, 20]


async def test_without_a_server_calls_are_unavailable(way: tuple[int, int]) -> None:
    """The proxy's own refusal is a status gRPC knows, with the reason in it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{way[0]}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/test.Service/unary")(b"", timeout=10)

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "upstream_connect_failed" in str(failed.value.details())


async def test_grpc_status_is_counted(proxy: Proxy) -> None:
    """A failure that is HTTP 200 on the wire is counted by its gRPC status."""
    made, ports = proxy
    before = made.total("tulle_requests_total", 'grpc_response_status="5"')
    async with calling((ports["two"], ports["app"])) as caller:
        for when in (b"at once", b"late"):
            with pytest.raises(grpc.aio.AioRpcError):
                await caller.unary("fail")(when, timeout=10)

    assert made.total("tulle_requests_total", 'grpc_response_status="5"') - before == 2


async def test_grpc_web_passes_through(proxy: Proxy) -> None:
    """Gravely different framing over HTTP/1 is left alone: body and content type, trailers inside the body."""
    message = b"\x00\x00\x00\x00\x02hi"
    trailer = b"\x80\x00\x00\x00\x0fgrpc-status:0\r\n"

    async def serve(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers["content-type"], await request.read()))
        return web.Response(body=message + trailer, headers={"content-type": "application/grpc-web+proto"})

    seen: list[tuple[str, str, bytes]] = []
    app = web.Application()
    app.router.add_post("/test.Service/unary", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", proxy[1]["app"]).start()
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    url = f"http://127.0.0.1:{proxy[1]['any']}/test.Service/unary"
    async with aiohttp.ClientSession() as session, session.post(url, data=message, headers=headers) as answer:
        got = (answer.status, answer.headers["content-type"], await answer.read())
    await runner.cleanup()

    assert got == (200, "application/grpc-web+proto", message + trailer)
    assert seen == [("/test.Service/unary", "application/grpc-web+proto", message)]
