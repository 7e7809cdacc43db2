"""One request with its answer, from head to end: its parts put together, and the way of its head through stages and routes.

In: a request head on a client's connection, and what that connection hears. Out: a started attempt or an answer of our own; one
record in the series and one line in the access log, each exactly once, however it ends. The parts are `Asking` (the request's
side), `Answering` (the answer's), `Attempt` (the server's), `Deadlines`, and mirrors, which are requests of their own.
"""

from __future__ import annotations

from dataplane.protocol.events import Headers, RequestHead
from dataplane.proxy.arrive.standing import FOLLOWS
from dataplane.proxy.client.terms import Terms
from dataplane.proxy.request import deadlines, errors, grpc_timeout, life, mirror
from dataplane.proxy.request.answering import Answering
from dataplane.proxy.request.asking import Asking
from dataplane.proxy.request.attempt import Attempt
from dataplane.proxy.request.call import Asked
from dataplane.proxy.request.deadlines import Deadlines
from dataplane.proxy.request.gathering import Gathering
from dataplane.proxy.request.mirror import Mirror
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, WAIT, Stage
from dataplane.proxy.stages.order import of_upgrades, stages_of
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.routes import RouteIndex, RouteRow, TargetRow
from dataplane.telemetry import flags, labels
from meshapi.xds import INVALID

# Plain C integers when compiled.
_DURATION = deadlines.DURATION
_BODY = deadlines.BODY
_ROUTE = deadlines.ROUTE
_ANSWERED = ANSWERED
_WAIT = WAIT
_WHOLE = life.WHOLE
_RAW = life.RAW
_ENDED = life.ENDED


class Exchange(Asked):
    """A request of a client that waits for its answer."""

    __slots__ = (
        "_deadlines",
        "_gathered",
        "_gathering",
        "_stage",
        "_stages",
        "_started",
        "_timed",
        "_waits_for",
        "answering",
        "asking",
        "attempt",
        "client",
        "head",
        "mirrors",
        "request_id",
        "row",
        "runtime",
        "target",
    )

    def begin(self, runtime: Runtime, client: Terms, head: RequestHead) -> None:
        """Take a request's head: read it, route it, send it on."""
        self._prepare(runtime, client, head)
        asking = self.asking
        notes = runtime.notes
        runtime.active += 1
        notes.request(head.headers, client.forwarded, client.proto, client.edge)
        asking.grpc = notes.grpc
        self.request_id = notes.request_id
        if client.mesh:
            if notes.peer:
                client.learn(notes.peer)
            if notes.original and head.version >= 20:
                asking.http1_origin = notes.original.startswith(b"HTTP/1")
                head.absolute = notes.original.endswith(b" absolute")
        if head.protocol and head.version < 20:
            asking.state = _WHOLE
        if runtime.active > runtime.most_active or runtime.shedding:
            self.refuse(errors.OVERLOADED)
        elif not head.protocol and head.method == b"CONNECT":
            self.refuse(errors.CONNECT_REFUSED)
        else:
            routes = client.routes()  # brings what is in force: the stages, too
            if client.before:
                self._pass(client.before)
            else:
                self._match(routes)

    def _prepare(self, runtime: Runtime, client: Terms, head: RequestHead) -> None:
        asking = Asking.__new__(Asking)
        answering = Answering.__new__(Answering)
        attempt = Attempt.__new__(Attempt)
        asking.prepare(runtime, client, head, answering)
        answering.prepare(self, client, asking, attempt)
        attempt.prepare(runtime, asking, answering)
        self.runtime = runtime
        self.client = client
        self.head = head
        self.asking = asking
        self.answering = answering
        self.attempt = attempt
        self.over = False
        self.stream = head.stream
        self.idle = client.chain.stream_idle
        self.row: RouteRow | None = None
        self.target: TargetRow | None = None
        self.mirrors: list[Mirror] | None = None
        self._deadlines: Deadlines | None = None
        self._stages: tuple[Stage, ...] = ()
        self._stage = 0
        """The one of `_stages` whose turn is next."""
        self._waits_for: Stage | None = None
        self._gathering: Gathering | None = None
        self._gathered = False
        self._timed = False
        self._started = asking.touched

    # --- stages -------------------------------------------------------------------------------------------------------

    def _pass(self, stages: tuple[Stage, ...]) -> None:
        """Go through a list of stages, and on to what follows it."""
        self._stages = stages
        self._stage = 0
        self.resume()

    def resume(self) -> None:
        """Go on behind the stage that had the request wait."""
        self._waits_for = None
        stages = self._stages
        while self._stage < len(stages) and not self.over:
            stage = stages[self._stage]
            self._stage += 1
            answer = stage.on_request(self)
            if answer == _ANSWERED:
                return
            if answer == _WAIT:
                self._waits_for = stage
                self._set_timers()
                return
        if self.over:
            return
        if self.row is None:
            self._match(self.client.routes())
        elif self._gathered or self.head.protocol or not self._gather():
            self._forward()

    def _gather(self) -> bool:
        """Have stages see the body that want to; True while that holds the request back."""
        gathering = self._gathering
        if gathering is None:
            those = self.row.gathering  # type: ignore[union-attr]
            if not those:
                return False
            gathering = self._gathering = Gathering(self.asking, those)
            if not gathering.enough():
                self._set_timers()
                return True
        answer, self._waits_for = gathering.ask(self)
        self._gathered = answer == CONTINUE
        if answer == WAIT:
            self._set_timers()
        return answer != CONTINUE

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer in the server's place, and be done (for stages)."""
        self.answering.give(status, headers, body)

    def refuse(self, refusal: errors.Refusal) -> None:
        """The same in one of our own sentences; where an answer began it breaks off."""
        self.answering.refuse(refusal)

    def edit_response(self, headers: Headers) -> None:
        """Let the route's stages see the answer."""
        if self.row is not None and self.row.answering:
            for stage in self.row.answering:
                stage.on_response(self, headers)

    # --- where to -----------------------------------------------------------------------------------------------------

    def _match(self, routes: RouteIndex | None) -> None:
        """Find the route, and go through what it has done to requests."""
        if routes is None:
            self.client.come_anew()
            why = self.runtime.tables.config.refused_routes.get(self.client.chain.route_name)
            self.refuse(errors.lacking(errors.NO_ROUTE_TABLE, why))
            return
        row = routes.match(self.head)
        if row is None:
            self.refuse(errors.NO_ROUTE)
            return
        self.row = row
        if row.redirect is None and row.direct is None:
            self.target = row.only if row.only is not None else row.choose(self.runtime.dice())
        stages = row.stages if row.stages is not None else stages_of(row)
        if self.head.protocol:
            stages = of_upgrades(row)
        if stages:
            self._pass(stages)
        else:
            self._forward()

    def _forward(self) -> None:
        """Send it to the target's cluster."""
        row: RouteRow = self.row  # type: ignore[assignment]
        target = self.target
        if target is None:
            self.refuse(errors.INVALID_BACKEND)
            return
        cluster = target.found
        if target.found_in is not self.runtime.tables:
            cluster = self.runtime.tables.clusters.get(target.cluster)
            if cluster is None and self.client.standing != FOLLOWS:
                cluster = target.found  # it went with the destination; this connection has both until its turn to end
            target.found = cluster
            target.found_in = self.runtime.tables
        if cluster is None:
            if target.cluster == INVALID:
                self.refuse(errors.INVALID_BACKEND)
            else:
                self.client.come_anew()
                why = self.runtime.tables.config.refused_clusters.get(target.cluster)
                self.refuse(errors.lacking(errors.NO_CLUSTER, why).at(row.not_found_status))
            return
        attempt, asking = self.attempt, self.asking
        attempt.cluster = cluster
        attempt.row = row
        if row.mirrors:
            self.mirrors = mirror.copies(row, asking)
        self._set_timers()
        attempt.start()

    # --- time ---------------------------------------------------------------------------------------------------------

    def _set_timers(self) -> None:
        """Have the route's time-outs count, once, from when it is sent on or first held back."""
        row = self.row
        if self._timed or row is None:
            return
        self._timed = True
        chain, asking = self.client.chain, self.asking
        if row.idle >= 0:
            self.idle = row.idle
        seconds = row.duration if row.duration >= 0 else chain.duration
        if row.grpc_duration and asking.grpc:
            asked = grpc_timeout.allowed(self.head.headers, *row.grpc_duration)
            seconds = asked if asked >= 0 else seconds
            if asked == 0:
                self._limit(_DURATION, 0.0)
        if seconds > 0:
            self._limit(_DURATION, seconds)
        if asking.state & _ENDED or self.head.protocol:
            self.request_whole()
        elif chain.request_timeout > 0:
            self._limit(_BODY, chain.request_timeout)

    def _limit(self, kind: int, seconds: float) -> None:
        if self._deadlines is None:
            self._deadlines = Deadlines(self.runtime.timers)
        late = self._too_long if kind == _DURATION else self._body_late if kind == _BODY else self._timed_out
        self._deadlines.set(kind, seconds, late)

    def request_whole(self) -> None:
        """All of the request is here: from now on the route's time counts (as in Envoy)."""
        if self._deadlines is not None:
            self._deadlines.stop(_BODY)
        row = self.row
        told = self._deadlines is not None and self._deadlines.runs(_ROUTE)
        if row is not None and row.timeout > 0 and not told and self.asking.state < _RAW:
            self._limit(_ROUTE, row.timeout)

    def switched(self) -> None:
        """It has become a tunnel: only its whole duration is bounded any more."""
        if self._deadlines is not None:
            self._deadlines.stop(_BODY)
            self._deadlines.stop(_ROUTE)

    def look_idle(self, now: float) -> None:
        """Give up where nothing moved for longer than allowed; whose turn it was decides who is told to be late."""
        if 0 < self.idle < now - self.asking.touched:
            self.refuse(self._whose(errors.TOO_IDLE))

    def _whose(self, late: errors.Refusal) -> errors.Refusal:
        return late if self.asking.state & _ENDED or self.head.protocol else errors.BODY_LATE

    def _too_long(self) -> None:
        self.refuse(self._whose(errors.TOO_LONG))

    def _timed_out(self) -> None:
        self.refuse(errors.TIMED_OUT)

    def _body_late(self) -> None:
        if not (self.asking.state & _ENDED) and self.asking.state < _RAW:
            self.refuse(errors.BODY_LATE)

    # --- what the client's connection tells ---------------------------------------------------------------------------

    def request_data(self, data: bytes, end: bool) -> None:
        """A piece of the body: to the server and to copies."""
        if self.mirrors is not None:
            for copy in self.mirrors:
                copy.request_data(data, end)
        self.asking.data(data, end)
        self._look_gathered()

    def request_trailers(self, headers: Headers) -> None:
        """The request ended with fields."""
        if self.mirrors is not None:
            for copy in self.mirrors:
                copy.request_trailers(list(headers))
        self.asking.trailers(headers)
        self._look_gathered()

    def _look_gathered(self) -> None:
        """Go on where that was the last a stage wants to see."""
        if self._gathering is not None and not self._gathered and not self.over and self._gathering.enough():
            self.resume()

    def request_reset(self, reason: str) -> None:
        """The client is gone: the server need not go on."""
        if self.over:
            return
        self.answering.detail = reason
        self.answering.flag = flags.CLIENT_GONE
        self.attempt.cancel()
        self.finish()

    def ready(self) -> None:
        """The client takes more."""
        self.answering.hand_back()

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Part from both ends and record; nothing happens after this."""
        if self.over:
            return
        self.over = True
        self.attempt.leave()
        self.answering.exchange = None
        if self._deadlines is not None:
            self._deadlines.end()
        if self._waits_for is not None:
            self._waits_for.cancelled(self)
        if self.mirrors is not None and not (self.asking.state & _ENDED):
            mirror.give_up(self.mirrors)
        self.runtime.active -= 1
        self._record()
        self.client.finished(self)

    def _record(self) -> None:
        runtime = self.runtime
        answering = self.answering
        slot = self.attempt.last_slot
        if self.client.inbound or slot is None:
            group = self.client.group()
        else:
            group = slot.group
            if group is None:
                facts = self.attempt.cluster.labels
                peers = labels.outbound(runtime.own, facts, slot.labels, slot.identity, mesh=slot.mesh)
                group = slot.group = runtime.metrics.requests(peers)
        took = runtime.poller.kernel.now() - self._started
        series = group.of(answering.status, answering.grpc_status, self.asking.grpc, answering.flag)
        series.note(took * 1000.0, self.asking.size, answering.size)
        if series.timing.wanted:
            series.timing.exemplify(self.head.headers, took * 1000.0)
        if runtime.access_log is not None:
            runtime.access_log.note(self, took)
