"""An acceptor under test: tables from nouns, an app on loopback, HTTP played by a receiver that writes down its birth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dataplane.config import (
    ChainMatch,
    Cluster,
    Endpoint,
    Endpoints,
    FilterChain,
    HttpFilter,
    Listener,
    SidecarConfig,
    Target,
    TcpFilter,
    TlsContext,
)
from dataplane.net.listen import ListenSocket, bind
from dataplane.net.stream import Stream
from dataplane.net.tls import TlsContexts
from dataplane.proxy.arrive.accept import Acceptor
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.compile import compile_tables
from dataplane.tables.listeners import ChainTable
from tests.support.net import Heard, Net, net


def tcp(*targets: str, idle: float = 3600.0, life: float = 0.0) -> TcpFilter:
    return TcpFilter(targets=tuple(Target(cluster=name) for name in targets or ("app",)), idle_timeout=idle, life=life)


def chain(name: str, filter_: TcpFilter | HttpFilter, tls: TlsContext | None = None, **match: Any) -> FilterChain:
    return FilterChain(name=name, filter=filter_, tls=tls, match=ChainMatch(**match))


def listener(name: str, *chains: FilterChain, **more: Any) -> Listener:
    return Listener(name=name, address="0.0.0.0", port=0, chains=chains, **more)


def inbound(tls: TlsContext | None, *, strict: bool = False, detect_timeout: float = 10.0) -> Listener:
    """The inbound listener of docs/xds-contract.md, for all ports."""
    mesh = [
        chain("*/mesh-http", HttpFilter(), tls, transport="tls", alpn=("tulle-h2", "tulle-http/1.1")),
        chain("*/mesh-tcp", tcp("original"), tls, transport="tls", alpn=("tulle-tcp",)),
    ]
    plain = [
        chain("*/app-tls", tcp("original"), transport="tls"),
        chain("*/plain-http", HttpFilter(), transport="raw_buffer", alpn=("http/1.0", "http/1.1", "h2c")),
        chain("*/plain-tcp", tcp("original"), transport="raw_buffer"),
    ]
    chains = [*(mesh if tls else []), *([] if strict else plain)]
    return listener("inbound/ns/pod", *chains, inbound=True, detect=True, detect_timeout=detect_timeout)


class Http(Heard):
    """Stands for `HttpDownstream`."""

    def __init__(self, stream: Stream, chain: ChainTable, http2: bool, secure: bool) -> None:
        super().__init__()
        self.stream = stream
        self.chain, self.http2, self.secure = chain.name, http2, secure


class Questions:
    """Stands for the discovery."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.touched: list[str] = []

    def want(self, name: str, callback: Any) -> None:
        self.asked.append((name, callback))

    def touch(self, name: str) -> None:
        self.touched.append(name)


@dataclass
class Proxy:
    """An acceptor and what it made."""

    net: Net
    runtime: Runtime
    acceptor: Acceptor
    https: list[Http] = field(default_factory=list)
    target: tuple[str, int] = ("", 0)
    """Where captured connections were going, in place of the kernel's answer."""

    def install(self, *listeners: Listener, app: int = 0, endpoints: tuple[Endpoint, ...] = (), **cluster: Any) -> None:
        """Put a configuration in force: cluster `app` with the endpoints given, `original` for original destinations."""
        found = endpoints or (Endpoint(address="127.0.0.1", port=app),)
        clusters = {
            "app": Cluster(name="app", kind="static", static=Endpoints(name="app", endpoints=found), **cluster),
            "original": Cluster(name="original", kind="original_dst"),
        }
        config = SidecarConfig(listeners={one.name: one for one in listeners}, clusters=clusters)
        self.runtime.install(compile_tables(config, self.runtime.tables))

    def listen(self, direction: str) -> int:
        """Open a port whose connections are taken as `inbound`, `outbound`, or by a listener's name."""
        methods = {"inbound": self.acceptor.inbound, "outbound": self.acceptor.outbound}
        take = methods.get(direction) or self.acceptor.bound(direction)
        self.net.listeners.append(ListenSocket(self.net.poller, bind("127.0.0.1", 0), take))
        return self.net.listeners[-1].address[1]

    @property
    def refused(self) -> dict[str, int]:
        return {name: counter.value for name, counter in self.runtime.metrics.refused.values.items()}

    @property
    def relayed(self) -> tuple[int, int, int, int]:
        """Opened, closed, received and sent, over all series."""
        series = self.runtime.metrics.tcps.values()
        return (
            sum(s.opened for s in series),
            sum(s.closed for s in series),
            sum(s.received for s in series),
            sum(s.sent for s in series),
        )

    async def quiet(self) -> None:
        """Wait until no connection is left."""
        await self.net.settle(lambda: self.net.poller.connections == 0)


@asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    """An acceptor on a poller of its own."""
    async with net() as n:
        runtime = Runtime(n.poller)
        runtime.dialer = n.dialer
        runtime.tls = TlsContexts()
        made: list[Http] = []

        def http(_: Runtime, stream: Stream, chain: ChainTable, http2: bool, secure: bool) -> Http:
            made.append(Http(stream, chain, http2, secure))
            return made[-1]

        acceptor = Acceptor(runtime, http, "inbound/ns/pod", (15001, 15006))
        p = Proxy(n, runtime, acceptor, made)

        def aim(stream: Stream) -> tuple[str, int] | None:
            return p.target if p.target[1] else stream.local

        acceptor.original = aim  # the kernel's answer; real ones are asked for in tests of capture
        yield p
