"""Protocols that are not HTTP: PostgreSQL with TLS of its own, Redis, a server that greets first; declared, found out, and in the mesh."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from tests.interop.backends import stream_server
from tests.interop.mesh import MeshPair
from tests.support.certs import Authority
from tests.support.peers import postgres, redis, run
from tests.support.sidecar import Sidecar

Proxy = tuple[Sidecar, dict[str, int]]
WAYS = ["tcp", "detect", "mesh"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, proxy: Proxy, pair: MeshPair) -> tuple[int, int]:
    """The port to dial and the port of the app, a way each."""
    if request.param == "mesh":
        return pair.ports["tcp"], pair.ports["app"]
    return proxy[1][request.param], proxy[1]["app"]


@pytest.fixture(scope="class")
def database(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A PostgreSQL with a certificate, on the plain proxy's app port."""
    certificate, key = Authority().issue(dns=("localhost",))
    with postgres(tmp_path_factory.mktemp("database"), proxy[1]["app"], certificate, key):
        yield


def psql(port: int, statement: str, mode: str) -> str:
    """Ask PostgreSQL."""
    target = f"host=127.0.0.1 port={port} user=tester dbname=postgres sslmode={mode} connect_timeout=10"
    return run("psql", "-X", "-A", "-t", target, "-c", statement).strip()


@pytest.mark.parametrize("listener", ["tcp", "detect"])
@pytest.mark.parametrize("mode", ["disable", "require"])
class TestPostgres:
    """`psql`, with and without PostgreSQL's own TLS negotiation, which begins in plaintext."""

    def test_queries_are_answered_without_delay(self, proxy: Proxy, database: None, listener: str, mode: str) -> None:
        """The client speaks first, so finding out takes no time-out (which is two seconds)."""
        begun = time.monotonic()
        answer = psql(proxy[1][listener], "select count(*) from generate_series(1, 1000)", mode)

        assert answer == "1000"
        assert time.monotonic() - begun < 1.8

    def test_tls_is_postgres_own(self, proxy: Proxy, database: None, listener: str, mode: str) -> None:
        """End to end, untouched by us; large answers arrive whole."""
        wanted = "t" if mode == "require" else "f"

        assert psql(proxy[1][listener], "select ssl from pg_stat_ssl where pid = pg_backend_pid()", mode) == wanted
        assert len(psql(proxy[1][listener], "select repeat('x', 2000000)", mode)) == 2_000_000


async def test_redis_is_answered(way: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands, pipelines and a large value."""
    port, app = way
    with redis(tmp_path_factory.mktemp("redis"), app):
        commands = b"SET a 1\nINCR a\nGET a\n"
        answer = await asyncio.to_thread(run, "redis-cli", "-p", str(port), data=commands)
        marks = await asyncio.to_thread(
            run, "redis-benchmark", "-p", str(port), "-n", "2000", "-c", "5", "-t", "set,get", "-q"
        )
        large = await asyncio.to_thread(run, "redis-cli", "-p", str(port), "-x", "SET", "big", data=b"b" * 1_000_000)
        size = await asyncio.to_thread(run, "redis-cli", "-p", str(port), "STRLEN", "big")

    assert answer.split() == ["OK", "2", "2"]
    assert marks.count("requests per second") == 2
    assert (large.strip(), size.strip()) == ("OK", "1000000")


async def test_server_that_greets_first_is_heard_at_once(way: tuple[int, int]) -> None:
    """SMTP and MySQL servers speak first: the greeting comes well before the time-out of detection."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        while line := await reader.readline():
            writer.write(b"250 " + line)

    port, app = way
    async with stream_server(app, greet), asyncio.timeout(10):
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        greeting = await reader.readline()
        took = time.monotonic() - begun
        writer.write(b"HELO me\r\n")
        answer = await reader.readline()
        writer.close()

    assert (greeting, answer) == (b"220 mail.example ESMTP\r\n", b"250 HELO me\r\n")
    assert took < 1.5


async def test_half_close_is_kept(way: tuple[int, int]) -> None:
    """The client ends its side; the server reads to the end and only then answers."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(b"%d" % len(data))
        writer.write_eof()

    port, app = way
    async with stream_server(app, count), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00" + b"x" * 300_000)
        writer.write_eof()
        answer = await reader.read()
        writer.close()

    assert answer == b"300001"


async def test_reset_reaches_the_other_side(way: tuple[int, int]) -> None:
    """A client that resets ends its server's connection soon."""
    heard, over = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                heard.set()
        finally:
            over.set()

    port, app = way
    async with stream_server(app, wait), asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x01\x02\x03")
        await heard.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        await over.wait()


async def test_http_is_found_out(proxy: Proxy) -> None:
    """On the listener that finds out, HTTP is treated as HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    seen: list[bytes] = []
    async with stream_server(proxy[1]["app"], answer), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy[1]["detect"])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await reader.readuntil(b"ok")
        writer.close()

    assert got.startswith(b"HTTP/1.1 200 OK")
    assert b"x-request-id" in seen[0].lower()
