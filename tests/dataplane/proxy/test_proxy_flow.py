"""Bytes between two sockets, by machines whose peers stall, go on, end, close and reset wherever they like.

What holds after every step, when the poller has nothing more to do:
- moving: what waits before a socket that takes more has left; what arrived for a socket that takes more was read;
- bounded: no queue holds more than its high mark and what one read may add;
- in order: each byte is the one that belongs in its place (`tests.support.flowing`).
And once both peers read and send on: everything has arrived, and the end after it; a reset is told by a reset, never as an end. When both are gone: nothing is left.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dataplane.config import AppProtocol
from dataplane.net.outlet import HIGH_MARK
from dataplane.net.receiver import Receiver
from dataplane.net.splice import PIPE_SIZE
from dataplane.net.stream import Stream
from dataplane.net.tls import TlsContexts
from dataplane.net.tls_stream import TlsStream
from dataplane.protocol.events import RequestHead
from dataplane.protocol.http1 import connection
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http1.connection import Http1Connection
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.proxy.relay.relay import Relay
from tests.dataplane.proxy.rig import Dialer, Peer, Rig, cluster, config
from tests.dataplane.proxy.test_proxy_carriers import client_context
from tests.support.certs import Authority
from tests.support.flowing import EVERYTHING, Called, Talker, Way, Wire, piece, unread, unsent, writable
from tests.support.machines import bounded, within
from tests.support.net import descriptors

pytestmark = within(600)

READ = 65536
SIZES = st.sampled_from([1, 7, 500, 65_536, 300_000, 300_000])
LIMITS = st.sampled_from([1, 3, 100, 5_000, 60_000, 400_000])
BUFFERS = st.sampled_from([4_608, 20_000, 212_992, 212_992])
WHERE = st.integers(0, 5)
PATIENCE = 100
"""Turns without a byte after which nothing is waited for, though a kernel has some that it could send."""
RARELY = st.integers(0, 9).map(lambda dice: dice == 0)


class Narrow(Dialer):
    """Dials sockets of the machine's buffers, and remembers the proxy's ends."""

    def __init__(self, rig: Rig, size: int, tcp: bool) -> None:
        super().__init__(rig)
        self.size, self.tcp = size, tcp
        self.streams: list[Stream] = []

    def dial(self, address: str, port: int, receiver: Any, *, tls: Any, timeout: float) -> Stream:
        ours, theirs = narrow(self.size, self.tcp)
        stream = Stream(self.rig.poller, ours.detach(), receiver, (address, port))
        stream.start()
        self.streams.append(stream)
        self.rig.waiting.append((receiver, Peer(self.rig, theirs, (address, port))))
        return stream


def narrow(size: int, tcp: bool = False) -> tuple[socket.socket, socket.socket]:
    """A pair whose ends hold little on its way; or one of TCP, whose ends hold what the kernel likes and can be reset."""
    pair = tcp_pair() if tcp else socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
        if not tcp:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    return pair


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends on the loopback, that send what they have at once: nothing is left that only the time would move."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pair = socket.create_connection(listener.getsockname()), listener.accept()[0]
    for sock in pair:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return pair


class Flowing(RuleBasedStateMachine):
    """What all machines have: a rig, its streams, and the laws."""

    most = HIGH_MARK + READ + 4_096

    def __init__(self) -> None:
        super().__init__()
        self.descriptors = descriptors()
        self.rig: Rig | None = None
        self.wires: list[Wire] = []

    def begin(
        self, size: int, speaks: AppProtocol = AppProtocol.AS_DOWNSTREAM, *, tcp: bool = False, **bounds: Any
    ) -> Rig:
        self.rig = rig = Rig(config(clusters=(cluster("10.1.0.1", protocol=speaks),)), **bounds)
        rig.dialer = rig.runtime.dialer = self.dialer = Narrow(rig, size, tcp)
        self.timers = rig.poller.timers.pending()
        return rig

    @property
    def streams(self) -> list[Stream]:
        """The proxy's ends."""
        rig = self.rig
        return [] if rig is None else [stream for stream in [*rig.accepted, *self.dialer.streams] if stream.open]

    def quiet(self) -> None:
        """Let the poller do all it has to do."""
        rig = self.rig
        assert rig is not None
        before = (-1, -1, -1)
        while before != (now := (rig.poller.bytes_in, rig.poller.bytes_out, rig.poller.connections)):
            before = now
            rig.turn()

    def until_nothing_moves(self, read_all: Callable[[], int]) -> None:
        """Everybody sends and reads all there is; `read_all` gives how much that was."""
        still = waited = 0
        while still < 3:
            moved = sum(wire.push() for wire in self.wires)
            self.quiet()
            moved += read_all()
            self.quiet()
            waited = 0 if moved else waited + 1
            still = 0 if moved or (waited < PATIENCE and self.kernel_sends()) else still + 1

    def kernel_sends(self) -> bool:
        """Whether the kernel will send by itself; waits a moment for it."""
        fds = [wire.sock.fileno() for wire in self.wires if not wire.dead] + [stream.fd for stream in self.streams]
        if not self.dialer.tcp or not any(unsent(fd) for fd in fds):
            return False
        select.select(fds, [], [], 0.05)
        return True

    def holds(self, broken: Callable[[], str]) -> None:
        """Raise unless nothing is broken, or no longer is when the poller has had another turn: TCP moves by itself, also between two looks."""
        turns = 20 if self.dialer.tcp else 0
        while (what := broken()) and turns:
            turns -= 1
            self.quiet()
        assert not what, what

    @invariant()
    def moving(self) -> None:
        if self.rig is None:
            return
        self.quiet()
        self.holds(self.left_behind)

    def left_behind(self) -> str:
        for stream in self.streams:
            left = stream.waiting or (stream.feed is not None and stream.feed.held)
            if left and writable(stream.fd):
                return "bytes wait before a socket that would take them"
        return ""

    @invariant()
    def little_is_held(self) -> None:
        for stream in self.streams:
            assert stream.waiting <= self.most
            assert stream.feed is None or stream.feed.held <= PIPE_SIZE

    def teardown(self) -> None:
        rig = self.rig
        if rig is None:
            return
        for wire in self.wires:
            wire.vanish(reset=False)
        for peer in rig.servers:
            peer.sock.close()
        self.quiet()
        assert rig.poller.timers.pending() <= self.timers + len(rig.runtime.upstreams), "a timer is left"
        rig.close()
        assert rig.poller.connections == 0, "a stream is left"
        assert rig.poller.timers.pending() == 0 or rig.runtime is not None
        assert descriptors() <= self.descriptors, "a descriptor is left"


_AUTHORITY = Authority()


class RelayMachine(Flowing):
    """Bytes nobody looks into, by way of memory, a kernel pipe, or TLS on the client's side."""

    @initialize(size=BUFFERS, secured=st.booleans(), tcp=st.booleans())
    def start(self, size: int, secured: bool, tcp: bool) -> None:
        rig = self.begin(size, tcp=tcp)
        ours, theirs = narrow(size, tcp)
        stream = Stream(rig.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
        stream.start()
        context = None
        if secured:
            contexts = TlsContexts()
            context = client_context(_AUTHORITY, *_AUTHORITY.issue("spiffe://test/ns/a/sa/client"))
            plain = stream
            stream = TlsStream(rig.poller, plain.fd, Receiver(), plain.peer, contexts.server(_AUTHORITY.context()))
            stream.take_over(plain, b"")
        client = Wire(theirs, context)
        while not client.shake():
            rig.turn()
        rig.turn()
        rig.accepted.append(stream)
        Relay(rig.runtime, None, ("10.1.0.1", 80)).start(stream, b"")
        rig.turn()
        self.wires = [client, Wire(rig.servers[0].sock)]
        self.ways = [Way(-1), Way(-1)]

    @rule(side=st.integers(0, 1), size=SIZES)
    def send(self, side: int, size: int) -> None:
        wire, way = self.wires[side], self.ways[side]
        if not wire.ending and not wire.dead:
            wire.put(piece(way.sent, size))
            way.sent += size
            wire.push(0 if wire.choked else EVERYTHING)

    @rule(side=st.integers(0, 1), choked=st.booleans())
    def choke(self, side: int, choked: bool) -> None:
        self.wires[side].choked = choked

    @rule(side=st.integers(0, 1), limit=LIMITS)
    def push(self, side: int, limit: int) -> None:
        self.wires[side].push(limit)

    @rule(side=st.integers(0, 1))
    def flood(self, side: int) -> None:
        """As much as fits between the two ends and a little more."""
        for _ in range(4):
            self.send(side, 300_000)
            self.quiet()
            self.wires[side].push()
            self.quiet()

    @rule(side=st.integers(0, 1), limit=LIMITS)
    def read(self, side: int, limit: int) -> None:
        self.take(side, limit)

    def take(self, side: int, limit: int) -> int:
        data = self.wires[side].pull(limit)
        self.ways[1 - side].take(data, False)
        return len(data)

    @rule(side=st.integers(0, 1), now=RARELY)
    def end(self, side: int, now: bool) -> None:
        if now:
            self.wires[side].end()

    @rule(side=st.integers(0, 1), now=RARELY)
    def vanish(self, side: int, now: bool) -> None:
        if now:
            self.wires[side].vanish(reset=True)

    def read_all(self) -> int:
        return sum(self.take(side, EVERYTHING) for side in (0, 1))

    @rule()
    def settle(self) -> None:
        self.until_nothing_moves(self.read_all)
        broken = any(wire.dead for wire in self.wires)
        for side, wire in enumerate(self.wires):
            far = self.wires[1 - side]
            if not broken:
                assert self.ways[side].got == self.ways[side].sent, "bytes are stuck"
                assert far.over == wire.ended, "an end is stuck, or came from nowhere"
            elif wire.dead and not far.dead:
                assert far.over, "the end of one side is not told to the other"
                assert far.broken or wire.ended or not self.dialer.tcp, "a reset was told as an end"

    @invariant()
    def what_can_move_has_moved(self) -> None:
        if self.rig is not None and not any(wire.dead for wire in self.wires):
            self.holds(self.stalled)

    def stalled(self) -> str:
        client, server = self.rig.accepted[0], self.dialer.streams[0]
        for source, sink in ((client, server), (server, client)):
            free = sink.open and not sink.waiting and (sink.feed is None or not sink.feed.held)
            moves = source.open and free and writable(sink.fd)
            if moves and unread(source.fd) and not source.at_end:
                return "bytes are readable here, writable there, and do not move"
        return ""


def test_relay_ends_when_neither_pipe_leads_anywhere() -> None:
    """Found by the machine: bytes in a kernel pipe for a peer that is gone kept the other end, gone too, from being read."""
    machine = RelayMachine()
    machine.start(size=212_992, secured=False, tcp=False)
    for side in (0, 1, 1):
        machine.flood(side=side)
        machine.settle()
    machine.flood(side=1)
    machine.vanish(side=1, now=True)
    machine.send(side=0, size=60_000)
    machine.teardown()


RelayMachine.TestCase.settings = bounded(500, 40)
TestRelay = RelayMachine.TestCase


class HttpMachine(Flowing):
    """Bodies both ways at once, chunked and of known length, from either version to either."""

    limits = Limits()
    """The client's."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, Called] = {}
        self.client: Talker | None = None
        self.servers: list[Talker] = []

    @initialize(size=BUFFERS, two=st.booleans(), far_two=st.booleans(), grows=st.booleans())
    def start(self, size: int, two: bool, far_two: bool, grows: bool) -> None:
        """With `grows` the window of a stream whose reader keeps up may become as wide as by default, and so much is held when it stops."""
        self.size, self.two, self.far_two = size, two, far_two
        limits = Limits() if grows else Limits(widest_window=Limits().stream_window)
        self.most = HIGH_MARK + 4 * (4 * READ + limits.widest_window)
        self.begin(size, AppProtocol.HTTP2 if far_two else AppProtocol.HTTP1, protocol=limits)

    @property
    def talkers(self) -> list[Talker]:
        """Everybody who is there, the client first; servers that were dialled meanwhile join."""
        assert self.rig is not None
        for peer in self.rig.servers[len(self.servers) :]:
            codec = Http2Server(Limits()) if self.far_two else Http1Server(Limits())
            self.servers.append(Talker(Wire(peer.sock), codec))
            self.servers[-1].flush()
        alive = [self.client, *self.servers] if self.client is not None else self.servers
        self.wires = [talker.wire for talker in alive]
        return [talker for talker in alive if not talker.wire.dead]

    def pick(self, at: int) -> Called | None:
        calls = [called for called in self.known.values() if not called.dead]
        return calls[at % len(calls)] if calls else None

    def talker(self, at: int) -> Talker | None:
        talkers = self.talkers
        return talkers[at % len(talkers)] if talkers else None

    @rule(up=st.just(-1) | SIZES, down=st.just(-1) | SIZES)
    def call(self, up: int, down: int) -> None:
        client = self.client
        if client is None or client.wire.dead or client.wire.over:
            if client is not None:
                client.wire.vanish(reset=False)
            client = self.client = self.connect()
        if not client.codec.can_open or client.wire.over or len(client.calls) > 3:
            return
        self.begin_call(client, up, down)
        client.flush()
        self.quiet()
        for talker in self.talkers[1:]:
            talker.read(400, self.known)

    def begin_call(self, client: Talker, up: int, down: int) -> None:
        """Have the next request's head ready to leave; sizes as of `Way`."""
        number = len(self.known)
        headers = [(b"content-length", b"%d" % up, b"content-length")] if up >= 0 else []
        called = self.known[number] = Called(number, client, Way(up), Way(down))
        head = RequestHead(0, b"POST", b"http", b"h", b"/%d" % number, headers, False, 20 if self.two else 11, b"")
        called.client_stream = client.codec.send_request(head, False)
        client.calls[called.client_stream] = called

    def connect(self) -> Talker:
        rig = self.rig
        assert rig is not None
        ours, theirs = narrow(self.size)
        stream = Stream(rig.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
        HttpDownstream(rig.runtime, stream, rig.runtime.tables.listeners["l"].chains[0], self.two, False)
        stream.start()
        rig.accepted.append(stream)
        made = Talker(Wire(theirs), Http2Client(self.limits) if self.two else Http1Client(self.limits))
        made.flush()
        self.closed = [*getattr(self, "closed", []), made.wire]
        return made

    @rule(at=WHERE, size=SIZES, end=RARELY)
    def upload(self, at: int, size: int, end: bool) -> None:
        called = self.pick(at)
        if called is not None and not called.up.ended:
            called.client.send(called, called.up, called.client_stream, size)
            if end and not called.up.ended:
                called.client.finish(called.up, called.client_stream)

    @rule(at=WHERE, size=SIZES, end=st.booleans())
    def download(self, at: int, size: int, end: bool) -> None:
        called = self.pick(at)
        if called is None or called.server is None or called.down.ended:
            return
        way, server, stream = called.down, called.server, called.server_stream
        if not way.begun:
            way.begun = True
            headers = [(b"content-length", b"%d" % way.length, b"content-length")] if way.length >= 0 else []
            server.codec.send_response(stream, 200, b"", headers, False)
        # An answer that ends before its request is another matter than flow.
        room = way.length - way.sent - (0 if called.up.end_got else 1) if way.length >= 0 else size
        if min(size, room) > 0:
            server.send(called, way, stream, min(size, room))
        if end and called.up.end_got and not way.ended:
            server.finish(way, stream)

    @rule(at=WHERE, choked=st.booleans())
    def choke(self, at: int, choked: bool) -> None:
        talker = self.talker(at)
        if talker is not None:
            talker.wire.choked = choked

    @rule(at=WHERE, limit=LIMITS)
    def push(self, at: int, limit: int) -> None:
        talker = self.talker(at)
        if talker is not None:
            talker.wire.push(limit)

    @rule(at=WHERE, limit=LIMITS, lazy=st.booleans())
    def read(self, at: int, limit: int, lazy: bool) -> None:
        talker = self.talker(at)
        if talker is not None:
            talker.lazy = lazy
            talker.read(limit, self.known)
            talker.lazy = False

    @rule(at=WHERE, size=SIZES, back=st.integers(1, 14))
    def cut(self, at: int, size: int, back: int) -> None:
        """All but the last bytes of a piece leave: a line of a chunk is cut, or a frame's head."""
        called = self.pick(at)
        if called is not None and not called.up.ended:
            wire = called.client.wire
            wire.choked = True
            called.client.send(called, called.up, called.client_stream, size)
            while wire.push(max(len(wire.backlog) - back, 0)):
                self.quiet()
            wire.choked = False

    @rule(at=WHERE, up=st.booleans())
    def flood(self, at: int, up: bool) -> None:
        """More than fits between the two ends."""
        for _ in range(4):
            (self.upload if up else self.download)(at, 300_000, False)
            self.quiet()
            for wire in self.wires:
                wire.push()

    @rule(at=WHERE, by_server=st.booleans(), now=RARELY)
    def give_up(self, at: int, by_server: bool, now: bool) -> None:
        called = self.pick(at)
        if called is None or not now or (called.up.end_got and called.down.end_got):
            return
        who = called.server if by_server else called.client
        if who is None:
            return
        if self.far_two if by_server else self.two:
            called.dead = True
            called.left = not by_server
            who.codec.reset(called.server_stream if by_server else called.client_stream, 8)
            who.calls.pop(called.server_stream if by_server else called.client_stream, None)
            who.flush()
        else:
            self.lose(who)

    @rule(at=WHERE, now=RARELY)
    def vanish(self, at: int, now: bool) -> None:
        talker = self.talker(at)
        if talker is not None and now:
            self.lose(talker)

    def lose(self, talker: Talker) -> None:
        """A connection breaks, with all that is on it, or that may be on its way to it."""
        for called in self.known.values():
            if talker in {called.client, called.server} or (called.server is None and talker is not self.client):
                called.left = called.left or (talker is self.client and not called.dead)
                called.dead = True
        talker.wire.vanish(reset=True)

    def read_all(self) -> int:
        moved = 0
        for talker in self.talkers:
            moved += talker.read(EVERYTHING, self.known)
            talker.hand_on()
        return moved

    @rule()
    def settle(self) -> None:
        self.talkers  # noqa: B018 - those who joined send and read too
        self.until_nothing_moves(self.read_all)
        for stream in self.streams:
            assert not unread(stream.fd), "everybody reads, and bytes lie before the proxy"
        for called in self.known.values():
            if not called.dead:
                assert called.server is not None, "a request is stuck"
                assert called.up.whole, "a request's body is stuck"
                assert called.down.whole, "an answer's body is stuck"
            elif called.left and called.server is not None and not called.server.wire.dead:
                assert called.told or (called.up.end_got and called.down.ended), "a server works for nobody"

    def teardown(self) -> None:
        for wire in getattr(self, "closed", []):
            wire.vanish(reset=False)
        super().teardown()


HttpMachine.TestCase.settings = bounded(600, 40)
TestHttp = HttpMachine.TestCase


@pytest.mark.skipif(
    connection.__file__.endswith(".so"), reason="what is compiled cannot be taken apart: tests/variants runs it"
)
def test_machine_finds_an_upload_that_stops_where_a_read_ended_inside_a_chunk_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It hung a 200 MB upload once in 43; with its repair taken out the laws do not hold."""
    script(HttpMachine())
    monkeypatch.setattr(Http1Connection, "held", lambda self: len(self._buffer))

    with pytest.raises(AssertionError, match="everybody reads, and bytes lie before the proxy"):
        script(HttpMachine())


def script(machine: HttpMachine) -> None:
    """What the machine comes to by itself."""
    machine.start(212_992, False, False, False)
    machine.call(-1, -1)
    machine.cut(0, 1, 1)
    try:
        machine.settle()
        machine.moving()
    finally:
        machine.teardown()


def test_reader_that_kept_up_and_stops_leaves_no_more_than_its_window() -> None:
    """Found by the machine: a window that has grown is held whole when its reader stops, so the bound on what is held is the widest window's."""
    machine = HttpMachine()
    machine.start(212_992, False, True, True)
    machine.call(-1, -1)
    machine.flood(0, False)
    machine.settle()
    for _ in range(20):
        machine.flood(0, False)
        machine.moving()
        machine.little_is_held()
    assert max(stream.waiting for stream in machine.streams) > Limits().stream_window
    machine.settle()
    machine.teardown()
