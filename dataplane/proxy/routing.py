"""From a request's head to an endpoint: what the head says, which row it takes, what the row changes.

In: a request head on a client's connection. Out: a dispatched call, or an answer of our own. Refuses what no route,
cluster or endpoint takes, in a sentence (`errors`). The response half and the end are `exchange`.
"""

from __future__ import annotations

from dataplane.config import PathRule
from dataplane.protocol.events import Headers, RequestHead
from dataplane.protocol.headers import get
from dataplane.proxy import deadlines, errors, grpc_timeout, mirror, redirect, standing
from dataplane.proxy.downside import Downside
from dataplane.proxy.runtime import Runtime
from dataplane.proxy.sending import Sending
from dataplane.tables import forwarded
from dataplane.tables.routes import RouteIndex, RouteRow, TargetRow
from dataplane.telemetry import flags
from meshapi.xds import INVALID

# Plain C integers when compiled.
_DURATION = deadlines.DURATION
_BODY = deadlines.BODY
_ROUTE = deadlines.ROUTE


class Routed(Sending):
    """A call with a client, as far as routing goes."""

    __slots__ = (
        "client",
        "flag",
        "grpc",
        "grpc_status",
        "request_id",
        "responding",
        "response_bytes",
        "response_ended",
        "response_owed",
        "started",
        "status",
        "target",
    )

    def prepare(self, runtime: Runtime, client: Downside, head: RequestHead) -> None:
        """Begin with what the client sent."""
        Sending.prepare_sending(self, runtime, client, head)
        self.client = client
        self.target: TargetRow | None = None
        self.grpc = False
        self.responding = False
        """The final response head was passed on."""
        self.response_ended = False
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
            self.request_ended = True
        if runtime.active > runtime.most_active or runtime.shedding:
            self.refuse(errors.OVERLOADED)
        elif not head.protocol and head.method == b"CONNECT":
            self.refuse(errors.CONNECT_REFUSED)
        elif client.chain.paths is None or self._admits_path(client.chain.paths):
            routes = client.routes()
            if client.guard is not None and not client.admits(head):
                if client.standing != standing.FOLLOWS:
                    client.come_anew()
                self.refuse(errors.RBAC_DENIED)
            elif routes is None:
                client.come_anew()
                self.refuse(errors.NO_ROUTE_TABLE)
            else:
                self._route(routes)

    def _admits_path(self, rule: PathRule) -> bool:
        """Bring the path into the form the connection manager wants, or answer."""
        head = self.head
        verdict, path = forwarded.shaped(rule, head.path)
        if verdict == forwarded.REJECT or (verdict == forwarded.REDIRECT and self.grpc):
            self.refuse(errors.ESCAPED_SLASH)
        elif verdict == forwarded.REDIRECT:
            where = b"%s://%s%s" % (head.scheme, head.authority, path)
            self._answer(307, [(b"location", where, b"location"), (b"content-length", b"0", b"content-length")], b"")
        else:
            head.path = path
        return verdict == forwarded.GO_ON

    def _may_upgrade(self, row: RouteRow) -> bool:
        """Whether the route, or else the connection manager, lets the request leave HTTP."""
        protocol = self.head.protocol.lower()
        allowed = row.upgrades.get(protocol)
        if allowed is None:
            allowed = self.client.chain.upgrades.get(protocol, True)
        return bool(allowed)

    def _route(self, routes: RouteIndex) -> None:
        row = routes.match(self.head)
        if row is None:
            self.refuse(errors.NO_ROUTE)
            return
        self.row = row
        if row.redirect is not None or row.direct is not None:
            self._answer_from_route(row)
            return
        if self.head.protocol and not self._may_upgrade(row):
            self.refuse(errors.UPGRADE_REFUSED)
            return
        target = row.only
        if target is None:
            target = row.choose(self.runtime.dice())
        if target is None:
            self.refuse(errors.INVALID_BACKEND)
            return
        self.target = target
        cluster = target.found
        if target.found_in is not self.runtime.tables:
            cluster = target.found = self.runtime.tables.clusters.get(target.cluster)
            target.found_in = self.runtime.tables
        if cluster is None:
            if target.cluster == INVALID:
                self.refuse(errors.INVALID_BACKEND)
            else:
                self.client.come_anew()
                self.refuse(errors.NO_CLUSTER.at(row.not_found_status))
            return
        self.cluster = cluster
        if not row.plain or target.request_edit is not None:
            self._shape(row, target)
        self._set_timers(row)
        self.dispatch()

    def _answer_from_route(self, row: RouteRow) -> None:
        if row.redirect is not None:
            where = redirect.location(row.redirect, row.noun.match, self.head)
            headers: Headers = [(b"location", where, b"location"), (b"content-length", b"0", b"content-length")]
            self._answer(row.redirect.status, headers, b"")
        elif row.direct is not None:
            body = row.direct.body
            headers = [(b"content-length", b"%d" % len(body), b"content-length")]
            if body:
                headers.append((b"content-type", b"text/plain", b"content-type"))
            self._answer(row.direct.status, headers, body)

    def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer ourselves, and be done."""
        self.status = status
        self.responding = True
        self.edit_response(headers)
        alone = not body or self.head.method == b"HEAD"
        self.client.send_response(self.down_stream, status, b"", headers, alone)
        if not alone:
            self.client.send_data(self.down_stream, body, True)
            self.response_bytes = len(body)
        self.response_ended = True
        self._finish()

    def _shape(self, row: RouteRow, target: TargetRow) -> None:
        """Change the request as the route says."""
        head = self.head
        if row.rewrites:
            head.path = row.rewrite(head.path)
        if row.host_rewrite:
            head.authority = row.host_rewrite
        if target.request_edit is not None:
            target.request_edit.apply(head.headers)
        for edit in row.request_edits:
            edit.apply(head.headers)
        if row.mirrors:
            self.mirrors = mirror.copies(self.runtime, row, head)

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
        if self.request_ended or self.head.protocol:
            self._request_whole()
        elif chain.request_timeout > 0:
            self.deadline(_BODY, chain.request_timeout, self._body_late)

    def _request_whole(self) -> None:
        """All of the request is here: from now on the route's time counts (as in Envoy)."""
        if self.deadlines is not None:
            self.deadlines.stop(_BODY)
        row = self.row
        told = self.deadlines is not None and self.deadlines.runs(_ROUTE)
        if row is not None and row.timeout > 0 and not told and not self.tunnel:
            self.deadline(_ROUTE, row.timeout, self._timed_out)

    def too_idle(self) -> None:
        """Nothing moved for longer than the stream idle time-out; whose turn it was decides who is told to be late."""
        self.refuse(errors.TOO_IDLE if self.request_ended or self.head.protocol else errors.BODY_LATE)

    def _too_long(self) -> None:
        self.refuse(errors.TOO_LONG if self.request_ended or self.head.protocol else errors.BODY_LATE)

    def _timed_out(self) -> None:
        self.refuse(errors.TIMED_OUT)

    def _body_late(self) -> None:
        if not self.request_ended and not self.tunnel:
            self.refuse(errors.BODY_LATE)

    def _finish(self) -> None:
        """A hook: the answer is complete."""

    def _read_grpc_status(self, headers: Headers) -> None:
        value = get(headers, b"grpc-status")
        if value is not None and value.isdigit() and len(value) < 3:
            self.grpc_status = min(int(value), 30)

    def edit_response(self, headers: Headers) -> None:
        """Change response fields as the target and the route say."""
        target = self.target
        if target is not None and target.response_edit is not None:
            target.response_edit.apply(headers)
        if self.row is not None:
            for edit in self.row.response_edits:
                edit.apply(headers)
