"""A poller under test: real sockets on loopback, receivers that write down what they hear, and a count of what is left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dataplane.net.dial import Dialer
from dataplane.net.listen import ListenLimits, ListenSocket, bind
from dataplane.net.poller import Poller
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.net.tls import ServerTls
from dataplane.net.tls_stream import TlsStream


class Heard(Receiver):
    """Writes down every call; `wait` ends when something was heard."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.stream: Stream | None = None
        self._changed = asyncio.Event()

    def note(self, what: str) -> None:
        self.calls.append(what)
        self._changed.set()

    def opened(self) -> None:
        self.note("opened")

    def received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def ended(self) -> None:
        self.note("ended")

    def drained(self) -> None:
        self.note("drained")

    def lost(self, reason: str) -> None:
        self.note(f"lost {reason}")

    async def until(self, done: Callable[[Heard], bool]) -> None:
        """Wait until the condition holds of what was heard."""
        async with asyncio.timeout(10):
            while not done(self):
                self._changed.clear()
                await self._changed.wait()

    async def hear(self, call: str) -> None:
        await self.until(lambda heard: call in heard.calls)

    async def get(self, size: int) -> bytes:
        await self.until(lambda heard: len(heard.data) >= size)
        return bytes(self.data)

    @property
    def gone(self) -> bool:
        return any(call.startswith("lost") for call in self.calls)


class Echo(Heard):
    """Sends back what it receives, and ends when its peer does."""

    def received(self, data: bytes) -> None:
        super().received(data)
        assert self.stream is not None
        self.stream.write(data)
        if self.stream.high:
            self.stream.pause()

    def drained(self) -> None:
        assert self.stream is not None
        self.stream.resume()

    def ended(self) -> None:
        super().ended()
        assert self.stream is not None
        self.stream.write_eof()


@dataclass
class Net:
    """One poller, and what the test made with it."""

    poller: Poller
    dialer: Dialer
    accepted: list[Heard] = field(default_factory=list)
    listeners: list[ListenSocket] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    defects: int = 0
    """Raised receivers the test provoked."""

    def serve(
        self,
        kind: Callable[[], Heard] = Heard,
        *,
        tls: ServerTls | None = None,
        limits: ListenLimits | None = None,
        address: str = "127.0.0.1",
    ) -> int:
        """Listen on a free port; every connection gets a receiver of this kind."""

        def accept(stream: Stream) -> None:
            receiver = kind()
            self.accepted.append(receiver)
            receiver.stream = stream
            if tls is None:
                stream.receiver = receiver
                return
            stream.receiver = Taking(self.poller, stream, receiver, tls)

        listener = ListenSocket(self.poller, bind(address, 0), accept, limits)
        self.listeners.append(listener)
        return listener.address[1]

    def pair(self, receiver: Heard) -> socket.socket:
        """Give a receiver a stream; returns the other end of it."""
        ours, theirs = connected_pair()
        receiver.stream = Stream(self.poller, ours.detach(), receiver, ("127.0.0.1", 1))
        receiver.stream.start()
        self.sockets.append(theirs)
        return theirs

    def connect(self, port: int) -> socket.socket:
        """A plain client socket; the kernel connects it before anybody accepts."""
        made = socket.create_connection(("127.0.0.1", port))
        made.setblocking(False)
        self.sockets.append(made)
        return made

    async def first(self) -> Heard:
        """The receiver of the first connection accepted."""
        await self.settle(lambda: bool(self.accepted))
        return self.accepted[0]

    async def settle(self, done: Callable[[], bool]) -> None:
        """Let the loop go round until the condition holds."""
        async with asyncio.timeout(10):
            while not done():  # noqa: ASYNC110 - a condition of plain objects has no event
                await asyncio.sleep(0.001)


class Taking(Receiver):
    """Hands a plain stream over to TLS with its first bytes."""

    def __init__(self, poller: Poller, stream: Stream, receiver: Heard, tls: ServerTls) -> None:
        self._poller, self._stream, self._receiver, self._tls = poller, stream, receiver, tls

    def received(self, data: bytes) -> None:
        stream = self._stream
        secured = TlsStream(self._poller, stream.fd, self._receiver, stream.peer, self._tls)
        self._receiver.stream = secured
        secured.take_over(stream, data)

    def ended(self) -> None:
        self._stream.close()


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, non-blocking."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def descriptors() -> int:
    """How many sockets and pipes are open (event loops make other kinds as they please)."""
    kinds = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            kinds.append(str(fd.readlink()).split(":", maxsplit=1)[0])
    return sum(kind in {"socket", "pipe"} for kind in kinds)


@asynccontextmanager
async def net() -> AsyncIterator[Net]:
    """A poller; afterwards no stream, timer or descriptor may be left."""
    loop = asyncio.get_running_loop()
    before = descriptors()
    poller = Poller(loop)
    made = Net(poller, Dialer(poller))
    try:
        yield made
    finally:
        for listener in made.listeners:
            listener.close()
        for one in made.sockets:
            one.close()
    await made.settle(lambda: poller.connections == 0 and poller.open == 0 and poller.timers.pending() == 0)
    assert poller.failures == made.defects
    poller.close()
    assert descriptors() <= before, "a descriptor was left open"
