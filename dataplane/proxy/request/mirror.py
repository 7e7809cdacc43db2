"""Copies of requests sent to other clusters, whose answers nobody waits for.

In: a routed request's head. Out: `Mirror` calls the exchange feeds with the same body. A mirror is never tried again
and never slows the client: when it falls behind, it is given up; so it is when its request breaks off, and when its own
answer takes longer than the route allows (15 s where it allows any time).
"""

from __future__ import annotations

from dataplane.protocol.events import Headers, RequestHead
from dataplane.proxy.request import deadlines, life
from dataplane.proxy.request.replay import Replay
from dataplane.proxy.request.sending import Sending
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.routes import RouteRow


class Mirror(Sending):
    """A call without a client."""

    __slots__ = ("seconds",)

    def begin(self, seconds: float) -> None:
        """Go; once the request is whole its answer may take so long."""
        self.seconds = seconds
        self.dispatch()
        if self.asking & life.ENDED:
            self._wait_for_answer()

    def _wait_for_answer(self) -> None:
        if not self.over:
            self.deadline(deadlines.ROUTE, self.seconds, self.give_up)

    def request_data(self, data: bytes, end: bool) -> None:
        """Send a piece of the body along, unless the mirror is behind."""
        up = self.up
        if self.over:
            return
        if end:
            self.asked(life.END)
            self._wait_for_answer()
        if up is None:
            if data:
                if self.kept is None:
                    self.kept = Replay()
                self.kept.keep(data)
                if self.kept.size > self.runtime.replay_bytes:
                    self.give_up()
        elif up.congested(self.up_stream, self):
            self.give_up()
        else:
            up.send_data(self.up_stream, data, end)

    def request_trailers(self, headers: Headers) -> None:
        """The request is whole."""
        Sending.request_trailers(self, headers)
        self._wait_for_answer()

    def unconnected(self, reason: str, detail: str) -> None:  # noqa: ARG002 - the shape of all calls
        """No connection: no copy."""
        self.waiting = False
        self.give_up()

    def response_data(self, data: bytes, end: bool) -> None:
        """Let the answer run into the void."""
        if end:
            self.give_up()
        elif self.up is not None:
            self.up.consumed(self.up_stream, len(data))

    def response_head(self, head: object) -> None:
        """The answer begins; it may be all there is."""
        if head.end:  # type: ignore[attr-defined]
            self.give_up()

    def response_trailers(self, headers: object) -> None:  # noqa: ARG002 - the shape of all calls
        """The answer is over."""
        self.give_up()

    def response_reset(self, code: int, reason: str) -> None:  # noqa: ARG002 - the shape of all calls
        """So is this copy."""
        self.give_up()

    def refuse(self, refusal: object) -> None:  # noqa: ARG002 - the shape of all calls
        """There is nobody to tell."""
        self.give_up()

    def give_up(self) -> None:
        """End the copy."""
        if not self.over:
            self.over = True
            if self.deadlines is not None:
                self.deadlines.end()
            self.cancel()
            self.abandon_try()


def give_up(copies: list[Sending]) -> None:
    """End copies whose request broke off."""
    for copy in copies:
        if isinstance(copy, Mirror):
            copy.give_up()


def copies(runtime: Runtime, row: RouteRow, head: RequestHead) -> list[Sending] | None:
    """Start the copies a row asks for, each by its own share of requests; the host gets Envoy's `-shadow`."""
    made: list[Sending] = []
    for name, share in row.mirrors:
        cluster = runtime.tables.clusters.get(name)
        if cluster is None or cluster.original or head.protocol or (share < 1.0 and runtime.dice() >= share):
            continue
        host, colon, port = head.authority.partition(b":")
        to = host + b"-shadow" + colon + port
        copy = RequestHead(0, head.method, head.scheme, to, head.path, list(head.headers), head.end, head.version)
        mirror = Mirror()
        mirror.prepare_sending(runtime, None, copy)
        mirror.cluster = cluster
        mirror.begin(row.timeout or runtime.bounds.copy_seconds)
        if not mirror.over:
            made.append(mirror)
    return made or None
