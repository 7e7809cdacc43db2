"""The attempt to have a request served: an endpoint, a connection, the head on its way; and the next one where that may be.

In: a routed request (`Asking`) and its cluster, what pools and the server's connection tell. Out: the head to a connection, with
`Asking` behind it; an answer that is to be taken, or the refusal, to the `Taker`. What is counted at the endpoint and in the
circuit is so from `PENDING` to the end of a try, and in no other state (`life.ATTEMPT`).
"""

from __future__ import annotations

import math

from dataplane.config import RetryPolicy
from dataplane.net.receiver import Receiver
from dataplane.net.timers import Timer
from dataplane.protocol import codes
from dataplane.protocol.events import Headers, ResponseHead
from dataplane.proxy.request import errors, life, retry, tunnel
from dataplane.proxy.request.asking import Asking
from dataplane.proxy.request.call import Tried
from dataplane.proxy.request.choice import another, choose, look_ahead
from dataplane.proxy.request.notes import grpc_status, introduce, strip_own
from dataplane.proxy.request.retries import Retries
from dataplane.proxy.request.taker import NOBODY, Taker
from dataplane.proxy.server.pool import OVERFLOW, READY, REFUSED, WAITED, Pool
from dataplane.proxy.server.upstream import HttpUpstream
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import ClusterTable, EndpointSlot
from dataplane.tables.routes import RouteRow
from dataplane.telemetry import flags

# Plain C integers when compiled.
_READY = READY
_REFUSED = REFUSED
_TABLE = life.ATTEMPT
_NOWHERE = life.NOWHERE
_PENDING = life.PENDING
_TAKEN = life.TAKEN
_ENDED = life.ENDED
_CHOOSE = life.CHOOSE
_CONNECT = life.CONNECT
_FAIL = life.FAIL
_REST = life.REST
_TAKE = life.TAKE
_LEAVE = life.LEAVE
_NEVER = life.NEVER
_EVENTS = life.EVENTS


class Attempt(Tried):
    """All tries of one request."""

    __slots__ = (
        "_connects",
        "_retries",
        "_timer",
        "_tried",
        "_try_ends",
        "asking",
        "cluster",
        "last_slot",
        "once",
        "pool",
        "row",
        "runtime",
        "slot",
        "state",
        "taker",
        "tries",
        "up",
    )

    cluster: ClusterTable
    pool: Pool

    def prepare(self, runtime: Runtime, asking: Asking, taker: Taker) -> None:
        """Begin; in place of `__init__`, whose arguments would cost a tuple a request."""
        self.runtime = runtime
        self.asking = asking
        self.taker = taker
        self.over, self.stream = False, 0
        self.state = _NOWHERE  # where it is in `life.ATTEMPT`
        self.row: RouteRow | None = None
        """Whose retry policy and time-outs hold; None for none."""
        self.once = False
        """Nothing is tried again, whatever it was."""
        self.slot: EndpointSlot | None = None
        self.last_slot: EndpointSlot | None = None
        """The endpoint tried last."""
        self.up: HttpUpstream | None = None
        self.tries = 0
        """Heads sent."""
        self._tried: list[EndpointSlot] | None = None
        """Endpoints that had their turn."""
        self._connects = 0
        """Endpoints there was no connection to."""
        self._retries: Retries | None = None
        self._timer: Timer | None = None
        """Of this try, or of the pause before the next."""
        self._try_ends = 0.0

    def advance(self, event: int) -> bool:
        """Go on by an event; False when that ended the exchange."""
        p = _TABLE
        state = p[self.state * _EVENTS + event]
        if state == _NEVER:
            return self.taker.astray(f"attempt {self.state}: {event}")
        self.state = state
        return True

    # --- finding a server ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Choose an endpoint, and do what its pool decides."""
        cluster, asking = self.cluster, self.asking
        pool = choose(asking, cluster, self._tried)
        if pool is None:
            self.taker.refuse(errors.NO_HEALTHY)
            return
        circuit = cluster.circuit
        if circuit.requests >= circuit.max_requests:
            self.taker.refuse(errors.REQUESTS_FULL)
            return
        if not self.advance(_CHOOSE):
            return
        self.pool = pool
        slot = self.slot = self.last_slot = pool.slot
        slot.active += 1
        circuit.requests += 1
        verdict = pool.ask(self)
        if verdict == _READY:
            self.connected(pool.ready)  # type: ignore[arg-type]
        elif verdict == _REFUSED:
            self.unconnected(pool.reason, pool.detail)
        if cluster.ahead and not asking.head.protocol:
            look_ahead(asking, cluster)

    def unconnected(self, reason: str, detail: str) -> None:
        """No connection: the next endpoint, as often as allowed."""
        self.taker.detail = detail
        self._connects += 1
        if reason == OVERFLOW:
            self.taker.refuse(errors.PENDING_FULL)
        elif reason == WAITED:
            self.taker.refuse(errors.WAITED)
        elif not self.once and another(self.runtime, self.cluster, self._tried, self.last_slot, self._connects):
            self._again()
        else:
            self.taker.refuse(errors.CONNECT_FAILED)

    # --- sending ------------------------------------------------------------------------------------------------------

    def connected(self, up: Receiver) -> None:
        """Send what is there of the request."""
        if not self.advance(_CONNECT):
            return
        conn: HttpUpstream = up  # type: ignore[assignment]
        asking = self.asking
        self.up = conn
        self.tries += 1
        head = asking.head if not asking.head.protocol else tunnel.translate(asking.head, http2=conn.h2 is not None)
        added = 0
        if self.slot is not None and self.slot.mesh:
            added = introduce(head, asking.http1_origin, b"" if conn.introduced else self.runtime.introduction)
            conn.introduced = True
        # A request for a tunnel never ends with its head: HTTP/2 has no other way to say that more is to come.
        ended = asking.kept is None and not head.protocol and (asking.state & _ENDED) != 0
        self.stream = conn.start(self, head, ended)
        if added:
            del head.headers[len(head.headers) - added :]
        asking.up, asking.call = conn, self
        if not ended:
            asking.begin()
        row = self.row
        if self.once:
            asking.drop()
        elif row is not None and (row.try_timeout > 0 or row.try_idle > 0):
            asking.touched = self.runtime.poller.kernel.now()
            self._try_ends = asking.touched + row.try_timeout if row.try_timeout > 0 else math.inf
            self._watch()

    def ready(self) -> None:
        """The server takes more."""
        self.asking.hand_back()

    def _watch(self) -> None:
        """Give a try up that takes too long, or in which nothing moves; else look again when that may be."""
        self._timer = None
        idle: float = self.row.try_idle  # type: ignore[union-attr]
        now = self.runtime.poller.kernel.now()
        due = math.inf if self.state == _TAKEN else self._try_ends
        if idle > 0:
            due = min(due, self.asking.touched + idle)
        if self.over or due == math.inf:
            return
        if now < due:
            self._timer = self.runtime.timers.after(due - now, self._watch)
        elif self.state == _TAKEN:
            self.taker.refuse(errors.TOO_IDLE)
        else:
            self.cancel()
            if not self._retry_reset(codes.CANCEL):
                self.taker.refuse(errors.TIMED_OUT)

    def failed(self, what: str) -> None:
        """A defect showed at this request, in somebody else's turn."""
        self.taker.astray(what)

    def switch(self) -> bool:
        """Its answer made a tunnel of it."""
        self._stop_timer()
        return self.state == _TAKEN or self.advance(_TAKE)

    # --- what the server says -----------------------------------------------------------------------------------------

    def response_head(self, head: ResponseHead) -> None:
        """Take the answer, or try again where the policy wants that."""
        if self.over:
            return
        asking = self.asking
        asking.touched = self.runtime.poller.now
        status = head.status
        if status < 200:
            self.taker.interim(head)
            return
        row = self.row
        # What may be retried at all is known by the status, but for gRPC, whose failures are all 200.
        failed = row is not None and (status >= row.retry_from or (asking.grpc and head.end))
        if failed and self._retry_answer(head):
            return
        if self._retries is not None:
            self._retries.give_back()
        if status < 300 and asking.head.protocol and asking.head.version >= 20 and self.up.h2 is None:  # type: ignore[union-attr]
            # It ignored the upgrade; to an HTTP/2 client any 2xx would mean a tunnel.
            self.taker.refuse(errors.BAD_UPSTREAM)
            return
        if not self.advance(_TAKE):
            return
        asking.drop()
        if (status >= 400 or asking.grpc) and not self.last_slot.mesh:  # type: ignore[union-attr]
            # Only a sidecar may say why it refused; at the client it is told from what the app says.
            strip_own(head.headers)
        self.taker.answered(head)

    def response_data(self, data: bytes, end: bool) -> None:
        """A piece of it."""
        if not self.over:
            self.asking.touched = self.runtime.poller.now
            self.taker.data(data, end)

    def response_trailers(self, headers: Headers) -> None:
        """Its end."""
        if not self.over:
            self.taker.trailers(headers)

    def response_reset(self, code: int, reason: str) -> None:
        """The server broke off: once more where that is safe, else the client learns of it."""
        up = self.up
        if self.over or up is None:
            return
        raced = up.uses > 1 and up.h2 is None and not up.answered
        tries = self.tries - up.left_out(self.stream)
        begun = self.state == _TAKEN
        unseen = not begun and up.unanswered(code)
        self._part()
        self.taker.detail = reason
        if begun:
            self.taker.broke(code)
        elif unseen:
            self._unseen(code)
        elif self.asking.resendable and retry.unasked(code, self.asking.head.method, raced=raced, tries=tries):
            self.runtime.metrics.events.of("safe_retries").value += 1
            self._again(elsewhere=self.tries > 1)
        elif not self._retry_reset(code):
            refused = errors.BAD_UPSTREAM.because(reason) if code == codes.PROTOCOL_ERROR else errors.UPSTREAM_RESET
            self.taker.refuse(errors.UPSTREAM_ENDED if code == codes.CONNECT_ERROR else refused)

    def _unseen(self, code: int) -> None:
        """The endpoint's sidecar could not hand the request on: another one, for nobody has seen it."""
        refused = 1 + (self._retries.unseen if self._retries is not None else 0)
        if self.asking.resendable and retry.elsewhere(refused, len(self.cluster.slots)) and self._granted(None):
            self.runtime.metrics.events.of("unseen_retries").value += 1
            self._again()
        elif not self._retry_reset(code):
            self.taker.refuse(errors.CONNECT_FAILED)

    # --- another try --------------------------------------------------------------------------------------------------

    def _again(self, *, elsewhere: bool = True) -> None:
        """Send the request once more; `elsewhere` excludes the endpoint just tried."""
        self._timer = None
        if elsewhere and self.last_slot is not None:
            self._tried = [*(self._tried or ()), self.last_slot]
        if self.slot is not None and not self._fail():
            return
        newer = self.runtime.tables.clusters.get(self.cluster.name)
        if newer is not None and newer.circuit is self.cluster.circuit:
            self.cluster = newer  # what a push took away meanwhile is not tried any more
        self.start()

    def _retry_answer(self, head: ResponseHead) -> bool:
        policy = self._policy()
        if policy is None:
            return False
        by_grpc = self.asking.grpc and head.end
        wanted = retry.on_grpc(policy, grpc_status(head.headers)) if by_grpc else retry.on_status(policy, head.status)
        if not wanted or not self._granted(policy):
            return False
        if head.end and self.asking.state & _ENDED:
            self._part()
        else:
            self.cancel()
        self._rest(policy)
        return True

    def _retry_reset(self, code: int) -> bool:
        policy = self._policy()
        if policy is None or not retry.on_reset(policy, code) or not self._granted(policy):
            return False
        self._rest(policy)
        return True

    def _policy(self) -> RetryPolicy | None:
        """Return the policy of the route while the request can be sent again."""
        return self.row.retry if self.row is not None and self.asking.resendable else None

    def _granted(self, policy: RetryPolicy | None) -> bool:
        """Ask for another try, by the policy or (None) because nobody has seen this one."""
        if self._retries is None:
            self._retries = Retries()
        flag = self._retries.ask(policy, self.cluster.circuit)
        if flag == flags.OVERFLOW:
            self.runtime.metrics.events.of("retries_overflow").value += 1
        if flag != flags.NONE and policy is not None:
            self.taker.flag = flag
        return flag == flags.NONE

    def _rest(self, policy: RetryPolicy) -> None:
        """Wait for the turn of the next try."""
        if not self._fail() or not self.advance(_REST):
            return
        self.runtime.metrics.events.of("policy_retries").value += 1
        pause = retry.backoff(policy, self._retries.made, self.runtime.dice())  # type: ignore[union-attr]
        self._timer = self.runtime.timers.after(pause, self._again)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _fail(self) -> bool:
        """Have this try come to nothing."""
        waited = self.state == _PENDING
        if not self.advance(_FAIL):
            return False
        self._leave_slot(waited)
        return True

    def _leave_slot(self, waited: bool) -> None:
        """Count at the endpoint no more, and wait for no connection to it."""
        slot = self.slot
        if slot is not None:
            self.slot = None
            slot.active -= 1
            self.cluster.circuit.requests -= 1
            if waited:
                self.pool.forget(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _part(self) -> None:
        """Part from the server's connection, without a word to it."""
        up = self.up
        if up is not None:
            self.up = self.asking.up = None
            self.asking.call = None  # type: ignore[assignment]
            up.finished(self)
        self._stop_timer()

    def cancel(self) -> None:
        """Take the request back from the server."""
        if self.up is not None:
            self.up.reset(self.stream, codes.CANCEL)
            self._part()

    def leave(self) -> None:
        """Let go of everything: nothing comes any more."""
        if self.over:
            return
        self.over = True
        waited = self.state == _PENDING
        self.advance(_LEAVE)
        if self.up is not None:
            if not (self.asking.state & _ENDED):
                self.up.reset(self.stream, codes.CANCEL)
            self._part()
        self._stop_timer()
        self._leave_slot(waited)
        if self._retries is not None:
            self._retries.give_back()
        self.taker = self.asking.taker = NOBODY
