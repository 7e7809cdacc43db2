"""Copies of requests sent to other clusters, whose answers nobody waits for.

In: a routed request's head. Out: `Mirror` calls the exchange feeds with the same body. A mirror is never tried again
and never slows the client: when it falls behind, it is given up.
"""

from __future__ import annotations

from dataplane.protocol.events import RequestHead
from dataplane.proxy.runtime import Runtime
from dataplane.proxy.sending import Sending
from dataplane.tables.routes import RouteRow


class Mirror(Sending):
    """A call without a client."""

    __slots__ = ()

    def request_data(self, data: bytes, end: bool) -> None:
        """Send a piece of the body along, unless the mirror is behind."""
        up = self.up
        if self.over:
            return
        if end:
            self.request_ended = True
        if up is None:
            if data:
                self.body = [*(self.body or ()), data]
                self.body_size += len(data)
            if self.body_size > self.runtime.replay_bytes:
                self.give_up()
        elif up.congested(self.up_stream, self):
            self.give_up()
        else:
            up.send_data(self.up_stream, data, end)

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
            self.cancel()
            self.abandon_try()


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
        mirror.dispatch()
        if not mirror.over:
            made.append(mirror)
    return made or None
