"""Real clients and servers through two sidecars and mutual TLS: curl, h2load, aiohttp, gRPC."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc
import pytest

from tests.dataplane.proxy import pair as pairs
from tests.dataplane.proxy.pair import Pair


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One pair for all tests here."""
    with pairs.pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture(autouse=True)
def nothing_left(mesh: Pair) -> Iterator[None]:
    """After each test no request is on its way in either sidecar."""
    yield
    end = time.monotonic() + 5
    while mesh.gauge("tulle_proxy_requests_active"):
        assert time.monotonic() < end, mesh.metrics()
        time.sleep(0.02)


def curl(mesh: Pair, path: str, *arguments: str, stdin: bytes = b"") -> bytes:
    url = f"http://127.0.0.1:{mesh.web}{path}"
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", *arguments, url], input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http1.0", "1.1")])
def test_curl_gets_the_apps_answer(mesh: Pair, flag: str, version: str) -> None:
    """The head arrives as it was sent, with what the mesh adds and nothing of the mesh's own."""
    said = json.loads(curl(mesh, "/a/b?c=%20", flag, "-H", "X-Odd-Case: 1"))
    names = {name.lower() for name, _ in said["headers"]}

    assert (said["path"], said["version"]) == ("/a/b?c=%20", version)
    assert {"host", "user-agent", "accept", "x-odd-case", "x-forwarded-proto", "x-request-id"} == names


def test_spelling_of_http1_ends_at_the_second_sidecar(mesh: Pair) -> None:
    """HTTP/2 between them has neither reason phrases nor capitals: said in forwarding.md, and no more lost than that."""
    said = json.loads(curl(mesh, "/", "-H", "X-Odd-Case: As It Is"))
    lines = curl(mesh, "/spelt", "-i").split(b"\r\n")

    assert ["x-odd-case", "As It Is"] in said["headers"]
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"x-odd-case: 1" in lines


def test_large_body_passes_whole_both_ways(mesh: Pair, tmp_path: Path) -> None:
    """Eight megabytes up and the same down, at the same time."""
    body = bytes(range(256)) * 32768
    path = tmp_path / "body"
    path.write_bytes(body)

    assert curl(mesh, "/echo", "--data-binary", f"@{path}") == body


def test_head_has_no_body(mesh: Pair) -> None:
    """Framing is right where there is nothing to frame, and curl does not wait for more."""
    assert curl(mesh, "/x", "-I").startswith(b"HTTP/1.1 200 OK\r\n")


def test_many_connections_are_served(mesh: Pair) -> None:
    """h2load with 64 clients over HTTP/1.1: every request succeeds."""
    done = subprocess.run(
        ["h2load", "--h1", "-n", "3000", "-c", "64", f"http://127.0.0.1:{mesh.web}/x"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "3000 succeeded, 0 failed, 0 errored" in done.stdout


def test_slow_reader_bounds_memory(mesh: Pair) -> None:
    """A client that does not read holds up the server, not the sidecars' memory."""

    def resident() -> float:
        return mesh.gauge("process_resident_memory_bytes")

    before = resident()
    with socket.create_connection(("127.0.0.1", mesh.web)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /large?n=200000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(10)
        time.sleep(1.0)
        assert resident() - before < 30_000_000


async def test_websocket_passes(mesh: Pair) -> None:
    """Aiohttp on both ends, frames in both directions, a close handshake."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{mesh.web}/chat") as chat,
    ):
        for word in ("a", "b" * 70000):
            await chat.send_str(word)
            assert (await chat.receive_str(timeout=5)) == word * 2


async def test_streamed_answer_is_not_held_back(mesh: Pair) -> None:
    """The first piece comes back before the last is sent."""
    async with aiohttp.ClientSession() as session:

        async def body() -> object:
            yield b"first"
            await arrived
            yield b"second"

        arrived = asyncio.get_running_loop().create_future()
        async with session.post(f"http://127.0.0.1:{mesh.web}/echo", data=body()) as answer:
            assert await answer.content.readany() == b"first"
            arrived.set_result(None)
            assert await answer.content.read() == b"second"


def test_mutual_tls_is_on_the_metrics(mesh: Pair) -> None:
    """The callee's sidecar knows the caller's identity, the caller's knows it spoke mesh TLS."""
    curl(mesh, "/x")
    out, into = mesh.metrics()

    assert 'source_principal="spiffe://t/ns/n/sa/caller"' in into
    assert 'connection_security_policy="mutual_tls"' in out


# --- gRPC -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def channel(mesh: Pair) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{mesh.grpc}") as channel:
        yield channel


def test_grpc_unary_and_streams_pass(channel: grpc.Channel) -> None:
    """All four shapes."""
    assert channel.unary_unary("/t.T/Say")(b"ab", timeout=5) == b"abab"
    assert list(channel.unary_stream("/t.T/Count")(b"500", timeout=5))[-1] == b"499"
    assert list(channel.stream_stream("/t.T/Each")(iter([b"a", b"b"]), timeout=5)) == [b"A", b"B"]
    assert channel.unary_unary("/t.T/Say")(b"x" * 2_000_000, timeout=10) == b"x" * 4_000_000


def test_grpc_status_and_message_pass(channel: grpc.Channel) -> None:
    """The server's own error, in trailers."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Fail")(b"", timeout=5)

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "not here: ü")


def test_grpc_cancellation_reaches_the_server(channel: grpc.Channel) -> None:
    """The handler hears that its client has gone."""
    pairs.WAITING.clear()
    pairs.CANCELLED.clear()
    call = channel.unary_unary("/t.T/Wait").future(b"")
    assert pairs.WAITING.wait(5)
    call.cancel()

    assert pairs.CANCELLED.wait(5)


def test_grpc_deadline_ends_the_call_at_both_ends(channel: grpc.Channel) -> None:
    """grpc-timeout passes, and the client's own clock decides."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Wait")(b"", timeout=0.2)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_grpc_unknown_method_is_told_by_the_server(channel: grpc.Channel) -> None:
    """Headers-only answers pass."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Nothing")(b"", timeout=5)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_many_streams_share_few_connections(mesh: Pair, tmp_path: Path) -> None:
    """h2load calls the gRPC app on four connections of sixteen streams."""
    message = tmp_path / "message"
    message.write_bytes(b"\0\0\0\0\2ab")
    fields = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(message)]
    done = subprocess.run(
        ["h2load", "-n", "1000", "-c", "4", "-m", "16", *fields, f"http://127.0.0.1:{mesh.grpc}/t.T/Say"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "1000 succeeded, 0 failed, 0 errored" in done.stdout
