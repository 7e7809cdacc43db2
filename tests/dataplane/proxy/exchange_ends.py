"""The two ends of an exchange as a machine plays them: clients that ask, servers that answer, each noting what it got.

Bodies are a pattern of which every byte tells its place, so a byte that is lost, doubled or out of order is seen where it
arrives. What the ends note is all the oracle of `exchange_world` looks at.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from dataplane.config import RetryPolicy
from dataplane.protocol import codes
from dataplane.protocol.events import (
    Data,
    Event,
    Failure,
    Goaway,
    RequestHead,
    Reset,
    ResponseHead,
    Trailers,
    Upgraded,
)
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits

SMALL = Limits(stream_window=65535, connection_window=655_350)
_PERIOD = bytes(range(251))
_PATTERN = _PERIOD * 8000


def pattern(seed: int, start: int, size: int) -> bytes:
    """`size` bytes of a body from `start` on."""
    at = (seed + start) % 251
    return _PATTERN[at : at + size]


@dataclass(slots=True, eq=False)
class Serve:
    """A request as one server has it."""

    ask: Ask
    end: ServerEnd
    stream: int
    index: int
    """Which try of its request this is, or which copy."""
    copy: bool
    reused: bool
    """Not the first request on an HTTP/1 connection."""
    at: float
    got: int = 0
    whole: bool = False
    sent: int = 0
    status: int = 0
    grpc_status: int = -1
    answered: bool = False
    """Its answer is complete."""
    told: bool = False
    """Any head was sent, an informational one too."""
    tunnel: bool = False
    late: bool = False
    """Its server had not read for a while: it may have been sent long before."""
    over: str = ""
    """Why nothing more happens: `refused` or `broke` by the server, `gone` by the proxy."""

    @property
    def seed(self) -> int:
        return self.ask.number * 31 + self.index * 7 + 3

    @property
    def live(self) -> bool:
        return not self.over and not self.end.over

    @property
    def speaking(self) -> bool:
        """A piece of its answer may be sent."""
        return self.live and not self.answered and (self.tunnel or self.status >= 200)


@dataclass(slots=True, eq=False)
class Ask:
    """A request as its client has it."""

    number: int
    end: ClientEnd
    stream: int
    method: bytes
    protocol: bytes
    grpc: bool
    policy: RetryPolicy | None
    sent: int = 0
    ended: bool = False
    status: int = 0
    source: Serve | None = None
    """Whose answer is coming; None for one of the proxy's own."""
    got: int = 0
    done: bool = False
    lost: bool = False
    early: bool = False
    tunnel: bool = False
    tries: list[Serve] = field(default_factory=list)
    copies: list[Serve] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return not self.lost and not self.end.over and not (self.done and (self.ended or not self.tunnel))


class End:
    """One connection, with a codec."""

    def __init__(self, world: Any, sock: socket.socket, codec: Any) -> None:
        self.world = world
        self.sock = sock
        self.codec = codec
        self.backlog = b""
        self.stalled = False
        """It reads nothing."""
        self.behind = False
        """It has not read all that was sent while it read nothing."""
        self.over = False
        self.ending = False
        self.at_end = False
        self.odd = False
        """It broke the rules, so that it may be told so."""
        self.cut = False
        """The proxy has closed it; what is sent since is lost, also where this end does not read and so does not know."""

    @property
    def http2(self) -> bool:
        return isinstance(self.codec, Http2Client | Http2Server)

    def move(self) -> bool:
        """Send and receive what is possible now; False when nothing was."""
        if self.over:
            return False
        before = len(self.backlog)
        self.backlog += self.codec.output()
        moved = len(self.backlog) != before
        try:
            while self.backlog:
                sent = self.sock.send(self.backlog[:65536])
                self.backlog = self.backlog[sent:]
                moved = True
        except BlockingIOError:
            pass
        except ConnectionError:
            self.backlog = b""
            self.cut = True
        if not self.backlog and self.codec.write_eof and not self.ending:
            self.half_close()
        if not self.backlog and self.codec.closing and not self.codec.active:
            self.close()
            return True
        return (not self.stalled and self.pull()) or moved

    def pull(self) -> bool:
        if self.at_end or self.over:
            return False
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if data:
            self.take(self.codec.receive(data))
        else:
            self.at_end = True
            self.take(self.codec.receive_eof())
            if not self.codec.active or self.http2:
                self.close()
        return True

    def half_close(self) -> None:
        self.ending = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def close(self) -> None:
        if not self.over:
            self.over = True
            self.sock.close()

    def take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Failure):
                assert self.odd, f"the proxy broke the protocol: {event}"
                self.broken()
            elif isinstance(event, RequestHead):
                self.began(event)
            elif isinstance(event, ResponseHead):
                self.answer(event)
            elif isinstance(event, Data):
                self.piece(event.stream, event.data, event.end)
                self.codec.consumed(event.stream, len(event.data))
            elif isinstance(event, Trailers):
                self.piece(event.stream, b"", True)
            elif isinstance(event, Reset):
                self.reset(event.stream, event.code)
            elif isinstance(event, Goaway | Upgraded):
                continue

    def began(self, head: RequestHead) -> None: ...
    def answer(self, head: ResponseHead) -> None: ...
    def piece(self, stream: int, data: bytes, end: bool) -> None: ...
    def reset(self, stream: int, code: int) -> None: ...
    def broken(self) -> None: ...


class ClientEnd(End):
    """A client's connection."""

    def __init__(self, world: Any, sock: socket.socket, http2: bool) -> None:
        super().__init__(world, sock, Http2Client(SMALL) if http2 else Http1Client(SMALL))
        self.asks: dict[int, Ask] = {}

    @property
    def free(self) -> bool:
        return not self.over and not self.odd and not self.ending and bool(self.codec.can_open)

    def answer(self, head: ResponseHead) -> None:
        ask = self.asks[head.stream]
        assert not ask.status or ask.status == 101, f"request {ask.number} was answered twice"
        if head.status == 101 or head.status >= 200:
            assert not ask.tunnel
            ask.status = head.status
            found = [value for name, value, _ in head.headers if name == b"x-from"]
            if found:
                ask.source = ask.tries[int(found[0])]
                # A server that does not read sees what it was sent after those that were sent it later.
                since = [serve for serve in ask.tries[ask.source.index + 1 :] if not serve.late]
                assert not since, "an earlier try's answer was passed on"
            ask.tunnel = bool(ask.protocol) and (head.status == 101 or (self.http2 and head.status < 300))
            ask.done = head.end

    def piece(self, stream: int, data: bytes, end: bool) -> None:
        ask = self.asks[stream]
        assert not ask.done
        if ask.source is not None:
            assert data == pattern(ask.source.seed, ask.got, len(data)), f"the answer to {ask.number} is not as sent"
        ask.got += len(data)
        ask.done = end

    def reset(self, stream: int, code: int) -> None:
        ask = self.asks[stream]
        # RFC 9113, 8.1: after a whole answer a server asks so for the rest of the request to be kept.
        if not (ask.done and code == codes.NO_ERROR and not ask.tunnel):
            ask.lost = True

    def broken(self) -> None:
        for ask in self.asks.values():
            ask.lost = ask.lost or not ask.done

    def close(self) -> None:
        if not self.over:
            for ask in self.asks.values():
                ask.ended = ask.ended or (bool(ask.protocol) and not self.http2)  # a tunnel's bytes end so
            self.broken()
            super().close()


class ServerEnd(End):
    """A connection the proxy made."""

    def __init__(self, world: Any, sock: socket.socket, http2: bool) -> None:
        super().__init__(world, sock, Http2Server(SMALL) if http2 else Http1Server(SMALL))
        self.serves: dict[int, Serve] = {}

    def began(self, head: RequestHead) -> None:
        ask = self.world.asks[int(head.path.removeprefix(b"/"))]
        copy = head.authority.endswith(b"-shadow")
        noted = ask.copies if copy else ask.tries
        reused = bool(self.serves) and not self.http2
        serve = Serve(ask, self, head.stream, len(noted), copy, reused, self.world.now)
        serve.whole, serve.late = head.end, self.behind
        if not copy:
            self.world.judge(serve)
        noted.append(serve)
        self.serves[head.stream] = serve

    def piece(self, stream: int, data: bytes, end: bool) -> None:
        serve = self.serves[stream]
        assert not serve.whole
        assert data == pattern(serve.ask.number, serve.got, len(data)), f"request {serve.ask.number} is not as sent"
        serve.got += len(data)
        assert serve.got <= serve.ask.sent
        serve.whole = end
        # HTTP/1 has one way only to say that a tunnel is given up.
        assert not end or serve.ask.ended or (serve.tunnel and not self.http2), "the end of a request was made up"

    def reset(self, stream: int, code: int) -> None:
        serve = self.serves[stream]
        serve.over = serve.over or "gone"

    def refuse(self, serve: Serve, code: int) -> None:
        """Give one request up."""
        serve.over = "refused" if code == codes.REFUSED_STREAM and self.http2 else "broke"
        self.codec.reset(serve.stream, code)

    def close(self) -> None:
        if not self.over:
            for serve in self.serves.values():
                done = serve.answered and (serve.whole or not serve.tunnel)
                serve.over = serve.over or ("gone" if done else "broke")
            super().close()
