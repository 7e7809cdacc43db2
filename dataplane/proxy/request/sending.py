"""The request half of a call: find an endpoint, get a connection, send head and body, keep what may be sent again.

In: a routed head, body pieces of the client, connections of pools. Out: commands to the upstream connection; `refuse`
when there is nowhere to go. Body pieces are kept (as references) while a server may still turn out not to have seen
the request; beyond the limit they are dropped and with them the chance to try again.
"""

from __future__ import annotations

from collections.abc import Callable

from dataplane.net.receiver import Receiver
from dataplane.protocol import codes
from dataplane.protocol.events import Headers, RequestHead
from dataplane.proxy.connection import HttpConnection
from dataplane.proxy.request import errors, life, tunnel
from dataplane.proxy.request.call import Call
from dataplane.proxy.request.deadlines import Deadlines
from dataplane.proxy.request.life import AstrayError, after
from dataplane.proxy.request.notes import ORIGINAL, PEER, strip_own
from dataplane.proxy.request.replay import Replay
from dataplane.proxy.server.pool import HTTP1, HTTP2, OVERFLOW, UPGRADE, WAITED, Pool, pool_of
from dataplane.proxy.server.upstream import HttpUpstream
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables import endpoints
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from dataplane.tables.routes import RouteRow

# Plain C integers when compiled.
_SPEAKS_HTTP1 = endpoints.HTTP1
_SPEAKS_HTTP2 = endpoints.HTTP2
_HTTP1 = HTTP1
_HTTP2 = HTTP2
_UPGRADE = UPGRADE
_REQUEST = life.REQUEST
_OPEN = life.OPEN
_WHOLE = life.WHOLE
_RAW = life.RAW
_ENDED = life.ENDED
_END = life.END
_NEVER = life.NEVER

_WAS_HTTP11 = (ORIGINAL, b"HTTP/1.1", ORIGINAL)
_WAS_HTTP10 = (ORIGINAL, b"HTTP/1.0", ORIGINAL)
_WAS_ABSOLUTE = (ORIGINAL, b"HTTP/1.1 absolute", ORIGINAL)


class Sending(Call):
    """A call as far as its request goes."""

    __slots__ = (
        "asking",
        "cluster",
        "connect_tries",
        "deadlines",
        "detail",
        "down",
        "head",
        "http1_origin",
        "kept",
        "last_slot",
        "mirrors",
        "owed",
        "pool",
        "request_bytes",
        "retrying",
        "row",
        "runtime",
        "slot",
        "tried",
        "tries",
        "up",
        "waiting",
        "whole",
    )

    cluster: ClusterTable
    pool: Pool
    row: RouteRow | None

    def prepare_sending(self, runtime: Runtime, down: HttpConnection | None, head: RequestHead) -> None:
        """Begin with a head that is still to be routed."""
        Call.prepare_call(self, head.stream)
        self.down = down
        self.up: HttpConnection | None = None
        self.runtime = runtime
        self.head = head
        self.row = None
        self.slot: EndpointSlot | None = None
        self.last_slot: EndpointSlot | None = None
        """The endpoint tried last."""
        self.mirrors: list[Sending] | None = None
        self.kept: Replay | None = None
        """What came of the request's body; None for nothing."""
        self.whole = True
        """`kept` has all of it so far, so the request can be sent (again)."""
        self.deadlines: Deadlines | None = None
        self.asking = _WHOLE if head.end else _OPEN
        """Where the request's side is (`life.REQUEST`)."""
        self.waiting = False
        """For a connection."""
        self.http1_origin = head.version < 20
        self.tried: list[EndpointSlot] | None = None
        self.tries = 0
        self.connect_tries = 0
        self.retrying = False
        """It counts as one of the cluster's retries."""
        self.owed = 0
        """Body bytes taken from the client's window and not handed on yet."""
        self.request_bytes = 0
        self.detail = ""

    def deadline(self, kind: int, seconds: float, call: Callable[[], object]) -> None:
        """Set a time-out."""
        if self.deadlines is None:
            self.deadlines = Deadlines(self.runtime.timers)
        self.deadlines.set(kind, seconds, call)

    def asked(self, event: int) -> bool:
        """Take the request's side on by an event; False when that ended the exchange."""
        state = after(_REQUEST, self.asking, event)
        if state == _NEVER:
            return self.astray(f"request {self.asking}: {event}")
        self.asking = state
        if event == _END:
            self._request_whole()
        return True

    def astray(self, what: str) -> bool:
        """Something came that the tables do not know: in tests that raises, else it ends this one exchange."""
        self.runtime.metrics.events.of("exchange_astray").value += 1
        if self.runtime.strict:
            raise AstrayError(what)
        self.request_reset(what)
        if self.down is not None:
            self.down.reset(self.down_stream, codes.INTERNAL_ERROR)
        return False

    # --- finding a server ---------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Choose an endpoint and ask for a connection to it."""
        cluster = self.cluster
        if cluster.original:
            target = self.down.stream.target if self.down is not None else None
            slot = cluster.at(target[0], target[1]) if target is not None else None
        else:
            slot = (self._on_trial(cluster) if self.tried is None else None) or cluster.pick(self.tried)
        if slot is None:
            self.refuse(errors.NO_HEALTHY)
            return
        circuit = cluster.circuit
        if circuit.requests >= circuit.max_requests:
            self.refuse(errors.REQUESTS_FULL)
            return
        self.slot = self.last_slot = slot
        slot.active += 1
        circuit.requests += 1
        self.waiting = True
        self.pool = pool_of(self.runtime, cluster, slot, self._kind(slot))
        self.pool.acquire(self)
        if cluster.ahead and not self.head.protocol:
            self._look_ahead(cluster)
        if self.waiting and not (self.asking & _ENDED) and not self.over and self.down is not None:
            self.down.stop_reading()

    def _on_trial(self, cluster: ClusterTable) -> EndpointSlot | None:
        """Have an endpoint tried whose time it is: by a connection nobody waits for, else by this very request."""
        slot = cluster.due(self.runtime.poller.now, self.runtime.bounds.set_aside)
        if slot is None or pool_of(self.runtime, cluster, slot, self._kind(slot)).probe():
            return None
        return slot

    def _look_ahead(self, cluster: ClusterTable) -> None:
        """Spare the next request the wait for its connection."""
        slot = cluster.peek()
        if slot is not None:
            pool_of(self.runtime, cluster, slot, self._kind(slot)).prepare()

    def _kind(self, slot: EndpointSlot) -> int:
        """Which protocol to speak to an endpoint."""
        protocol = self.cluster.protocol
        if self.head.protocol:
            return _HTTP2 if protocol == _SPEAKS_HTTP2 and not slot.mesh else _UPGRADE
        if slot.mesh or protocol == _SPEAKS_HTTP2:
            return _HTTP2
        if protocol == _SPEAKS_HTTP1 or self.http1_origin:
            return _HTTP1
        return _HTTP2

    def abandon_try(self) -> None:
        """Let go of the endpoint (after a try, or at the end)."""
        slot = self.slot
        if slot is not None:
            slot.active -= 1
            self.cluster.circuit.requests -= 1
            self.slot = None
        if self.waiting:
            self.waiting = False
            self.pool.forget(self)

    def again(self, *, elsewhere: bool) -> None:
        """Send the request once more; `elsewhere` excludes the endpoint just tried."""
        if elsewhere and self.last_slot is not None:
            if self.tried is None:
                self.tried = []
            self.tried.append(self.last_slot)
        self.abandon_try()
        self.up = None
        newer = self.runtime.tables.clusters.get(self.cluster.name)
        if newer is not None and newer.circuit is self.cluster.circuit:
            self.cluster = newer  # what a push took away meanwhile is not tried any more
        self.dispatch()

    def hold_retry(self) -> bool:
        """Be one of the cluster's retries, if it has room for another one."""
        circuit = self.cluster.circuit
        if not self.retrying:
            if not circuit.may_retry():
                self.runtime.metrics.events.of("retries_overflow").value += 1
                return False
            circuit.retries += 1
            self.retrying = True
        return True

    def release_retry(self) -> None:
        """Be none any more."""
        self.retrying = False
        self.cluster.circuit.retries -= 1

    def refuse(self, refusal: errors.Refusal) -> None:
        """Answer in the server's place; what that means is the subclass's."""

    def unconnected(self, reason: str, detail: str) -> None:
        """No connection: the next endpoint, as often as allowed."""
        self.waiting = False
        self.detail = detail
        self.connect_tries += 1
        if reason == OVERFLOW:
            self.refuse(errors.PENDING_FULL)
        elif reason == WAITED:
            self.refuse(errors.WAITED)
        elif self.connect_tries < self.runtime.bounds.connect_tries and not self.cluster.original:
            self.again(elsewhere=True)
        else:
            self.refuse(errors.CONNECT_FAILED)

    # --- sending ------------------------------------------------------------------------------------------------------

    def connected(self, up: Receiver) -> None:
        """Send what is there of the request."""
        conn: HttpUpstream = up  # type: ignore[assignment]
        self.waiting = False
        self.up = conn
        self.tries += 1
        head = self.head if not self.head.protocol else tunnel.translate(self.head, http2=conn.h2 is not None)
        headers = head.headers
        added = 0
        if self.slot is not None and self.slot.mesh:
            if self.http1_origin:
                was = _WAS_HTTP10 if head.version == 10 else _WAS_HTTP11
                headers.append(_WAS_ABSOLUTE if head.absolute else was)
                added = 1
            if not conn.introduced and self.runtime.introduction:
                headers.append((PEER, self.runtime.introduction, PEER))
                added += 1
            conn.introduced = True
        # A request for a tunnel never ends with its head: HTTP/2 has no other way to say that more is to come.
        kept = self.kept
        ended = (self.asking & _ENDED) != 0 and kept is None and not self.head.protocol
        self.up_stream = conn.start(self, head, ended)
        if added:
            del headers[len(headers) - added :]
        if self.head.protocol and conn.h2 is None:
            if self.down is not None:
                self.down.read_on()
        elif not ended:
            if kept is not None:
                kept.send(conn, self.up_stream, (self.asking & _ENDED) != 0)
            self._hand_back()
        self._begin_try()

    def _begin_try(self) -> None:
        """A hook: a server has the request head now."""

    def _hand_back(self) -> None:
        """Let the client send on, unless the server is still behind."""
        down = self.down
        if down is None or self.up is None or self.up.congested(self.up_stream, self):
            return
        if self.owed:
            down.consumed(self.down_stream, self.owed)
            self.owed = 0
        down.read_on()

    def request_data(self, data: bytes, end: bool) -> None:
        """Pass a piece of the client's body on."""
        n = len(data)
        self.request_bytes += n
        self.touched = self.runtime.poller.now
        if end and not self.asked(_END):
            return
        if self.whole and n:
            if self.kept is None:
                self.kept = Replay()
            self.kept.keep(data)
        if self.mirrors is not None:
            self._feed(data, end)
        up = self.up
        if up is None or (self.head.protocol and self.asking < _RAW and up.h2 is None):
            self.owed += n  # an HTTP/1 server takes nothing before it has agreed to an upgrade
            return
        if self.whole and self.kept is not None and self.kept.size > self.runtime.replay_bytes:
            self.drop()
        up.send_data(self.up_stream, data, end)
        if n and self.down is not None:
            self.owed += n
            if up.congested(self.up_stream, self):
                self.down.stop_reading()
            else:
                self.down.consumed(self.down_stream, self.owed)
                self.owed = 0
        if end:
            self._request_done()

    def drop(self) -> None:
        """Keep nothing any more: the request cannot be sent again."""
        self.whole = False
        self.kept = None

    def _feed(self, data: bytes, end: bool) -> None:
        for mirror in self.mirrors or ():
            mirror.request_data(data, end)

    def _request_whole(self) -> None:
        """A hook: all of the request is here."""

    def _request_done(self) -> None:
        """A hook: all of the request was passed on."""

    def request_trailers(self, headers: Headers) -> None:
        """Pass the end of the request on."""
        if not self.asked(_END):
            return
        strip_own(headers)
        if self.whole:
            if self.kept is None:
                self.kept = Replay()
            self.kept.trailers = headers
        for mirror in self.mirrors or ():
            mirror.request_trailers(headers)
        if self.up is not None:
            self.up.send_trailers(self.up_stream, headers)
            self._request_done()

    def upstream_ready(self) -> None:
        """The server takes more."""
        self._hand_back()

    def cancel(self) -> None:
        """Take the request back from the server."""
        up = self.up
        if up is not None:
            self.up = None
            up.reset(self.up_stream, codes.CANCEL)
            up.finished(self)
