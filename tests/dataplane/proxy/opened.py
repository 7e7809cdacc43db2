"""What the machine of open connections moves: worlds of one listener, apps that answer, clients of all kinds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from hypothesis import strategies as st

from dataplane.config import (
    AppProtocol,
    Authorization,
    ChainMatch,
    FilterChain,
    HttpFilter,
    Listener,
    RouteTable,
    Rules,
    SidecarConfig,
    Target,
    TcpFilter,
    VirtualHost,
)
from dataplane.protocol.events import RequestHead, ResponseHead
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.arrive import standing
from meshapi import xds
from tests.dataplane.proxy.rig import MESH_TLS, Peer, Speaker, cluster, everything

TARGET = ("10.0.0.1", 80)
DENY_ALL = (Authorization(rules=Rules(deny=False, policies=())),)
HTTP = ("http/1.0", "http/1.1", "h2c")
ALICE = "spiffe://t/ns/n/sa/alice"
ALPN = {"mesh-h1": "tulle-http/1.1", "mesh-h2": "tulle-h2", "mesh-raw": "tulle-tcp"}
SERVED, ENDED, DENIED, SILENCE = "200", "ended", "403 rbac_denied", "silence"
LONG = standing.SPREAD_SECONDS + standing.CUT_SECONDS + 5.0


# --- what is configured -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Everything that a swap may change about the one listener."""

    there: bool = True
    protocol: str = "auto"
    strict: bool = False
    deny_connections: bool = False
    deny_requests: bool = False
    own_port: bool = True
    """Inbound: chains for the port itself, not only those of all ports."""
    cluster: bool = True
    by_name: bool = False
    table: bool = True
    unknown_denied: bool = False

    def config(self, inbound: bool) -> SidecarConfig:
        """Write it out, as docs/xds-contract.md lays chains out."""
        name = xds.inbound_listener("ns", "pod") if inbound else xds.outbound_listener(*TARGET)
        chains = self._inbound() if inbound else self._plain("", 0)
        noun = Listener(name=name, address=TARGET[0], port=80, chains=tuple(chains), inbound=inbound)
        listeners = {name: noun} if self.there else {}
        if self.unknown_denied and not inbound:
            facts = (("outbound_policy", "deny"),)
            listeners["own"] = Listener(name="own", address="", port=0, chains=(), inbound=True, metadata=facts)
        routes = {"r": _table()} if self.table else {}
        known = [cluster("10.1.0.1", protocol=AppProtocol.HTTP1)] if self.cluster else []
        return SidecarConfig(listeners=listeners, routes=routes, clusters={one.name: one for one in known})

    def _inbound(self) -> list[FilterChain]:
        chains = self._all("*", 0)
        return [*self._all("80", 80), *chains] if self.own_port else chains

    def _all(self, label: str, port: int) -> list[FilterChain]:
        made = []
        if self.protocol != "tcp":
            made.append(
                self._chain(f"{label}/mesh-http", self._http(), port, "tls", ("tulle-h2", "tulle-http/1.1"), mesh=True)
            )
        made.append(self._chain(f"{label}/mesh-tcp", _TCP, port, "tls", ("tulle-tcp",), mesh=True))
        return made if self.strict else [*made, *self._plain(label, port)]

    def _plain(self, label: str, port: int) -> list[FilterChain]:
        http = self._chain(f"{label}/http", self._http(), port, "", HTTP if self.protocol == "auto" else ())
        tcp = self._chain(f"{label}/tcp", _TCP, port, "", ())
        return {"auto": [http, tcp], "http": [http], "tcp": [tcp]}[self.protocol]

    def _chain(  # noqa: PLR0913 - a chain has as many parts
        self,
        name: str,
        filter_: HttpFilter | TcpFilter,
        port: int,
        transport: str,
        alpn: tuple[str, ...],
        *,
        mesh: bool = False,
    ) -> FilterChain:
        match = ChainMatch(destination_port=port, transport=transport, alpn=alpn)
        rules = DENY_ALL if self.deny_connections else ()
        return FilterChain(name=name, match=match, filter=filter_, tls=MESH_TLS if mesh else None, authorization=rules)

    def _http(self) -> HttpFilter:
        rules = DENY_ALL if self.deny_requests else ()
        if self.by_name:
            return HttpFilter(route_name="r", authorization=rules)
        return HttpFilter(routes=_table(), authorization=rules)


_TCP = TcpFilter(targets=(Target(cluster="c"),))


def _table() -> RouteTable:
    return RouteTable(name="r", hosts=(VirtualHost(domains=("*",), routes=(everything(),)),))


CHANGES = st.sampled_from(
    [
        {"there": False},
        {"protocol": "http"},
        {"protocol": "tcp"},
        {"strict": True},
        {"deny_connections": True},
        {"deny_requests": True},
        {"own_port": False},
        {"cluster": False},
        {"by_name": True},
        {"by_name": True, "table": False},
        {"unknown_denied": True},
    ]
)
"""What is otherwise than in the world of the beginning; worlds do not add up, or nobody would be let in any more."""


# --- who speaks -------------------------------------------------------------------------------------------------------


class Far(Peer):
    """A client's end, which may have been reset before it sends."""

    def send(self, data: bytes) -> Peer:
        with contextlib.suppress(ConnectionError):
            return super().send(data)
        self.backlog = b""
        return self


class Server:
    """An app behind the proxy: answers at once, or holds what asks for `/hold` until it is let go."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._speaker: Speaker | None = None
        self._held: list[int] = []
        self._raw = b""

    def answer(self) -> bool:
        """Take what came; whether anything did."""
        if self._speaker is not None:
            return self._answer2()
        came = self._peer.read()
        if came.startswith(b"PRI"):
            self._speaker = Speaker(self._peer, Http2Server(Limits()))
            self._speaker.seen += self._speaker.codec.receive(came)
            return self._answer2() or True
        if came.startswith(b"\0"):
            self._peer.send(b"\0pong")
        for request in came.split(b"\r\n\r\n")[:-1]:
            if request.startswith(b"GET /hold"):
                self._held.append(0)
            elif request.startswith(b"GET"):
                self._peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        return bool(came)

    def _answer2(self) -> bool:
        heads = self._speaker.events(RequestHead) if self._speaker is not None else []
        for head in heads:
            if head.path == b"/hold":
                self._held.append(head.stream)
            elif self._speaker is not None:
                self._speaker.do("send_response", head.stream, 200, b"", [], True)
        return bool(heads)

    def let_go(self) -> None:
        """Answer what was held."""
        held, self._held = self._held, []
        for stream in held:
            if self._speaker is not None:
                self._speaker.do("send_response", stream, 200, b"", [], True)
            elif not self._peer.over:
                self._peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@dataclass
class Client:
    """One open connection, and what may have touched it since it was made."""

    kind: str
    peer: Peer
    speaker: Speaker | None = None
    untouched: bool = True
    settled: bool = True
    refused: bool = False
    """A connection like it would have been refused at some time since its request under way began."""
    waiting: bool = False
    outcomes: list[str] = field(default_factory=list)

    def ask(self, path: bytes = b"/x") -> None:
        """Send a request, or a ping."""
        if self.kind.endswith("h1"):
            self.peer.send(b"GET %s HTTP/1.1\r\nHost: web\r\n\r\n" % path)
        elif self.speaker is None:
            self.peer.send(b"\0ping")
        elif self.speaker.codec.can_open:
            self.speaker.do("send_request", RequestHead(0, b"GET", b"http", b"web", path, [], True, 20), True)

    def hear(self) -> str:
        """Say what came of it; empty while nothing has."""
        if self.speaker is not None:
            seen = self.speaker.events()
            for event in seen:
                if isinstance(event, ResponseHead):
                    words = {name: value for name, value, _ in event.headers}
                    return f"{event.status} {words.get(b'x-tulle-error', b'').decode()}".strip()
            return ENDED if self.peer.over or not self.speaker.codec.can_open else ""
        came = self.peer.read()
        if came.startswith(b"\0"):
            return SERVED
        if came.startswith(b"HTTP/1.1"):
            head = came.partition(b"\r\n\r\n")[0].decode()
            word = next(
                (line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("x-tulle-error")), ""
            )
            return f"{head[9:12]} {word}".strip()
        return ENDED if self.peer.over else ""

    @property
    def over(self) -> bool:
        """Whether nothing can be asked here any more."""
        if self.speaker is not None:
            self.speaker.pump()
            return self.peer.over or not self.speaker.codec.can_open
        return self.peer.ended
