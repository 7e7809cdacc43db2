"""Servers that write down exactly what reaches them and do what the request's `x-do` header says."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.frame import GoAwayFrame

Pairs = list[tuple[str, str]]
BIG = bytes(range(256)) * 8192
"""Two megabytes."""


@dataclass
class Seen:
    """A request as it arrived."""

    line: str
    headers: Pairs
    body: bytearray = field(default_factory=bytearray)
    trailers: Pairs = field(default_factory=list)
    end: str = "complete"

    def one(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class Book:
    """Requests by the case that sent them."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Seen]] = {}

    def note(self, line: str, headers: Pairs) -> Seen:
        made = Seen(line, headers)
        self.seen.setdefault(made.one("x-case"), []).append(made)
        return made


# --- HTTP/1 -----------------------------------------------------------------------------------------------------------

_OK = "HTTP/1.1 200 OK\r\nX-From: backend\r\n"
_FIXED = {
    "ok": _OK + "Content-Length: 2\r\n\r\nok",
    "chunked": _OK + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
    "trailers": _OK
    + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Two: b\r\n\r\n",
    "head": _OK + "Content-Length: 1234\r\n\r\n",
    "204": "HTTP/1.1 204 No Content\r\nX-From: backend\r\n\r\n",
    "304": 'HTTP/1.1 304 Not Modified\r\nX-From: backend\r\nETag: "a"\r\nContent-Length: 99\r\n\r\n',
    "103": "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + _OK + "Content-Length: 2\r\n\r\nok",
    "417": "HTTP/1.1 417 Expectation Failed\r\nX-From: backend\r\nContent-Length: 0\r\n\r\n",
    "500": "HTTP/1.1 500 Oh No\r\nX-From: backend\r\nContent-Length: 4\r\n\r\nfail",
    "503": "HTTP/1.1 503 Busy\r\nX-From: backend\r\nContent-Length: 0\r\n\r\n",
    "599": "HTTP/1.1 599 Own Words\r\nX-From: backend\r\nContent-Length: 0\r\n\r\n",
    "cookies": _OK + "Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-EMPTY:\r\nContent-Length: 2\r\n\r\nok",
    "hop": _OK + "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
    "http10": "HTTP/1.0 200 OK\r\nX-From: backend\r\nContent-Length: 2\r\n\r\nok",
    "garbage": "this is no HTTP\r\n\r\n",
    "cl-te": _OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cl-twice": _OK + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    "fold": _OK + "X-Fold: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "many": _OK + "".join(f"X-H{n}: {n}\r\n" for n in range(120)) + "Content-Length: 2\r\n\r\nok",
    "bad-chunk": _OK + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "grpc-error": "HTTP/1.1 200 OK\r\nX-From: backend\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
}


class Http1Backend:
    """One HTTP/1 server."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.failed: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = raw[:-4].split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (one.partition(":") for one in fields)]
        seen = self.book.note(line, headers)
        do = seen.one("x-do") or "ok"
        seen.end = "incomplete"
        early = await self._before_body(do, reader, writer)
        if early is not None:
            return early
        await self._body(seen, reader)
        seen.end = "complete"
        return await self._answer(do, seen, reader, writer)

    async def _before_body(self, do: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool | None:
        """What is done as soon as the head is there."""
        match do:
            case "100":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            case "early":
                writer.write(
                    b"HTTP/1.1 413 Too Large\r\nX-From: backend\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                )
                writer.write_eof()
                with suppress(OSError):
                    while await reader.read(65536):
                        pass
                return False
            case "417":
                writer.write(_FIXED["417"].encode())
                return True
            case "switch":
                head = "HTTP/1.1 101 Switching Protocols\r\nX-From: backend\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                writer.write(f"{head}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello".encode())
                while data := await reader.read(65536):
                    writer.write(b"<" + data + b">")
                return False
            case "slow":
                await asyncio.sleep(1.5)
        return None

    async def _body(self, seen: Seen, reader: asyncio.StreamReader) -> None:
        if "chunked" in seen.one("transfer-encoding").lower():
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                seen.body += (await reader.readexactly(size + 2))[:-2]
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.decode("latin-1").strip().partition(":")
                seen.trailers.append((name, value.strip()))
        elif length := seen.one("content-length"):
            seen.body += await reader.readexactly(int(length))

    async def _answer(self, do: str, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        match do:
            case "big":
                writer.write(f"{_OK}Content-Length: {len(BIG)}\r\n\r\n".encode() + BIG)
            case "echo":
                writer.write(f"{_OK}Content-Length: {len(seen.body)}\r\n\r\n".encode() + seen.body)
            case "close-delimited":
                writer.write(f"{_OK}\r\nuntil the end".encode())
                writer.close()
                return False
            case "close":
                writer.write(f"{_OK}Connection: close\r\nContent-Length: 2\r\n\r\nok".encode())
                writer.close()
                return False
            case "cut":
                writer.write(f"{_OK}Content-Length: 10\r\n\r\nhalf".encode())
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.close()
                return False
            case "reset":
                abort(writer)
                return False
            case "flaky":
                case = seen.one("x-case")
                first = case not in self.failed
                self.failed.add(case)
                writer.write(_FIXED["503" if first else "ok"].encode())
            case "garbage" | "cl-te" | "cl-twice" | "bad-chunk":
                writer.write(_FIXED[do].encode())
                with suppress(OSError):  # hanging up is the proxy's to do
                    while await reader.read(65536):
                        pass
                return False
            case _:
                fixed = _FIXED.get(do, _FIXED["ok"])
                if seen.line.startswith("HEAD "):
                    fixed = fixed.partition("\r\n\r\n")[0] + "\r\n\r\n"
                writer.write(fixed.encode())
        await writer.drain()
        return True


def abort(writer: asyncio.StreamWriter) -> None:
    """Reset a connection."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


class Http2Backend(asyncio.Protocol):
    """One connection of an HTTP/2 server, on the `h2` package."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="latin-1", validate_inbound_headers=False)
        )
        self.requests: dict[int, Seen] = {}
        self.unsent: dict[int, tuple[bytes, Pairs]] = {}
        self.later: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in events:
            with suppress(h2.exceptions.ProtocolError):  # the client may have given up meanwhile
                self.take(event)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self.later:
            task.cancel()

    def take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                headers = [(str(name), str(value)) for name, value in event.headers]
                pseudo = dict(pair for pair in headers if pair[0].startswith(":"))
                line = f"{pseudo.pop(':method', '')} {pseudo.pop(':path', '')} HTTP/2"
                rest = [("host", pseudo.pop(":authority", ""))] + [(k, v) for k, v in headers if not k.startswith(":")]
                pseudo.pop(":scheme", "")
                seen = self.requests[event.stream_id] = self.book.note(line, rest + list(pseudo.items()))
                seen.end = "incomplete"
                self.begin(event.stream_id, seen)
            case h2.events.DataReceived():
                self.requests[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.requests[event.stream_id].trailers = [(str(name), str(value)) for name, value in event.headers]
            case h2.events.StreamReset():
                self.requests[event.stream_id].end = "reset"
                self.unsent.pop(event.stream_id, None)
            case h2.events.StreamEnded():
                seen = self.requests[event.stream_id]
                seen.end = "complete"
                self.answer(event.stream_id, seen)
            case h2.events.WindowUpdated():
                self.push()

    def begin(self, stream: int, seen: Seen) -> None:
        match seen.one("x-do"):
            case "early":
                self.respond(stream, 413, b"", [])
            case "100":
                self.h2.send_headers(stream, [(":status", "100")])

    def answer(self, stream: int, seen: Seen) -> None:
        match seen.one("x-do"):
            case "early":
                return
            case "big":
                self.respond(stream, 200, BIG, [])
            case "echo":
                self.respond(stream, 200, bytes(seen.body), [])
            case "trailers":
                self.respond(stream, 200, b"abc", [("x-sum", "7"), ("x-two", "b")])
            case "204":
                self.respond(stream, 204, b"", [])
            case "500":
                self.respond(stream, 500, b"fail", [])
            case "103":
                self.h2.send_headers(stream, [(":status", "103"), ("link", "</a.css>")])
                self.respond(stream, 200, b"ok", [])
            case "reset":
                self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case "refused":
                self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            case "cut":
                self.h2.send_headers(stream, [(":status", "200"), ("x-from", "backend")])
                self.h2.send_data(stream, b"half")
                self.flush()
                self.after(0.05, lambda: self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR))
            case "hold":
                return
            case "slow":
                self.after(1.5, lambda: self.respond(stream, 200, b"ok", []))
            case "goaway":
                self.respond(stream, 200, b"ok", [])
                self.flush()  # the h2 package would refuse the other streams after a GOAWAY of its own
                self.transport.write(GoAwayFrame(0, last_stream_id=max(self.requests)).serialize())
            case "cookies":
                self.h2.send_headers(
                    stream, [(":status", "200"), ("x-from", "backend"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
                )
                self.h2.send_data(stream, b"ok", end_stream=True)
            case "grpc-only":
                headers = [(":status", "200"), ("x-from", "backend"), ("content-type", "application/grpc")]
                self.h2.send_headers(stream, [*headers, ("grpc-status", "5"), ("grpc-message", "no")], end_stream=True)
            case _:
                head = seen.line.startswith("HEAD ")
                if head:
                    fields = [(":status", "200"), ("x-from", "backend"), ("content-length", "1234")]
                    self.h2.send_headers(stream, fields, end_stream=True)
                else:
                    self.respond(stream, 200, b"ok", [])

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            with suppress(h2.exceptions.ProtocolError):
                then()
                self.flush()

        task = asyncio.get_running_loop().create_task(later())
        self.later.add(task)
        task.add_done_callback(self.later.discard)

    def respond(self, stream: int, status: int, body: bytes, trailers: Pairs) -> None:
        headers = [(":status", str(status)), ("x-from", "backend")]
        if not body and not trailers:
            self.h2.send_headers(stream, headers, end_stream=True)
            return
        self.h2.send_headers(stream, headers)
        self.unsent[stream] = (body, trailers)
        self.push()

    def push(self) -> None:
        for stream, (body, trailers) in list(self.unsent.items()):
            rest = body
            while (
                rest and (room := min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)) > 0
            ):
                piece, rest = rest[:room], rest[room:]
                self.h2.send_data(stream, piece, end_stream=not rest and not trailers)
            if rest:
                self.unsent[stream] = (rest, trailers)
                continue
            del self.unsent[stream]
            if trailers:
                self.h2.send_headers(stream, trailers, end_stream=True)


# --- running ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def http1_backend(port: int, book: Book) -> AsyncIterator[Http1Backend]:
    """Serve HTTP/1 until the end of the block."""
    backend = Http1Backend(book)
    async with stream_server(port, backend.serve):
        yield backend


@asynccontextmanager
async def stream_server(
    port: int, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **more: object
) -> AsyncIterator[asyncio.Server]:
    """Serve connections by a coroutine each; at the end all are closed."""
    open_: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            open_.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", port, **more)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()
        for writer in list(open_):
            writer.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while open_:  # noqa: ASYNC110 - the handlers end by themselves, one by one
                    await asyncio.sleep(0.005)


@asynccontextmanager
async def http2_backend(port: int, book: Book) -> AsyncIterator[None]:
    """Serve HTTP/2 with prior knowledge until the end of the block."""
    made: list[Http2Backend] = []

    def one() -> Http2Backend:
        made.append(Http2Backend(book))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(one, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for backend in made:
            backend.transport.close()
