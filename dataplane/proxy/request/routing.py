"""From a request's head to an endpoint: what the head says, which row it takes, what stages do with it on the way.

In: a request head on a client's connection. Out: a dispatched call, or an answer of our own. Refuses what no route,
cluster or endpoint takes, in a sentence (`errors`). The response half and the end are `exchange`.
"""

from __future__ import annotations

from dataplane.protocol.events import Headers, RequestHead
from dataplane.protocol.fields import get
from dataplane.proxy.arrive.standing import FOLLOWS
from dataplane.proxy.client.terms import Terms
from dataplane.proxy.request import deadlines, errors, grpc_timeout, life, mirror
from dataplane.proxy.request.life import after
from dataplane.proxy.request.sending import Sending
from dataplane.proxy.stages.face import ANSWERED, WAIT, Stage
from dataplane.proxy.stages.order import stages_of
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.routes import RouteRow, TargetRow
from dataplane.telemetry import flags
from meshapi.xds import INVALID

# Plain C integers when compiled.
_DURATION = deadlines.DURATION
_BODY = deadlines.BODY
_ROUTE = deadlines.ROUTE
_ANSWERED = ANSWERED
_WAIT = WAIT
_ANSWER = life.ANSWER
_NONE = life.NONE
_WHOLE = life.WHOLE
_RAW = life.RAW
_ENDED = life.ENDED
_HEAD = life.HEAD
_END = life.END
_NEVER = life.NEVER


class Routed(Sending):
    """A call with a client, as far as routing goes."""

    __slots__ = (
        "_stage",
        "_stages",
        "_waits_for",
        "answering",
        "client",
        "flag",
        "grpc",
        "grpc_status",
        "request_id",
        "response_bytes",
        "response_owed",
        "started",
        "status",
        "target",
    )

    def prepare(self, runtime: Runtime, client: Terms, head: RequestHead) -> None:
        """Begin with what the client sent."""
        Sending.prepare_sending(self, runtime, client, head)
        self.client = client
        self.target: TargetRow | None = None
        self._stages: tuple[Stage, ...] = ()
        self._stage = 0
        """The one of `_stages` whose turn is next."""
        self._waits_for: Stage | None = None
        self.grpc = False
        self.answering = _NONE
        """Where the answer's side is (`life.ANSWER`)."""
        self.status = 0
        self.grpc_status = -1
        self.flag = flags.NONE
        self.response_bytes = 0
        self.response_owed = 0
        self.request_id = b""
        self.idle = client.chain.stream_idle
        self.started = runtime.poller.kernel.now()
        self.touched = self.started

    def begin(self) -> None:
        """Read the head, route it, send it on."""
        runtime = self.runtime
        client = self.client
        head = self.head
        headers = head.headers
        notes = runtime.notes
        runtime.active += 1
        notes.request(headers, client.forwarded, client.proto, client.edge)
        self.grpc = notes.grpc
        request_id = notes.request_id
        if not request_id:
            request_id = runtime.make_id()
            headers.append((b"x-request-id", request_id, b"x-request-id"))
        self.request_id = request_id
        if client.mesh:
            if notes.peer:
                client.learn(notes.peer)
            if notes.original and head.version >= 20:
                self.http1_origin = notes.original.startswith(b"HTTP/1")
                head.absolute = notes.original.endswith(b" absolute")
        if head.protocol and head.version < 20:
            self.asking = _WHOLE
        if runtime.active > runtime.most_active or runtime.shedding:
            self.refuse(errors.OVERLOADED)
        elif not head.protocol and head.method == b"CONNECT":
            self.refuse(errors.CONNECT_REFUSED)
        else:
            client.routes()  # brings what is in force: the stages, too
            if client.before:
                self._pass(client.before)
            else:
                self._match()

    def answered(self, event: int) -> bool:
        """Take the answer's side on by an event; False when that ended the exchange."""
        state = after(_ANSWER, self.answering, event)
        if state == _NEVER:
            return self.astray(f"answer {self.answering}: {event}")
        self.answering = state
        return True

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
                if not (self.asking & _ENDED):
                    self.client.stop_reading()
                return
        if not self.over:
            if self.row is None:
                self._match()
            else:
                self._forward()

    # --- where to -----------------------------------------------------------------------------------------------------

    def _may_upgrade(self, row: RouteRow) -> bool:
        """Whether the route, or else the connection manager, lets the request leave HTTP."""
        protocol = self.head.protocol.lower()
        allowed = row.upgrades.get(protocol)
        if allowed is None:
            allowed = self.client.chain.upgrades.get(protocol, True)
        return bool(allowed)

    def _match(self) -> None:
        """Find the route, and go through what it has done to requests."""
        routes = self.client.routes()
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
        forwards = row.redirect is None and row.direct is None
        if forwards and self.head.protocol and not self._may_upgrade(row):
            self.refuse(errors.UPGRADE_REFUSED)
            return
        if forwards:
            self.target = row.only if row.only is not None else row.choose(self.runtime.dice())
        stages = row.stages if row.stages is not None else stages_of(row)
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
                cluster = (
                    target.found
                )  # it went with the destination; until its turn to end comes this connection has both
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
        self.cluster = cluster
        if row.mirrors:
            self.mirrors = mirror.copies(self.runtime, row, self.head)
        self._set_timers(row)
        self.dispatch()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer in the server's place, and be done (for stages)."""
        if not self.answered(_HEAD):
            return
        self.status = status
        self.edit_response(headers)
        alone = not body or self.head.method == b"HEAD"
        self.client.send_response(self.down_stream, status, b"", headers, alone)
        if not alone:
            self.client.send_data(self.down_stream, body, True)
            self.response_bytes = len(body)
        self.answered(_END)
        self._finish()

    def _set_timers(self, row: RouteRow) -> None:
        chain = self.client.chain
        if row.idle >= 0:
            self.idle = row.idle
        seconds = row.duration if row.duration >= 0 else chain.duration
        asked = grpc_timeout.allowed(self.head.headers, *row.grpc_duration) if row.grpc_duration and self.grpc else -1.0
        if asked >= 0:
            self.deadline(_DURATION, asked, self._too_long)
        elif seconds > 0:
            self.deadline(_DURATION, seconds, self._too_long)
        if self.asking & _ENDED or self.head.protocol:
            self._request_whole()
        elif chain.request_timeout > 0:
            self.deadline(_BODY, chain.request_timeout, self._body_late)

    def _request_whole(self) -> None:
        """All of the request is here: from now on the route's time counts (as in Envoy)."""
        if self.deadlines is not None:
            self.deadlines.stop(_BODY)
        row = self.row
        told = self.deadlines is not None and self.deadlines.runs(_ROUTE)
        if row is not None and row.timeout > 0 and not told and self.asking < _RAW:
            self.deadline(_ROUTE, row.timeout, self._timed_out)

    def too_idle(self) -> None:
        """Nothing moved for longer than the stream idle time-out; whose turn it was decides who is told to be late."""
        self.refuse(errors.TOO_IDLE if self.asking & _ENDED or self.head.protocol else errors.BODY_LATE)

    def _too_long(self) -> None:
        self.refuse(errors.TOO_LONG if self.asking & _ENDED or self.head.protocol else errors.BODY_LATE)

    def _timed_out(self) -> None:
        self.refuse(errors.TIMED_OUT)

    def _body_late(self) -> None:
        if not (self.asking & _ENDED) and self.asking < _RAW:
            self.refuse(errors.BODY_LATE)

    def _finish(self) -> None:
        """A hook: the answer is complete."""

    def _read_grpc_status(self, headers: Headers) -> None:
        value = get(headers, b"grpc-status")
        if value is not None and value.isdigit() and len(value) < 3:
            self.grpc_status = min(int(value), 30)

    def edit_response(self, headers: Headers) -> None:
        """Let the route's stages see the answer."""
        if self.row is not None:
            for stage in self.row.answering or ():
                stage.on_response(self, headers)
