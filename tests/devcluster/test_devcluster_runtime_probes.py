"""Probes against real servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
import pytest

from devcluster.runtime.probes import Subject, ask
from tests.support.objects import container

PORTS = [{"name": "web", "containerPort": 1}]


async def nothing(_: Sequence[str]) -> tuple[int, str]:
    return 3, "no good\n"


SUBJECT = Subject(address="127.0.0.1", container=container(ports=PORTS), execute=nothing)


@pytest.fixture
async def health() -> AsyncIterator[int]:
    """A gRPC server whose service `ill` is not serving; gives its port."""

    async def check(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return b"\x08\x02" if b"ill" in request else b"\x08\x01"

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
async def web() -> AsyncIterator[int]:
    """An HTTP server that answers with the status its path names; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        status = head.split(" ")[1].strip("/")
        if "x-who: me" not in head:
            status = "400"
        writer.write(f"HTTP/1.1 {status} Word\r\ncontent-length: 4\r\n\r\nbody".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_grpc_probe_speaks_the_health_protocol(health: int, web: int) -> None:
    """Serving, not serving, no such server."""
    assert await ask({"grpc": {"port": health}}, SUBJECT) is None
    assert await ask({"grpc": {"port": health, "service": "well"}}, SUBJECT) is None
    said = await ask({"grpc": {"port": health, "service": "ill"}}, SUBJECT)
    assert said == "service unhealthy (responded with a status other than SERVING)"
    assert await ask({"grpc": {"port": web}}, SUBJECT) is not None


@pytest.mark.parametrize(
    ("path", "said"),
    [("/200", None), ("302", None), ("/404", "HTTP probe failed with statuscode: 404 (body)"), ("/500", "500")],
)
async def test_http_probe_takes_200_to_399(web: int, path: str, said: str | None) -> None:
    """With the headers asked for; the body is told when it fails."""
    headers = [{"name": "X-Who", "value": "me"}]
    answer = await ask({"httpGet": {"port": web, "path": path, "httpHeaders": headers}}, SUBJECT)

    assert answer is None if said is None else said in str(answer)


async def test_other_probes_and_their_failures(web: int) -> None:
    """TCP, exec, a closed port, a name nobody has, silence."""
    assert await ask({"tcpSocket": {"port": web}}, SUBJECT) is None
    assert await ask({"exec": {"command": ["x"]}}, SUBJECT) == "no good"
    assert "127.0.0.1" in str(await ask({"tcpSocket": {"port": 1}}, SUBJECT))
    assert "couldn't find port" in str(await ask({"httpGet": {"port": "other"}}, SUBJECT))

    over = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await ask({"httpGet": {"port": port}, "timeoutSeconds": 1}, SUBJECT)
        await over.wait()

    assert said == "context deadline exceeded (no answer in 1 s)"
