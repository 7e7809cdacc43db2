"""Connections to one endpoint in one protocol: reused on HTTP/1, shared on HTTP/2, dialled when there is none to be had.

In: who asks for a connection. Out: `READY` (with the connection in `ready`), `WAIT` (it hears later, by `connected` or
`unconnected`) or `REFUSED` (with `reason` and `detail`); what follows from it is the caller's to do. Refuses who comes
beyond the cluster's pending bound, and opens no connection beyond its bound unless it has none. HTTP/2 opens another
connection when the peer's stream limit is reached, unless that is none at all. Nobody waits longer than connecting may
take: where no further connection can be opened, that is how long one has to become free.
"""

from __future__ import annotations

from collections import deque

from dataplane.config import TlsContext
from dataplane.net import reasons
from dataplane.net.timers import Timer
from dataplane.net.tls import TlsUnavailableError
from dataplane.proxy.request.call import Tried
from dataplane.proxy.server import conduct
from dataplane.proxy.server.upstream import HttpUpstream, Owner
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from dataplane.tables.health import CONNECTING
from meshapi import names

HTTP1 = 1
HTTP2 = 2
UPGRADE = 3
_HTTP1 = HTTP1  # plain C integers when compiled
_HTTP2 = HTTP2

READY = 0
WAIT = 1
REFUSED = 2
_READY = READY
_WAIT = WAIT
_REFUSED = REFUSED

OVERFLOW = "overflow"
FAILED = "failed"
WAITED = "waited"


class Pool(Owner):
    """The connections of one endpoint slot in one protocol."""

    __slots__ = (
        "_cluster",
        "_current",
        "_expiry",
        "_since",
        "circuit",
        "connecting",
        "connections",
        "context",
        "detail",
        "http2",
        "idle",
        "mesh",
        "pending",
        "ready",
        "reason",
        "retired",
        "runtime",
        "slot",
        "streams",
        "timeout",
        "upgrade",
    )

    def __init__(self, runtime: Runtime, cluster: ClusterTable, slot: EndpointSlot, kind: int) -> None:
        self.runtime = runtime
        self.slot = slot
        self.mesh = slot.mesh
        self.context = _context(cluster, slot)
        self.http2 = kind == HTTP2
        self.upgrade = kind == UPGRADE
        self.retired = slot.retired
        self.timeout = cluster.connect_timeout
        self.connecting = 0
        self.streams = -1
        """What the server said last that it takes at once on a connection; -1 when it has not."""
        self.idle: list[HttpUpstream] = []
        """HTTP/1 connections without a request; the last used is used first."""
        self.connections: list[HttpUpstream] = []
        self.pending: deque[Tried] = deque()
        self._since: deque[float] = deque()
        """When each of them began to wait."""
        self._expiry: Timer | None = None
        """When the first of them has waited long enough, where no connection can be opened for it."""
        self.ready: HttpUpstream | None = None
        """What the last verdict gave."""
        self.reason = self.detail = ""
        """Why the last one was refused."""
        self._current: HttpUpstream | None = None
        self.circuit = cluster.circuit
        self._cluster = cluster.noun

    # --- what calls ask -----------------------------------------------------------------------------------------------

    def ask(self, call: Tried) -> int:
        """Decide: a connection now, later, or none."""
        if not self.pending:
            connection = self._usable()
            if connection is not None:
                self.ready = connection
                return _READY
        circuit = self.circuit
        if circuit.pending >= circuit.max_pending:
            self.reason, self.detail = OVERFLOW, "too many requests wait for a connection"
            return _REFUSED
        self.pending.append(call)
        self._since.append(self.runtime.clock())
        circuit.pending += 1
        if not self._dial_enough():
            self.forget(call)
            self.reason = FAILED  # there is not even a certificate to connect with, as `detail` says
            return _REFUSED
        return _WAIT

    def _usable(self) -> HttpUpstream | None:
        if not self.http2:
            idle = self.idle
            while idle:
                connection = idle.pop()
                if connection.usable():
                    return connection
            return None
        if self._current is not None and self._current.usable():
            return self._current
        for connection in self.connections:
            if connection.usable():
                self._current = connection
                return connection
        return None

    def _next(self) -> Tried:
        """Take out who has waited longest."""
        self.circuit.pending -= 1
        self._since.popleft()
        return self.pending.popleft()

    def _watch(self) -> None:
        """Look when the first that waits has waited long enough."""
        if self._expiry is None:
            left = self._since[0] + self.timeout - self.runtime.clock()
            self._expiry = self.runtime.timers.after(max(left, 0.0), self._expire)

    def _expire(self) -> None:
        """Tell who waited too long; the others' time is looked at again."""
        self._expiry = None
        now = self.runtime.clock()
        late = [self._next() for since in list(self._since) if now - since >= self.timeout]
        for call in late:
            if not call.over:
                self.runtime.metrics.events.of("connection_wait_timeouts").value += 1
                self._refuse(call, WAITED, f"no connection became free in {self.timeout:g} s")
        if self.pending:
            self._watch()
        self._go_if_done()

    def prepare(self) -> None:
        """Have a connection before a call needs it."""
        if not self.connections and not self.retired and self.circuit.may_connect():
            self._dial()

    def probe(self) -> bool:
        """Find out beside all requests whether there can be a connection; False when there is one already."""
        if self.connections and not self.connecting:
            return False
        if not self.connections and not self.retired:
            self._dial()  # whatever the circuit says of further ones: an endpoint without any may have one
        return True

    def forget(self, call: Tried) -> None:
        """The call gave up waiting."""
        if call in self.pending:
            at = self.pending.index(call)
            del self.pending[at], self._since[at]
            self.circuit.pending -= 1
            self._go_if_done()

    # --- dialling -----------------------------------------------------------------------------------------------------

    def _dial_enough(self) -> bool:
        """Have a connection on its way for each who waits, as far as there may be; False when there is none to hope for."""
        wanted = 1 if self.http2 else len(self.pending)
        circuit = self.circuit
        while self.connecting < wanted:
            if self.connections and not circuit.may_connect():
                self.runtime.metrics.events.of("connections_overflow").value += 1
            elif self.connections and self.streams == 0:
                pass  # it takes none for now, on whichever connection (RFC 9113, section 6.5.2)
            elif self._dial():
                continue
            elif not self.connections:
                return False
            self._watch()  # those there are may become free in time
            return True
        return True

    def _dial_more(self) -> None:
        """The same for who waits already, and hears when that is for nothing."""
        if not self._dial_enough():
            self._unconnected(self.detail)

    def _dial(self) -> bool:
        slot = self.slot
        try:
            tls = None
            if self.context is not None:
                tls = self.runtime.tls.client(self.context, self._alpn(self.context), slot.identity)
        except TlsUnavailableError as error:
            self.detail = str(error)
            return False
        connection = HttpUpstream(self.runtime, self, self.slot, self.http2, self._cluster.max_streams)
        connection.obey(self._cluster)
        self.connections.append(connection)
        self.circuit.connections += 1
        self.connecting += 1
        self.runtime.metrics.events.of("upstream_dials").value += 1
        connection.stream = self.runtime.dialer.dial(slot.address, slot.port, connection, tls=tls, timeout=self.timeout)
        return True

    def _alpn(self, context: TlsContext) -> tuple[str, ...]:
        """Offer only what is about to be spoken (docs/xds-contract.md)."""
        if self.mesh:
            return (names.ALPN_H2 if self.http2 else names.ALPN_HTTP1,)
        return tuple(name for name in context.alpn if name.endswith("h2") == self.http2)

    # --- what connections tell ----------------------------------------------------------------------------------------

    def opened(self, connection: HttpUpstream) -> None:
        """Connected: whoever waits is served."""
        self.connecting -= 1
        if self.http2:
            self._current = connection
            if self.streams > 0:
                connection.expect(self.streams)
            else:
                self.streams = -1  # where another took none, this one may take some, and need not say so
        self._offer(connection)
        self._go_if_done()

    def told(self, streams: int) -> None:
        """The next connection begins with what this one had to be told."""
        self.streams = streams

    def released(self, connection: HttpUpstream) -> None:
        """A request is over: the next one, or rest."""
        if self.pending or not self.retired:
            self._offer(connection)
        self._go_if_done()

    def _offer(self, connection: HttpUpstream) -> None:
        if self.pending:
            self._serve(connection)
        if not self.http2 and connection.usable():
            self.idle.append(connection)
        elif self.pending:
            self._dial_more()

    def _serve(self, connection: HttpUpstream) -> None:
        pending = self.pending
        while pending and connection.usable():
            call = self._next()
            if not call.over:
                try:
                    call.connected(connection)
                except Exception as error:  # noqa: BLE001 - see _defect
                    self._defect(call, error)

    def _refuse(self, call: Tried, reason: str, detail: str) -> None:
        try:
            call.unconnected(reason, detail)
        except Exception as error:  # noqa: BLE001 - see _defect
            self._defect(call, error)

    def _defect(self, call: Tried, error: Exception) -> None:
        """End one that waited by its own defect, and not the request in whose turn it shows, nor those that wait behind."""
        self.runtime.poller.defect("a request that waited for a connection was ended", error)
        call.failed(repr(error))

    def ended(self, connection: HttpUpstream, reason: str, detail: str) -> None:
        """A connection is gone or going."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.circuit.connections -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        if self._current is connection:
            self._current = None
        if self.ready is connection:
            self.ready = None
        if not connection.ready:
            self.connecting -= 1
            self.runtime.metrics.events.of("upstream_connect_failures").value += 1
            if reason not in reasons.OURS:
                conduct.failed(self.runtime, self.slot, CONNECTING, reason)
            self._unconnected(detail or reason)
        elif self.pending:
            self._dial_more()

    def _unconnected(self, detail: str) -> None:
        """Connecting failed: one request less can be served, or none at all when nothing else is on its way."""
        pending = self.pending
        failing = len(pending) if self.http2 or self.connecting == 0 else 1
        for _ in range(failing):
            if not pending:
                return
            call = self._next()
            if not call.over:
                self._refuse(call, FAILED, detail)

    def follow(self, cluster: ClusterTable) -> bool:
        """Take over what the cluster says now; False when that takes other connections, and these end."""
        before, noun = self._cluster, cluster.noun
        if self.context != _context(cluster, self.slot) or (before.protocol is not noun.protocol and not self.mesh):
            self.retire()
            return False
        self._cluster = noun
        self.timeout = noun.connect_timeout
        for connection in list(self.connections):
            connection.obey(noun)
            if self.pending:
                self._serve(connection)
        if self.pending:
            self._dial_more()
        return True

    def retire(self) -> None:
        """The endpoint is gone: who still waits is served, and connections finish what they have."""
        self.retired = True
        self._go_if_done()

    def _go_if_done(self) -> None:
        """End a retired pool's connections, each when it is free, once nobody waits any more."""
        if self.retired and not self.pending:
            for connection in list(self.connections):
                if connection.ready and (self.http2 or connection.call is None):
                    connection.retire()


def _context(cluster: ClusterTable, slot: EndpointSlot) -> TlsContext | None:
    return cluster.mesh_tls if slot.mesh else cluster.tls


def pool_of(runtime: Runtime, cluster: ClusterTable, slot: EndpointSlot, kind: int) -> Pool:
    """Return the slot's pool for a protocol; whether it fits the cluster is seen to when tables change (`Pool.follow`)."""
    pool = slot.http2 if kind == _HTTP2 else slot.http1 if kind == _HTTP1 else slot.upgrade
    if pool is not None:
        return pool  # type: ignore[no-any-return]
    pool = Pool(runtime, cluster, slot, kind)
    if kind == _HTTP2:
        slot.http2 = pool
    elif kind == _HTTP1:
        slot.http1 = pool
    else:
        slot.upgrade = pool
    return pool
