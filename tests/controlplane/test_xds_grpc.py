"""A gRPC client without a sidecar (`xds:///`, state of the world) finds services, follows them, and fails fast on unknown ones."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from tests.support import meshobjects as mo
from tests.support.adsserver import Served, connected, served
from tests.support.adsworld import WorldClient

CALLER = """
import sys, grpc
for line in sys.stdin:
    target, _, word = line.strip().partition(" ")
    with grpc.insecure_channel(target) as channel:
        try:
            print("ok " + channel.unary_unary("/t.Echo/Say")(word.encode(), timeout=8).decode(), flush=True)
        except grpc.RpcError as error:
            print(f"{error.code().name} {error.details()}", flush=True)
"""


class Caller:
    """A client process; gRPC reads its xDS bootstrap once a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, target: str, word: str = "x") -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{target} {word}\n".encode())
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def caller(held: Served) -> AsyncIterator[Caller]:
    server = {
        "server_uri": f"127.0.0.1:{held.port}",
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    bootstrap = {"xds_servers": [server], "node": {"id": "web-1.shop"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CALLER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)},
    )
    try:
        yield Caller(process)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def echo(name: str) -> AsyncIterator[int]:
    """A gRPC server that answers with its name; gives its port."""

    async def say(request: bytes, _: object) -> bytes:
        return name.encode() + b":" + request

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(say)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", {"Say": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


def slice_of(service: str, port: int) -> dict[str, object]:
    return mo.endpoint_slice(service, mo.endpoint(f"{service}-1", "127.0.0.1"), ports={"http": port})


async def test_call_reaches_the_service_by_its_names_and_follows_its_endpoints() -> None:
    """Short and long name work; when the endpoints move, the next call goes there."""
    async with served() as held, echo("one") as one, echo("two") as two, caller(held) as client:
        held.apply(slice_of("web", one))
        assert await client.call("xds:///web.shop:80", "a") == "ok one:a"
        assert await client.call("xds:///web.shop.svc.cluster.local:80", "b") == "ok one:b"
        held.apply(slice_of("web", two))
        assert await client.call("xds:///web.shop:80", "c") == "ok two:c"


async def test_unknown_service_fails_at_once() -> None:
    """The answer to a name that does not exist is an error now, not silence for fifteen seconds."""
    async with served() as held, caller(held) as client:
        async with asyncio.timeout(5):
            said = await client.call("xds:///nobody.shop:80")

    assert said.startswith("UNAVAILABLE")


async def test_open_channel_is_pushed_new_routes() -> None:
    """A client that holds its channel sees a route change without asking again."""
    async with served() as held, echo("web") as web, echo("api") as api:
        held.apply(slice_of("web", web), slice_of("api", api))
        async with connected(held) as channel:
            client = WorldClient(channel)
            before = await client.ask_listener("web.shop:80")
            held.apply(mo.route("all", {"backendRefs": [mo.to("api")]}))
            after = await client.receive()

    assert "shop/api:80" not in str(before)
    assert "shop/api:80" in str(after)
