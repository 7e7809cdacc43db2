"""One request from its head to the last byte of its response.

In: what both ends hear once the request was routed (`routing`) and sent (`sending`). Out: commands to both ends, one
record in the series, one line in the access log, each exactly once, however the call ends: answered, refused, reset by
the server, given up by the client, or out of time.
"""

from __future__ import annotations

import math

from dataplane.config import RetryPolicy
from dataplane.protocol import codes
from dataplane.protocol.events import Headers, RequestHead, ResponseHead
from dataplane.proxy.client.terms import Terms
from dataplane.proxy.request import deadlines, errors, life, mirror, retry, tunnel
from dataplane.proxy.request.notes import strip_own
from dataplane.proxy.request.routing import Routed
from dataplane.proxy.server.upstream import HttpUpstream
from dataplane.proxy.worker.runtime import Runtime
from dataplane.telemetry import flags, labels

# Plain C integers when compiled.
_BODY = deadlines.BODY
_ROUTE = deadlines.ROUTE
_TRY = deadlines.TRY
_PAUSE = deadlines.PAUSE
_NONE = life.NONE
_DONE = life.DONE
_RAW = life.RAW
_ENDED = life.ENDED
_HEAD = life.HEAD
_SWITCH = life.SWITCH
_END = life.END


class Exchange(Routed):
    """A call with a client that waits for its answer."""

    __slots__ = ("_interim", "_try_ends", "retries")

    def prepare(self, runtime: Runtime, client: Terms, head: RequestHead) -> None:
        """Begin with what the client sent."""
        Routed.prepare(self, runtime, client, head)
        self.retries = 0
        self._try_ends = 0.0
        self._interim = 0
        """Informational responses passed on."""

    # --- the response -------------------------------------------------------------------------------------------------

    def response_head(self, head: ResponseHead) -> None:
        """Pass the response head on."""
        status = head.status
        if self.over:
            return
        self.touched = self.runtime.poller.now
        if status < 200:
            self._informational(head)
            return
        row = self.row
        # What may be retried at all is known by the status, but for gRPC, whose failures are all 200.
        failed = row is not None and (status >= row.retry_from or (self.grpc and head.end))
        if failed and self._retry_answer(head):
            return
        if self.retrying:
            self.release_retry()
        if status < 300 and self.head.protocol and self.head.version >= 20 and self.up.h2 is None:  # type: ignore[union-attr]
            self.refuse(errors.BAD_UPSTREAM)  # it ignored the upgrade; to an HTTP/2 client any 2xx would mean a tunnel
            return
        if not self.answered(_HEAD):
            return
        self.status = status
        self.drop()
        if (status >= 400 or self.grpc) and not self.last_slot.mesh:  # type: ignore[union-attr]
            # Only a sidecar may say why it refused; at the client it is told from what the app says.
            strip_own(head.headers)
        if row is not None and row.answering:
            self.edit_response(head.headers)
        if self.grpc and head.end:
            self._read_grpc_status(head.headers)
        if self.head.protocol and self._consented(head):
            return
        self.client.send_response(self.down_stream, status, head.reason, head.headers, head.end)
        if head.end:
            self._response_done()

    def _informational(self, head: ResponseHead) -> None:
        self._interim += 1
        if self._interim > self.runtime.bounds.interim_responses:
            # Nothing holds their server back: without a bound they would pile up before a client that does not read.
            self.runtime.metrics.events.of("interim_overflow").value += 1
            self.refuse(errors.BAD_UPSTREAM)
        elif head.status != 101:
            self.client.send_response(self.down_stream, head.status, head.reason, head.headers, False)
        else:
            self._switched(head)

    def _switched(self, head: ResponseHead) -> None:
        """An HTTP/1 server agreed to an upgrade."""
        if not self._open_tunnel():
            return
        if self.client.h2 is None:
            self.client.send_response(self.down_stream, 101, head.reason, head.headers, False)
            self.client.tunnel_opened()
        else:
            self.client.send_response(self.down_stream, 200, b"", tunnel.established(head.headers), False)

    def _consented(self, head: ResponseHead) -> bool:
        """An HTTP/2 server agreed to an extended CONNECT: open the tunnel in the client's version."""
        if self.up is None or self.up.h2 is None or not 200 <= head.status < 300 or head.end:
            return False
        if not self._open_tunnel():
            return True
        if self.client.h2 is None:
            self.client.send_response(self.down_stream, 101, b"", tunnel.switched(self.head, head.headers), False)
            self.client.tunnel_opened()
        else:
            self.client.send_response(self.down_stream, head.status, b"", head.headers, False)
        return True

    def _open_tunnel(self) -> bool:
        early, ended = self.kept, (self.asking & _ENDED) != 0 and self.head.version >= 20
        if not self.asked(_SWITCH) or not self.answered(_SWITCH):
            return False
        self.status = 101
        self.drop()
        if self.deadlines is not None:
            for kind in (_BODY, _ROUTE, _TRY, _PAUSE):
                self.deadlines.stop(kind)
        if ended:
            self.asked(_END)  # before it was known that there is a tunnel
        up = self.up
        if up is not None and up.h2 is None and self.head.version >= 20:
            if early is not None:
                early.send(up, self.up_stream, False)
            if ended:
                up.send_data(self.up_stream, b"", True)
            self._hand_back()
        return True

    def response_data(self, data: bytes, end: bool) -> None:
        """Pass a piece of the server's body on."""
        if self.over:
            return
        n = len(data)
        self.response_bytes += n
        self.touched = self.runtime.poller.now
        client = self.client
        client.send_data(self.down_stream, data, end)
        if end:
            self._response_done()
        elif n:
            self.response_owed += n
            if client.congested(self.down_stream, self):
                self.up.stop_reading()  # type: ignore[union-attr]
            else:
                self.up.consumed(self.up_stream, self.response_owed)  # type: ignore[union-attr]
                self.response_owed = 0

    def downstream_ready(self) -> None:
        """The client takes more."""
        up = self.up
        if up is not None and not self.client.congested(self.down_stream, self):
            if self.response_owed:
                up.consumed(self.up_stream, self.response_owed)
                self.response_owed = 0
            up.read_on()

    def response_trailers(self, headers: Headers) -> None:
        """Pass the end of the response on."""
        if self.over:
            return
        if self.grpc:
            self._read_grpc_status(headers)
        strip_own(headers)
        self.client.send_trailers(self.down_stream, headers)
        self._response_done()

    def _request_done(self) -> None:
        if self.answering == _DONE:
            self._finish()

    def _response_done(self) -> None:
        if self.answered(_END) and self.asking != _RAW:
            self._finish()

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def response_reset(self, code: int, reason: str) -> None:
        """The server broke off: once more where that is safe, else the client learns of it."""
        up: HttpUpstream = self.up  # type: ignore[assignment]
        if self.over or up is None:
            return
        reused = up.uses > 1 and up.h2 is None
        answered = up.answered
        unseen = self.answering == _NONE and up.unanswered(code)
        self._let_go()
        self.detail = reason
        if self.answering != _NONE:
            self.flag = flags.CONNECTION_ENDED if code == codes.CONNECT_ERROR else flags.RESET
            passed = codes.INTERNAL_ERROR if code in {codes.CONNECT_ERROR, codes.REFUSED_STREAM} else code
            self.client.reset(self.down_stream, passed)
            self._finish()
            return
        if unseen:
            self._unseen(code)
        elif self.whole and retry.unasked(code, self.head.method, reused=reused, answered=answered, tries=self.tries):
            self.runtime.metrics.events.of("safe_retries").value += 1
            self.again(elsewhere=False)
        elif not self._retry_reset(code):
            refused = errors.BAD_UPSTREAM.because(reason) if code == codes.PROTOCOL_ERROR else errors.UPSTREAM_RESET
            self.refuse(errors.UPSTREAM_ENDED if code == codes.CONNECT_ERROR else refused)

    def _unseen(self, code: int) -> None:
        """The endpoint's sidecar could not hand the request on: another one, for nobody has seen it."""
        others = self.whole and retry.elsewhere(self.tries, len(self.cluster.slots))
        if others and self.hold_retry():
            self.runtime.metrics.events.of("unseen_retries").value += 1
            self.again(elsewhere=True)
        elif not self._retry_reset(code):
            self.refuse(errors.CONNECT_FAILED)

    def _let_go(self) -> None:
        """Part from the server's connection, without a word to it."""
        up = self.up
        if up is not None:
            self.up = None
            up.finished(self)
        if self.deadlines is not None:
            self.deadlines.stop(_TRY)
        self.response_owed = 0

    def request_reset(self, reason: str) -> None:
        """The client is gone: the server need not go on."""
        if self.over:
            return
        self.detail = reason
        self.flag = flags.CLIENT_GONE
        self.cancel()
        self._finish()

    def refuse(self, refusal: errors.Refusal) -> None:
        """Answer in the server's place; after the response began, breaking it off is all that is left."""
        if self.over:
            return
        self.cancel()
        self.flag = refusal.flag
        self.runtime.metrics.errors.of(refusal.word).value += 1
        client = self.client
        if self.answering != _NONE:
            client.reset(self.down_stream, codes.INTERNAL_ERROR)
            self._finish()
            return
        self.answered(_HEAD)
        if refusal is errors.CONNECT_FAILED and not self.tries and client.takes_refusals:
            # Nothing of it reached the app; the caller's sidecar asks another endpoint (decision 0013).
            self.status = refusal.status
            client.reset(self.down_stream, codes.REFUSED_STREAM)
            self._finish()
            return
        if self.grpc:
            self.status, self.grpc_status = 200, refusal.grpc_status
            client.send_response(self.down_stream, 200, b"", refusal.grpc_headers, True)
        else:
            self.status = refusal.status
            bare = self.head.method == b"HEAD"
            client.send_response(self.down_stream, refusal.status, b"", refusal.headers, bare)
            if not bare:
                client.send_data(self.down_stream, refusal.body, True)
        self.answered(_END)
        self._finish()

    # --- retries by policy --------------------------------------------------------------------------------------------

    def _begin_try(self) -> None:
        row = self.row
        if row is not None and (row.try_timeout > 0 or row.try_idle > 0):
            self.touched = self.runtime.poller.kernel.now()
            self._try_ends = self.touched + row.try_timeout if row.try_timeout > 0 else math.inf
            self._watch_try()

    def _watch_try(self) -> None:
        """Give a try up that takes too long, or in which nothing moves; else look again when that may be."""
        idle: float = self.row.try_idle  # type: ignore[union-attr]
        now = self.runtime.poller.kernel.now()
        due = math.inf if self.answering != _NONE else self._try_ends
        if idle > 0:
            due = min(due, self.touched + idle)
        if self.over or due == math.inf:
            return
        if now < due:
            self.deadline(_TRY, due - now, self._watch_try)
        elif self.answering != _NONE:
            self.refuse(errors.TOO_IDLE)
        else:
            self.cancel()
            if not self._retry_reset(codes.CANCEL):
                self.refuse(errors.TIMED_OUT)

    def _retry_answer(self, head: ResponseHead) -> bool:
        policy = self._retry_policy()
        if policy is None:
            return False
        if self.grpc and head.end:
            self._read_grpc_status(head.headers)
            wanted = retry.on_grpc(policy, self.grpc_status)
        else:
            wanted = retry.on_status(policy, head.status)
        if not wanted or not self._hold_retry(policy):
            return False
        if head.end and self.asking & _ENDED:
            self._let_go()
        else:
            self.cancel()
        self._retry_later()
        return True

    def _retry_reset(self, code: int) -> bool:
        policy = self._retry_policy()
        if policy is None or not retry.on_reset(policy, code) or not self._hold_retry(policy):
            return False
        self._retry_later()
        return True

    def _retry_policy(self) -> RetryPolicy | None:
        """Return the policy of the route while the request can be sent again."""
        policy = self.row.retry if self.row is not None else None
        return policy if self.whole else None

    def _hold_retry(self, policy: RetryPolicy) -> bool:
        """Be one of the cluster's retries, if the policy leaves the request a try."""
        if self.retries >= policy.attempts:
            self.flag = flags.RETRIES_EXCEEDED
            return False
        if self.hold_retry():
            return True
        self.flag = flags.OVERFLOW
        return False

    def _retry_later(self) -> None:
        self.retries += 1
        self.grpc_status = -1
        if self.deadlines is not None:
            self.deadlines.stop(_TRY)
        policy = self.row.retry  # type: ignore[union-attr]
        pause = retry.backoff(policy, self.retries, self.runtime.dice())  # type: ignore[arg-type]
        self.runtime.metrics.events.of("policy_retries").value += 1
        self.deadline(_PAUSE, pause, self._retry_now)
        if not (self.asking & _ENDED):
            self.client.stop_reading()  # all of the body is kept until a server has it

    def _retry_now(self) -> None:
        if not self.over:
            self.again(elsewhere=True)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Part from both ends and record; nothing happens after this."""
        if self.over:
            return
        self.over = True
        up = self.up
        if up is not None:
            self.up = None
            if not (self.asking & _ENDED):
                up.reset(self.up_stream, codes.CANCEL)
            up.finished(self)
        self.abandon_try()
        if self.deadlines is not None:
            self.deadlines.end()
        if self._waits_for is not None:
            self._waits_for.cancelled(self)
        if self.retrying:
            self.release_retry()
        if self.mirrors is not None and not (self.asking & _ENDED):
            mirror.give_up(self.mirrors)
        self.runtime.active -= 1
        self._record()
        self.client.finished(self)

    def _record(self) -> None:
        runtime = self.runtime
        slot = self.last_slot
        if self.client.inbound or slot is None:
            group = self.client.group()
        else:
            group = slot.group
            if group is None:
                peers = labels.outbound(runtime.own, self.cluster.labels, slot.labels, slot.identity, mesh=slot.mesh)
                group = slot.group = runtime.metrics.requests(peers)
        took = runtime.poller.kernel.now() - self.started
        series = group.of(self.status, self.grpc_status, self.grpc, self.flag)
        series.note(took * 1000.0, self.request_bytes, self.response_bytes)
        if runtime.access_log is not None:
            runtime.access_log.note(self, took)
