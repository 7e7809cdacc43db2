"""Clients that send exactly the bytes they are given and write down exactly what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.interop.backends import Pairs

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER_SECONDS = 12.0
"""How long an answer may take on a busy machine."""
HOSTILE_SECONDS = 4.0
"""How long an answer to bad bytes may take; some get none."""
END_SECONDS = 0.5
"""How long a connection must stay open after the last answer to count as kept; Envoy closes late, by its delayed close."""


@dataclass
class Reply:
    """One response."""

    status: int
    headers: Pairs
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    reset: int | None = None
    """Of HTTP/2: the code the stream was reset with; of HTTP/1, -1 when the body was cut."""
    reason: str = ""

    def one(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass
class Heard:
    """What a client got over one connection."""

    replies: list[Reply] = field(default_factory=list)
    interim: list[Reply] = field(default_factory=list)
    end: str = "open"
    extra: bytes = b""


# --- HTTP/1 -----------------------------------------------------------------------------------------------------------


class Http1Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.heard = Heard()
        self.held: Reply | None = None

    async def response(self, method: str = "GET") -> Reply:
        """Read up to and including a final response; raises EOFError at the end of the connection."""
        while True:
            reply, self.held = self.held or await self._head(), None
            if reply.status >= 200 or reply.status == 101:
                break
            self.heard.interim.append(reply)
        self.heard.replies.append(reply)
        if method != "HEAD" and reply.status not in {101, 204, 304}:
            try:
                await self._body(reply)
            except asyncio.IncompleteReadError as cut:
                reply.body += cut.partial
                reply.reset = -1
                raise EOFError from None
        return reply

    async def interim(self) -> Reply:
        """Read one informational response; a final one that comes instead is left for `response`."""
        reply = await self._head()
        if reply.status >= 200:
            self.held = reply
            return reply
        self.heard.interim.append(reply)
        return reply

    async def _head(self) -> Reply:
        try:
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as cut:
            self.heard.extra += cut.partial
            raise EOFError from None
        line, *fields = raw[:-4].split("\r\n")
        _, status, *reason = line.split(" ", 2)
        pairs = [(name, value.strip()) for name, _, value in (one.partition(":") for one in fields)]
        return Reply(int(status), pairs, reason=" ".join(reason))

    async def _body(self, reply: Reply) -> None:
        reader = self.reader
        if "chunked" in reply.one("transfer-encoding").lower():
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                reply.body += (await reader.readexactly(size + 2))[:-2]
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.decode("latin-1").strip().partition(":")
                reply.trailers.append((name, value.strip()))
        elif length := reply.one("content-length"):
            reply.body = await reader.readexactly(int(length))
        else:
            reply.body = await reader.read()

    async def ending(self) -> None:
        """Find out whether the connection is kept."""
        try:
            async with asyncio.timeout(END_SECONDS):
                self.heard.extra += await self.reader.read()
                self.heard.end = "closed"
        except TimeoutError:
            self.heard.end = "open"
        except ConnectionError:
            self.heard.end = "closed"


async def http1(  # noqa: PLR0913 - a conversation has that many turns
    port: int,
    parts: Sequence[bytes],
    methods: Sequence[str] = ("GET",),
    *,
    half_close: bool = False,
    tail: bytes = b"",
    impatient: bool = False,
    watch: bool = True,
) -> Heard:
    """Send the parts, waiting for an interim answer between them; read an answer a method.

    An `impatient` client waits for the first only; one that does not `watch` does not care how the connection ends. `tail` is sent once the connection has switched protocols, and its answer read.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    client = Http1Client(reader, writer)
    sending = asyncio.ensure_future(_send(client, parts, half_close=half_close))
    try:
        async with asyncio.timeout(HOSTILE_SECONDS if impatient else ANSWER_SECONDS):
            if len(parts) > 1:
                await sending
            for index, method in enumerate(methods):
                if index and impatient:
                    async with asyncio.timeout(END_SECONDS):
                        await client.response(method)
                    continue
                reply = await client.response(method)
                if reply.status == 101 and tail:
                    writer.write(tail)
                    client.heard.extra += await reader.readexactly(len(tail) + 2 + len(b"hello"))
        if watch:
            await client.ending()
    except EOFError:
        client.heard.end = "closed"
    except ConnectionError:
        client.heard.end = "closed"
    except TimeoutError:
        client.heard.end = "open" if client.heard.replies else "silent"
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, OSError, EOFError):
            await sending
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return client.heard


async def _send(client: Http1Client, parts: Sequence[bytes], *, half_close: bool) -> None:
    for index, part in enumerate(parts):
        if index:
            with suppress(TimeoutError, EOFError):
                async with asyncio.timeout(1):
                    await client.interim()
        client.writer.write(part)
        await client.writer.drain()
    if half_close:
        client.writer.write_eof()


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


class Http2Client:
    """One connection, frame by frame; nothing it sends is checked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 20)
        self.heard = Heard()
        self.streams: dict[int, Reply] = {}
        self.over: set[int] = set()
        self.windows = {0: 65535}
        self.initial = 65535
        self.goaway: int | None = None
        self.pings = 0
        self.acknowledged = 0
        self.changed = asyncio.Condition()
        self.closed = False
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, port: int, *, window: int = 1 << 22) -> Http2Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        made = cls(reader, writer)
        settings = {SettingsFrame.INITIAL_WINDOW_SIZE: window, SettingsFrame.ENABLE_PUSH: 0}
        writer.write(PREFACE + SettingsFrame(0, settings).serialize() + _window(0, 1 << 24))
        return made

    def send(self, *frames: Frame | bytes) -> None:
        for frame in frames:
            self.writer.write(frame if isinstance(frame, bytes) else frame.serialize())

    def head(self, stream: int, headers: Pairs, *flags: str) -> HeadersFrame:
        """Make a HEADERS frame."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        block = self.encoder.encode(raw)
        return HeadersFrame(stream, block, flags=["END_HEADERS", *flags])

    def request(self, stream: int, headers: Pairs, body: bytes | None = None, trailers: Pairs | None = None) -> None:
        """Send a request that fits the windows."""
        ends = ["END_STREAM"] if body is None and trailers is None else []
        self.send(self.head(stream, headers, *ends))
        if body is not None:
            self.send(DataFrame(stream, body, flags=[] if trailers else ["END_STREAM"]))
        if trailers is not None:
            self.send(self.head(stream, trailers, "END_STREAM"))

    async def upload(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body as the windows allow."""
        at = 0
        while at < len(body) and stream not in self.over:
            room = min(self.windows[0], self.windows.get(stream, self.initial), 16384, len(body) - at)
            if room <= 0:
                async with self.changed:
                    await self.changed.wait()
                continue
            piece = body[at : at + room]
            at += room
            self.windows[0] -= room
            self.windows[stream] = self.windows.get(stream, self.initial) - room
            self.send(DataFrame(stream, piece, flags=["END_STREAM"] if end and at == len(body) else []))
            await self.writer.drain()

    async def until(self, *streams: int, seconds: float = ANSWER_SECONDS) -> None:
        """Wait until these streams are over, or the connection is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: self.closed or self.over.issuperset(streams))

    async def ending(self, seconds: float = END_SECONDS) -> Heard:
        """Find out whether the connection is kept, and hang up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: self.closed)
        self.heard.end = "closed" if self.closed else "open"
        if self.goaway:
            self.heard.end += f", GOAWAY {self.goaway}"
        self.heard.replies = [self.streams[number] for number in sorted(self.streams)]
        await self.close()
        return self.heard

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await self._reading
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def _read(self) -> None:
        try:
            while True:
                head = await self.reader.readexactly(9)
                frame, size = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(await self.reader.readexactly(size)))
                async with self.changed:
                    self._take(frame)
                    self.changed.notify_all()
        except (OSError, EOFError):
            async with self.changed:
                self.closed = True
                self.changed.notify_all()

    def _take(self, frame: Frame) -> None:
        match frame:
            case HeadersFrame() | ContinuationFrame():
                self._headers(frame)
            case DataFrame():
                reply = self.streams.setdefault(frame.stream_id, Reply(0, []))
                reply.body += frame.data
                if frame.flow_controlled_length:
                    self.send(_window(0, frame.flow_controlled_length))
                    if "END_STREAM" not in frame.flags:
                        self.send(_window(frame.stream_id, frame.flow_controlled_length))
                self._ended(frame)
            case RstStreamFrame():
                if frame.stream_id not in self.over or frame.error_code:
                    self.streams.setdefault(frame.stream_id, Reply(0, [])).reset = frame.error_code
                self.over.add(frame.stream_id)
            case SettingsFrame():
                if "ACK" in frame.flags:
                    self.acknowledged += 1
                    return
                before, self.initial = self.initial, frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self.initial)
                for number in self.windows:
                    if number:
                        self.windows[number] += self.initial - before
                self.send(SettingsFrame(0, flags=["ACK"]))
            case WindowUpdateFrame():
                self.windows[frame.stream_id] = self.windows.get(frame.stream_id, self.initial) + frame.window_increment
            case GoAwayFrame():
                self.goaway = frame.error_code
            case PingFrame():
                if "ACK" in frame.flags:
                    self.pings += 1
                else:
                    self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))

    def _headers(self, frame: HeadersFrame | ContinuationFrame) -> None:
        raw = self.decoder.decode(frame.data, raw=True)
        pairs = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in raw]
        status = next((int(value) for name, value in pairs if name == ":status"), 0)
        rest = [pair for pair in pairs if pair[0] != ":status"]
        if status and status < 200:
            self.heard.interim.append(Reply(status, rest))
        elif status:
            self.streams[frame.stream_id] = Reply(status, rest)
        else:
            self.streams.setdefault(frame.stream_id, Reply(0, [])).trailers = rest
        self._ended(frame)

    def _ended(self, frame: Frame) -> None:
        if "END_STREAM" in frame.flags:
            self.over.add(frame.stream_id)


def _window(stream: int, more: int) -> bytes:
    return WindowUpdateFrame(stream, window_increment=more).serialize()
