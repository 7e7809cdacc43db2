"""A slow reader slows the far writer, and what a connection may hold in the sidecar is bounded."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame, WindowUpdateFrame

from meshapi import names
from tests.interop.backends import stream_server
from tests.interop.cases import head
from tests.interop.clients import PREFACE, Http2Client
from tests.support.ports import free_ports
from tests.support.sidecar import Identities, Sidecar, chain, cluster, http, listener, sidecar, tcp, to, write

PUSHED = 200 << 20
"""What the far side wants to send."""
HELD = 48 << 20
"""What may be on its way: socket buffers of the kernel on both hops (which grow by themselves), and the sidecar's own bound."""
GROWTH = 8 << 20
"""Resident memory a stuck connection may cost the sidecar."""
PIECE = b"\x7f" * 65536


class Flood:
    """A server or client that pushes all it can and counts what left it."""

    def __init__(self) -> None:
        self.sent = 0

    async def push(self, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while self.sent < PUSHED:
                writer.write(PIECE)
                await writer.drain()
                self.sent += len(PIECE)

    async def stuck(self) -> None:
        """Wait until nothing has left for a while."""
        async with asyncio.timeout(20):
            before = -1
            while before != self.sent or not self.sent:
                before = self.sent
                await asyncio.sleep(0.4)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sidecar, dict[str, int], Identities]]:
    """Listeners with and without mesh TLS, for HTTP to either version and for TCP."""
    directory: Path = tmp_path_factory.mktemp("slow")
    kinds = ("one", "two", "tcp", "one-tls", "two-tls", "tcp-tls", "app")
    ports = dict(zip(kinds, free_ports(len(kinds)), strict=True))
    identities = Identities()
    listeners = []
    for kind, filter_, alpn in (
        ("one", http([to("one")]), names.ALPN_HTTP1),
        ("two", http([to("two")]), names.ALPN_H2),
        ("tcp", tcp("one"), names.ALPN_TCP),
    ):
        listeners.append(listener(kind, ports[kind], chain(filter_)))
        listeners.append(listener(f"{kind}-tls", ports[f"{kind}-tls"], chain(filter_, tls=identities.server(alpn))))
    clusters = [cluster("one", ports["app"]), cluster("two", ports["app"], protocol="http2")]
    with sidecar(write(directory / "slow.json", listeners, clusters), directory) as made:
        yield made, ports, identities


def client_tls(identities: Identities, alpn: str) -> ssl.SSLContext:
    """A client's side of mesh TLS."""
    certificate, key = identities.root.issue("spiffe://test/ns/a/sa/client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@asynccontextmanager
async def dial(
    world: tuple[Sidecar, dict[str, int], Identities], kind: str, *, tls: bool
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client connection with a small receive buffer, so that its not reading is felt."""
    _, ports, identities = world
    alpn = {"one": names.ALPN_HTTP1, "two": names.ALPN_H2, "tcp": names.ALPN_TCP}[kind]
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", ports[f"{kind}-tls" if tls else kind]))
    secured = {"ssl": client_tls(identities, alpn), "server_hostname": "a"} if tls else {}
    reader, writer = await asyncio.open_connection(sock=plain, limit=65536, **secured)  # type: ignore[arg-type]
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", ["one", "tcp"])
async def test_client_that_does_not_read_stops_the_server(
    world: tuple[Sidecar, dict[str, int], Identities], kind: str, tls: bool
) -> None:
    """A download over HTTP/1, and bytes over TCP: 200 MB wait where they come from."""
    made, ports, _ = world
    flood = Flood()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kind == "one":
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % PUSHED)
        else:
            await reader.read(1)
        await flood.push(writer)

    before = made.resident()
    async with stream_server(ports["app"], serve), dial(world, kind, tls=tls) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" if kind == "one" else b"\x01")
        await flood.stuck()
        grown, held = made.resident() - before, flood.sent
        reading = 0
        while reading < held + (8 << 20):  # it goes on once the client reads
            reading += len(await reader.read(65536))

    assert held < HELD, f"{held >> 20} MB left the server"
    assert grown < GROWTH, f"the sidecar grew by {grown >> 10} KB"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", ["one", "tcp"])
async def test_server_that_does_not_read_stops_the_client(
    world: tuple[Sidecar, dict[str, int], Identities], kind: str, tls: bool
) -> None:
    """An upload over HTTP/1, and bytes over TCP."""
    made, ports, _ = world
    flood, over = Flood(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await over.wait()

    before = made.resident()
    async with stream_server(ports["app"], serve, limit=1024), dial(world, kind, tls=tls) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: %d\r\n\r\n" % PUSHED if kind == "one" else b"\x01")
        pushing = asyncio.ensure_future(flood.push(writer))
        await flood.stuck()
        grown, held = made.resident() - before, flood.sent
        pushing.cancel()
        over.set()

    assert held < HELD, f"{held >> 20} MB left the client"
    assert grown < GROWTH, f"the sidecar grew by {grown >> 10} KB"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_stream_that_is_not_read_stops_its_server_and_no_other(
    world: tuple[Sidecar, dict[str, int], Identities], tls: bool
) -> None:
    """HTTP/2 to HTTP/2: five streams whose client opens no window; another stream of the connection is served.

    More would fill the window of the connection to the server: that bounds what the sidecar holds, and stops all its streams.
    """
    made, ports, _ = world
    flood = Flood()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = _Server(reader, writer, flood)
        await server.run()

    before = made.resident()
    async with stream_server(ports["app"], serve), dial(world, "two", tls=tls) as (reader, writer):
        client = Http2Client(reader, writer)
        settings = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
        writer.write(PREFACE + SettingsFrame(0, settings).serialize())
        for stream in range(1, 11, 2):
            client.request(stream, head("/flood"))
        await flood.stuck()
        grown, held = made.resident() - before, flood.sent
        client.request(21, head("/small"))
        client.send(WindowUpdateFrame(21, window_increment=1000))
        await client.until(21)
        body = client.streams[21].body
        await client.close()

    assert body == b"ok"
    assert held < HELD, f"{held >> 20} MB left the server"
    assert grown < GROWTH, f"the sidecar grew by {grown >> 10} KB"


class _Server:
    """A little HTTP/2 server that sends as far as windows allow: endlessly at `/flood`, two bytes elsewhere."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flood: Flood) -> None:
        self.client = Http2Client(reader, writer)
        self.client._reading.cancel()
        self.reader, self.writer, self.flood = reader, writer, flood
        self.flooding: list[int] = []

    async def run(self) -> None:
        client = self.client
        await self.reader.readexactly(len(PREFACE))
        client.send(SettingsFrame(0))
        while True:
            raw = await self.reader.readexactly(9)
            frame, size = Frame.parse_frame_header(memoryview(raw))
            frame.parse_body(memoryview(await self.reader.readexactly(size)))
            if isinstance(frame, HeadersFrame):
                path = dict(client.decoder.decode(frame.data))[":path"]
                client.send(client.head(frame.stream_id, [(":status", "200")]))
                if path == "/flood":
                    self.flooding.append(frame.stream_id)
                else:
                    client.send(DataFrame(frame.stream_id, b"ok", flags=["END_STREAM"]))
            elif isinstance(frame, WindowUpdateFrame | SettingsFrame):
                client._take(frame)
            for stream in self.flooding:
                await self._send(stream)

    async def _send(self, stream: int) -> None:
        windows = self.client.windows
        while (room := min(windows[0], windows.setdefault(stream, self.client.initial), 16384)) > 0:
            windows[0] -= room
            windows[stream] -= room
            self.flood.sent += room
            self.client.send(DataFrame(stream, PIECE[:room]))
        await self.writer.drain()


async def test_upload_over_http2_is_bounded_by_its_window(world: tuple[Sidecar, dict[str, int], Identities]) -> None:
    """HTTP/2 to HTTP/1: a server that does not read leaves the client without window."""
    made, ports, _ = world
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await over.wait()

    before = made.resident()
    async with stream_server(ports["app"], serve, limit=1024):
        client = await Http2Client.connect(ports["one"])
        client.send(client.head(1, head("/", "", "POST")))
        flood = Flood()

        async def push() -> None:
            while flood.sent < PUSHED:
                await client.upload(1, PIECE, end=False)
                flood.sent += len(PIECE)

        pushing = asyncio.ensure_future(push())
        await flood.stuck()
        grown, held = made.resident() - before, flood.sent
        pushing.cancel()
        over.set()
        await client.close()

    assert held < HELD, f"{held >> 20} MB left the client"
    assert grown < GROWTH, f"the sidecar grew by {grown >> 10} KB"


async def test_nothing_is_held_when_all_have_gone(world: tuple[Sidecar, dict[str, int], Identities]) -> None:
    """After all that: no connection, no request, no relay, and no file descriptor more than at rest."""
    made, *_ = world
    await asyncio.to_thread(made.settle)

    assert made.held() == {}
    assert made.descriptors() < 40
