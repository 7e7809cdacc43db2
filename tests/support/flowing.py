"""Peers that do what networks do: send a part, read a part, stop, end, vanish. Bytes carry their own position.

`Wire` is the test's end of one socket of the proxy, plain or through TLS; `Talker` adds an HTTP codec and what passed in
each exchange. Whatever arrives is compared with what must come at its place, so a byte lost, doubled or out of order is
found where it is read.
"""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import termios
from contextlib import suppress
from typing import Any

from dataplane.protocol.events import Data, Failure, RequestHead, Reset, ResponseHead, Trailers

_PATTERN = bytes(range(251)) * 42_000
EVERYTHING = 1 << 30
_SIOCOUTQNSD = 0x894B


def piece(at: int, size: int) -> bytes:
    """So many bytes of the endless sequence from this place on."""
    start = at % 251
    assert start + size <= len(_PATTERN), "more at once than the pattern has"
    return _PATTERN[start : start + size]


def unread(fd: int) -> int:
    """Bytes that have arrived at a socket."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0])


def unsent(fd: int) -> int:
    """Bytes that a TCP socket has taken and not sent: they go by themselves, when the far end says that it took others."""
    return int(struct.unpack("i", fcntl.ioctl(fd, _SIOCOUTQNSD, b"\0\0\0\0"))[0])


def writable(fd: int) -> bool:
    """Whether the kernel would take more."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(mask & select.POLLOUT for _, mask in poll.poll(0))


class Wire:
    """One socket: a backlog the kernel takes bit by bit, and what came."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.backlog = bytearray()
        self.choked = False
        """Nothing is sent but by `push`."""
        self.ending = self.ended = False
        """We send no more once the backlog is empty; the kernel was told."""
        self.over = False
        """The proxy sends no more."""
        self.broken = False
        """It said so by a reset."""
        self.dead = False
        """We closed it."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = None if tls is None else tls.wrap_bio(self._incoming, self._outgoing, False)

    def shake(self) -> bool:
        """Go on with a TLS handshake; whether it is done."""
        if self._tls is None:
            return True
        with suppress(BlockingIOError):
            self._incoming.write(self.sock.recv(1 << 16))
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._collect()
            return False
        self._collect()
        return True

    def put(self, data: bytes) -> None:
        """Have bytes sent."""
        if self._tls is None:
            self.backlog += data
        elif data:
            self._tls.write(data)
            self._collect()

    def end(self) -> None:
        """Send no more after this."""
        if not self.ending and not self.dead:
            self.ending = True
            if self._tls is not None:
                with suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._collect()
            self.push(0 if self.choked else EVERYTHING)

    def push(self, limit: int = EVERYTHING) -> int:
        """Give the kernel up to so many bytes."""
        sent = 0
        try:
            while self.backlog and sent < limit and not self.dead:
                count = self.sock.send(self.backlog[: min(limit - sent, 1 << 20)])
                del self.backlog[:count]
                sent += count
        except BlockingIOError:
            pass
        except ConnectionError:
            self.broken = self.broken or not self.over
        if self.ending and not self.backlog and not self.ended and not self.dead:
            self.ended = True
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
        return sent

    def pull(self, limit: int = EVERYTHING) -> bytes:
        """Take up to about so many bytes of what came."""
        got = b""
        while len(got) < limit and not self.over and not self.dead:
            try:
                data = self.sock.recv(min(limit, 1 << 16))
            except BlockingIOError:
                break
            except ConnectionError:
                self.broken, data = True, b""
            if not data:
                self.over = True
            elif self._tls is None:
                got += data
            else:
                self._incoming.write(data)
                with suppress(ssl.SSLError):
                    while plain := self._tls.read(1 << 16):
                        got += plain
        return got

    def vanish(self, *, reset: bool) -> None:
        """Close, by a reset where that was asked for."""
        if not self.dead:
            self.dead = True
            self.backlog.clear()
            if reset and self.sock.family == socket.AF_INET:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()

    def _collect(self) -> None:
        self.backlog += self._outgoing.read()
        if not self.choked:
            self.push()


class Way:
    """One direction of an exchange."""

    def __init__(self, length: int) -> None:
        self.length = length
        """By Content-Length; -1 for a body in chunks."""
        self.sent = self.got = 0
        self.begun = self.ended = self.end_got = False

    def take(self, data: bytes, end: bool) -> None:
        """Compare what arrived with what must."""
        assert data == piece(self.got, len(data)), f"other bytes than were sent came after {self.got}"
        self.got += len(data)
        assert self.got <= self.sent
        assert not self.end_got
        if end:
            assert self.ended
            assert self.got == self.sent, "the end came before the last byte"
            self.end_got = True

    @property
    def whole(self) -> bool:
        """All that was sent has come."""
        return self.got == self.sent and self.end_got == self.ended


class Called:
    """One exchange, as the test knows it."""

    def __init__(self, number: int, client: Talker, up: Way, down: Way) -> None:
        self.number = number
        self.client = client
        self.up, self.down = up, down
        self.client_stream = self.server_stream = 0
        self.server: Talker | None = None
        self.dead = False
        """Somebody gave it up, or may have: what becomes of it is the proxy's to say."""
        self.left = False
        """Its client did."""
        self.told = False
        """The server knows that it is over."""


class Talker:
    """A client or server that speaks HTTP by one of our codecs."""

    def __init__(self, wire: Wire, codec: Any) -> None:
        self.wire = wire
        self.codec = codec
        self.calls: dict[int, Called] = {}
        self.lazy = False
        """What it reads it does not hand on."""
        self.owed: dict[int, int] = {}

    def flush(self) -> None:
        """Send what the codec wants to."""
        self.wire.put(self.codec.output())
        if not self.wire.choked:
            self.wire.push()

    def send(self, called: Called, way: Way, stream: int, size: int) -> None:
        """Send a piece of a body; a length that is reached ends it."""
        if way.length >= 0:
            size = min(size, way.length - way.sent)
        way.ended = way.length == way.sent + size
        self.codec.send_data(stream, piece(way.sent, size), way.ended)
        way.sent += size
        self.flush()

    def finish(self, way: Way, stream: int) -> None:
        """End a body."""
        if way.length >= 0:
            return
        way.ended = True
        self.codec.send_data(stream, b"", True)
        self.flush()

    def read(self, limit: int, known: dict[int, Called]) -> int:
        """Take what came; returns how many bytes. Raises AssertionError for anything that should not have come."""
        data = self.wire.pull(limit)
        events = self.codec.receive(data) if data else []
        if self.wire.over:
            for called in self.calls.values():
                called.told = True
                assert called.dead or (called.up.end_got and called.down.ended), f"exchange {called.number} was cut"
        for event in events:
            self._hear(event, known)
        self.flush()
        return len(data)

    def _hear(self, event: Any, known: dict[int, Called]) -> None:
        assert not isinstance(event, Failure), event.reason
        if isinstance(event, RequestHead):
            called = known[int(event.path[1:])]
            called.server, called.server_stream = self, event.stream
            self.calls[event.stream] = called
            assert not event.end
        elif event.kind not in {8, 11} and (found := self.calls.get(event.stream)) is not None:
            way = found.down if found.client is self else found.up
            if isinstance(event, Data):
                way.take(event.data, event.end)
                if self.lazy:
                    self.owed[event.stream] = self.owed.get(event.stream, 0) + len(event.data)
                else:
                    self.codec.consumed(event.stream, len(event.data))
            elif isinstance(event, Reset):
                found.told = found.told or way is found.up
                assert found.dead or found.down.ended, f"exchange {found.number} was reset: {event.reason}"
            elif isinstance(event, ResponseHead):
                if event.status != 200:
                    assert found.dead, f"exchange {found.number} was answered {event.status}"
                    del self.calls[event.stream]  # what follows is the proxy's own
            else:
                assert not isinstance(event, Trailers)

    def hand_on(self) -> None:
        """Give back what it was lazy about."""
        owed, self.owed = self.owed, {}
        for stream, size in owed.items():
            self.codec.consumed(stream, size)
        self.flush()
