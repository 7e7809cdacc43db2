"""A proxy without a network: real connections of the proxy on socket pairs, a client and servers played by the test.

`Rig.client()` gives the test's end of an accepted connection; every dial of the proxy appears in `Rig.servers`. `turn()`
lets the poller take what is there, so a test is a script: bytes in, turn, bytes out.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from typing import Any

from dataplane.config import (
    AppProtocol,
    ChainMatch,
    Cluster,
    Endpoint,
    Endpoints,
    FilterChain,
    Forward,
    HttpFilter,
    Listener,
    Route,
    RouteMatch,
    RouteTable,
    SidecarConfig,
    Target,
    TlsContext,
    VirtualHost,
)
from dataplane.net.poller import Poller
from dataplane.net.reasons import CONNECT_REFUSED
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.proxy.worker.bounds import Bounds
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.compile import compile_tables
from dataplane.telemetry import flags
from tests.support.virtual import real_time


class Peer:
    """The test's end of a connection."""

    def __init__(self, rig: Rig, sock: socket.socket, address: tuple[str, int]) -> None:
        self.rig = rig
        self.sock = sock
        self.address = address
        self.over = False
        self.backlog = b""
        sock.setblocking(False)

    def send(self, data: bytes) -> Peer:
        """Send; what the proxy does not take yet goes with the next call."""
        self.backlog += data
        try:
            while self.backlog:
                self.backlog = self.backlog[self.sock.send(self.backlog) :]
                self.rig.turn()
        except BlockingIOError:
            self.rig.turn()
        return self

    def read(self) -> bytes:
        """All that came; `b""` for nothing, also at the end (see `ended`)."""
        self.rig.turn()
        got = b""
        while True:
            try:
                piece = self.sock.recv(1 << 20)
            except BlockingIOError:
                return got
            except ConnectionError:
                piece = b""
            if not piece:
                self.over = True
                return got
            got += piece
            self.rig.turn()

    @property
    def ended(self) -> bool:
        """Whether the proxy closed its side."""
        self.read()
        return self.over

    def end(self) -> Peer:
        """Half-close."""
        self.sock.shutdown(socket.SHUT_WR)
        self.rig.turn()
        return self

    def close(self) -> None:
        self.sock.close()
        self.rig.turn()


class Dialer:
    """Connects at the next turn, to the test; addresses in `refused` fail, and with `held` nothing connects."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.refused: set[str] = set()
        self.held = False
        self.dials: list[tuple[str, int, Any]] = []

    def dial(self, address: str, port: int, receiver: Receiver, *, tls: Any, timeout: float) -> Stream:
        self.dials.append((address, port, tls))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = Stream(self.rig.poller, ours.detach(), receiver, (address, port))
        if tls is not None:
            stream.alpn, stream.identity = tls[1][-1], tls[2]  # what is offered last is what any peer speaks
        if address in self.refused:
            stream.stillborn(CONNECT_REFUSED, f"{address} port {port}: ECONNREFUSED")
            theirs.close()
        else:
            stream.start()
            self.rig.waiting.append((receiver, Peer(self.rig, theirs, (address, port))))
        return stream


class Contexts:
    """TLS setups as tuples, so tests see what was asked for."""

    def client(self, noun: TlsContext, alpn: tuple[str, ...] = (), identity: str = "") -> Any:
        return (noun, alpn, identity)


MESH_TLS = TlsContext(sni="80.c.ns", alpn=("tulle-h2",))


def forward(cluster: str = "c", **more: Any) -> Forward:
    return Forward(targets=(Target(cluster=cluster),), **more)


def everything(action: Any = None, **more: Any) -> Route:
    return Route(match=RouteMatch(prefix="/"), action=action or forward(), **more)


def cluster(
    *addresses: str, name: str = "c", protocol: AppProtocol = AppProtocol.AS_DOWNSTREAM, mesh: bool = False
) -> Cluster:
    endpoints = tuple(
        Endpoint(address=a, port=80, mesh=mesh, identity=f"spiffe://t/ns/n/sa/{a}" if mesh else "") for a in addresses
    )
    static = Endpoints(name=name, endpoints=endpoints)
    return Cluster(name=name, kind="static", static=static, protocol=protocol, mesh_tls=MESH_TLS)


def config(
    *routes: Route, clusters: tuple[Cluster, ...] = (), http: dict[str, Any] | None = None, **listener: Any
) -> SidecarConfig:
    table = RouteTable(name="r", hosts=(VirtualHost(domains=("*",), routes=routes or (everything(),)),))
    chain = FilterChain(name="http", match=ChainMatch(), filter=HttpFilter(route_name="r", **(http or {})))
    noun = Listener(name="l", address="10.0.0.1", port=80, chains=(chain,), **listener)
    known = clusters or (cluster("10.1.0.1", "10.1.0.2"),)
    return SidecarConfig(listeners={"l": noun}, routes={"r": table}, clusters={c.name: c for c in known})


class Rig:
    """One runtime and everything around it."""

    def __init__(self, noun: SidecarConfig | None = None, driver: Any = None, **bounds: Any) -> None:
        """Have the clock of a `driver`, where there is one."""
        self.servers: list[Peer] = []
        self.clients: list[Peer] = []
        self.accepted: list[Stream] = []
        """The proxy's ends of their connections."""
        self.waiting: list[tuple[Receiver, Peer]] = []
        with ExitStack() as owned:
            self.loop: Any = owned.enter_context(real_time())
            if driver is not None:
                self.loop.driver = driver
            self.poller = Poller(self.loop)
            owned.callback(self.poller.close)
            self.runtime = Runtime(self.poller, tables=compile_tables(noun or config()), bounds=Bounds(**bounds))
            self._owned = owned.pop_all()
        self.runtime.strict = True
        self.dialer = self.runtime.dialer = Dialer(self)
        self.runtime.tls = Contexts()

    def turn(self) -> None:
        for _ in range(4):
            self.poller.turn()
            while self.waiting and not self.dialer.held:
                self.open()

    def run(self, seconds: float) -> None:
        """Let time pass (for time-outs)."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.turn()

    def client(
        self, *, http2: bool = False, mesh: str = "", target: tuple[str, int] | None = None, alpn: str = "tulle-h2"
    ) -> Peer:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = Stream(self.poller, ours.detach(), Receiver(), ("10.9.9.9", 4000))
        stream.target = target
        stream.identity = mesh
        stream.alpn = alpn if mesh else ""
        chain = self.runtime.tables.listeners["l"].chains[0]
        HttpDownstream(self.runtime, stream, chain, http2, bool(mesh))
        stream.start()
        self.accepted.append(stream)
        self.clients.append(Peer(self, theirs, ("10.9.9.9", 4000)))
        return self.clients[-1]

    def open(self) -> Peer:
        """Let the oldest held dial connect."""
        receiver, peer = self.waiting.pop(0)
        receiver.opened()
        self.servers.append(peer)
        self.poller.turn()
        return peer

    def counted(self, status: int = 0, flag: int = 0) -> int:
        """Requests recorded with this outcome."""
        names = (f'response_code="{status}"'.encode(), f'response_flags="{flags.NAMES[flag]}"'.encode())
        groups = self.runtime.metrics.groups.values()
        series = [one for group in groups for one in group.series.values()]
        return sum(one.count for one in series if all(name in one.labels for name in names))

    def close(self) -> None:
        """End, and demand that nothing is left."""
        with self._owned:
            for peer in [*self.clients, *self.servers]:
                peer.sock.close()
            self.turn()
            self.runtime.stop()
            self.turn()
            for peer in [*self.servers, *(late for _, late in self.waiting)]:
                peer.sock.close()  # dialled while the rest was closed
            left = (len(self.runtime.downstreams), len(self.runtime.upstreams), self.runtime.active)
        assert self.poller.failures == 0, "a receiver raised; see the log"
        assert left == (0, 0, 0), f"left over: clients, servers, requests {left}"


class Speaker:
    """A peer with a codec of its own, for HTTP/2: commands by `do`, what came by `events`."""

    def __init__(self, peer: Peer, codec: Any) -> None:
        self.peer = peer
        self.codec = codec
        self.seen: list[Any] = []

    def do(self, name: str, *arguments: Any) -> Any:
        """Give the codec a command and send what it makes of it."""
        answer = getattr(self.codec, name)(*arguments)
        self.pump()
        return answer

    def pump(self) -> None:
        """Exchange bytes until nothing moves."""
        for _ in range(100):
            out = self.codec.output()
            if not self.peer.over:
                self.peer.send(out)
            came = self.peer.read()
            self.seen += self.codec.receive(came) if came else []
            if not came and not out:
                return

    def events(self, kind: type | None = None) -> list[Any]:
        """Take what came since the last call, of one kind if named; settings and acknowledgements are left out."""
        self.pump()
        came = [event for event in self.seen if event.kind not in {8, 11}]
        self.seen = []
        return came if kind is None else [event for event in came if isinstance(event, kind)]
