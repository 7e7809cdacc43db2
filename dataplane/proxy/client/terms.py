"""What a client's connection tells the requests on it: which chain and routes are in force, who the client is.

In: the chain the connection was accepted on, its stream. Out: `routes()`, `guard`, `group()`, `forwarded`. A push reaches
open connections: `standing` says whether this one follows to what is in force now, or how it ends.
"""

from __future__ import annotations

from dataplane.net.stream import Stream
from dataplane.proxy.arrive import standing
from dataplane.proxy.arrive.standing import Seen
from dataplane.proxy.connection import HttpConnection
from dataplane.proxy.stages.face import Stage
from dataplane.proxy.stages.order import before_match
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.authz import ALWAYS_DENY, Guard, refusing
from dataplane.tables.compile import Tables
from dataplane.tables.conditions import Facts
from dataplane.tables.listeners import ChainTable
from dataplane.tables.routes import RouteIndex
from dataplane.telemetry import labels
from dataplane.telemetry.metrics import RequestGroup
from meshapi import names


class Terms(HttpConnection):
    """The facts of a client's connection; `HttpDownstream` adds the speaking.

    The face by which a request knows its client, and so what `HttpDownstream` is and not what it has: a part would need such a face
    beside it, be one load more for each of the nine things a warm request asks here, and know its connection, which some of these
    facts end: a cycle to be cut by hand.
    """

    __slots__ = (
        "_barred",
        "_group",
        "_guarded",
        "_moved",
        "_routes",
        "_tables",
        "before",
        "chain",
        "edge",
        "forwarded",
        "guard",
        "guest",
        "inbound",
        "mesh",
        "peer_labels",
        "proto",
        "secure",
        "seen",
        "standing",
        "takes_refusals",
    )

    def __init__(self, runtime: Runtime, stream: Stream, chain: ChainTable, secure: bool) -> None:
        super().__init__(runtime, stream)
        self.chain = chain
        self.inbound = chain.inbound
        self.guest = chain.inbound or not runtime.captures
        """Somebody outside this pod opened it; the pod's own app is no guest."""
        self.secure = secure
        self.mesh = secure and stream.alpn.startswith("tulle-")
        """The client is another sidecar."""
        self.takes_refusals = self.inbound and self.mesh and stream.alpn == names.ALPN_H2
        """It knows REFUSED_STREAM as the word for a request that did not reach the app."""
        self.forwarded = b""
        """What is appended to `x-forwarded-for`: the client, unless its own sidecar has done so."""
        if chain.use_remote_address or (chain.own and not (self.inbound and self.mesh)):
            self.forwarded = stream.peer[0].encode()
        self.edge = chain.use_remote_address and chain.trusted_hops == 0
        """Nobody before us is trusted to say what the client spoke."""
        self.proto = b"https" if secure and not self.mesh else b"http"
        """What the client speaks, as `x-forwarded-proto` has it."""
        self.peer_labels: dict[str, str] = {}
        self._group: RequestGroup | None = None
        self._routes: RouteIndex | None = None
        self._tables: Tables | None = None
        self._guarded: ChainTable | None = None
        """The chain `guard` was bound for."""
        self._moved = False
        """The tables are other ones than when the connection came."""
        self.seen: Seen = standing.HTTP1
        self.standing = standing.FOLLOWS
        """What became of the connection when the tables changed."""
        self.guard: Guard | None = None
        """The rules for requests, as far as the connection decides them; None when there are none."""
        self._barred = False
        """They let nothing in any more and did when it came."""
        self.before: tuple[Stage, ...] = ()
        """The stages of its requests before any route is looked at."""

    def routes(self) -> RouteIndex | None:
        """Return the route table in force, None when it has not arrived."""
        tables = self.runtime.tables
        if tables is not self._tables:
            self._refresh(tables)
        return self._routes

    def tunnel_opened(self) -> None:
        """A hook: the request in hand has become a tunnel, and what was held back behind it belongs there."""

    def _refresh(self, tables: Tables) -> None:
        self._moved = old = self._tables is not None
        self._tables = tables
        before = self.standing
        self.standing, self.chain = standing.judge(self.chain, tables, self.stream, self.seen)
        if self.standing == standing.FOLLOWS:
            chain = self.chain
            self._routes = chain.routes if chain.routes is not None else tables.routes.get(chain.route_name)
            if chain is not self._guarded:
                admitted = old and (
                    before == standing.ENDS_NOW or self.guard is None or self.guard.state != ALWAYS_DENY
                )
                self._bind(chain)
                self._barred = admitted and self.guard is not None and self.guard.state == ALWAYS_DENY
            if self._barred:
                # Each request would be answered 403, and those under way go on for as long as they like.
                self.standing = standing.ENDS_NOW
        elif self.standing == standing.ENDS_NOW:
            self._guarded = None
            self.guard = refusing("the configuration in force would not let this connection in")
        # Who ends calmly keeps the routes it had.
        self.before = before_match(self.chain, self.guard, self.runtime.metrics.events.of("rbac_allowed"))
        if self.standing != before:
            self.stands()

    def _bind(self, chain: ChainTable) -> None:
        """Let the rules of a chain decide what they can about the connection."""
        self._guarded = chain
        rules = chain.authorization
        self.guard = None
        if rules is not None:
            # The last address in `x-forwarded-for` is the one we appended.
            hops = -1 if self.forwarded and not chain.trusted_hops else chain.trusted_hops
            stream = self.stream
            self.guard = rules.bind(
                Facts(stream.peer[0], stream.target or stream.local, stream.identity, stream.server_name, hops)
            )

    def review(self) -> None:
        """Look at the tables in force now, not at the next request."""
        if not self.gone:
            self.routes()

    def come_anew(self) -> None:
        """Have the client open another connection if this one is older than the tables: what it lacks may be there for a new one."""
        if self._moved:
            self.drain()

    def stands(self) -> None:
        """A hook: `standing` has changed."""

    def drain(self) -> None:
        """A hook: the client is to open nothing more here."""

    def refused(self) -> None:
        """A request was not admitted: where the connection would not be let in any more, its client is to come anew."""
        if self.standing != standing.FOLLOWS:
            self.come_anew()

    def group(self) -> RequestGroup:
        """Return the series of this client (inbound), or of calls that found no endpoint (outbound)."""
        group = self._group
        if group is None:
            runtime = self.runtime
            if self.inbound:
                principal = self.stream.identity
                peers = labels.inbound(runtime.own, principal, self.peer_labels, secure=self.secure)
            else:
                peers = labels.outbound(runtime.own, self.chain.facts, {}, "")
            group = self._group = runtime.metrics.requests(peers)
        return group

    def learn(self, introduction: bytes) -> None:
        """Take the telemetry labels a sidecar told about itself; who it is stays what its certificate says."""
        self.peer_labels = labels.introduced(introduction, self.stream.identity)
        self._group = None
