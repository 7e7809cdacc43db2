"""What a client's connection tells the requests on it: which chain and routes are in force, who the client is.

In: the chain the connection was accepted on, its stream. Out: `routes()`, `group()`, `forwarded`. A push reaches open
connections: the chain is looked up again when the tables changed, and kept as it was when it is gone.
"""

from __future__ import annotations

from dataplane.net.stream import Stream
from dataplane.proxy.flow import HttpConnection
from dataplane.proxy.runtime import Runtime
from dataplane.tables.compile import Tables
from dataplane.tables.listeners import ChainTable
from dataplane.tables.routes import RouteIndex
from dataplane.telemetry import labels
from dataplane.telemetry.metrics import RequestGroup


class Downside(HttpConnection):
    """The facts of a client's connection; `HttpDownstream` adds the speaking."""

    __slots__ = (
        "_group",
        "_routes",
        "_tables",
        "chain",
        "forwarded",
        "inbound",
        "mesh",
        "peer_labels",
        "secure",
    )

    def __init__(self, runtime: Runtime, stream: Stream, chain: ChainTable, secure: bool) -> None:
        super().__init__(runtime, stream)
        self.chain = chain
        self.inbound = chain.inbound
        self.secure = secure
        self.mesh = secure and stream.alpn.startswith("tulle-")
        """The client is another sidecar."""
        self.forwarded = b""
        """What is appended to `x-forwarded-for`: the client, unless its own sidecar has done so."""
        if chain.use_remote_address or (chain.own and not (self.inbound and self.mesh)):
            self.forwarded = stream.peer[0].encode()
        self.peer_labels: dict[str, str] = {}
        self._group: RequestGroup | None = None
        self._routes: RouteIndex | None = None
        self._tables: Tables | None = None

    def routes(self) -> RouteIndex | None:
        """Return the route table in force, None when it has not arrived."""
        tables = self.runtime.tables
        if tables is not self._tables:
            self._refresh(tables)
        return self._routes

    def _refresh(self, tables: Tables) -> None:
        self._tables = tables
        listener = tables.listeners.get(self.chain.listener.name)
        newer = listener.chain(self.chain.name) if listener is not None else None
        if newer is not None and newer.http:
            self.chain = newer
        chain = self.chain
        self._routes = chain.routes if chain.routes is not None else tables.routes.get(chain.route_name)

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
