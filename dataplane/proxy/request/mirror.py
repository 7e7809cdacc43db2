"""Copies of requests sent to other clusters, whose answers nobody waits for.

In: a routed request's head, then its body piece by piece. Out: a request of its own to another cluster, with an `Asking` and an
`Attempt` as any other. A mirror is never tried again and never slows the client: when it falls behind, it is given up; so it is
when its request breaks off, and when its own answer takes longer than the route allows (15 s where it allows any time).
"""

from __future__ import annotations

from dataplane.net.timers import Timer
from dataplane.protocol.events import Headers, RequestHead, ResponseHead
from dataplane.proxy.request.asking import Asking
from dataplane.proxy.request.attempt import Attempt
from dataplane.proxy.request.errors import Refusal
from dataplane.proxy.request.replay import Replay
from dataplane.proxy.request.taker import Taker
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import ClusterTable
from dataplane.tables.routes import RouteRow


class Mirror(Taker):
    """A request without a client."""

    __slots__ = ("_asking", "_attempt", "_runtime", "_seconds", "_timer", "over")

    def __init__(self, runtime: Runtime, cluster: ClusterTable, head: RequestHead, seconds: float) -> None:
        self._runtime = runtime
        self._seconds = seconds
        """What its answer may take once the request is whole."""
        self._timer: Timer | None = None
        self.over = False
        self._asking = Asking()
        self._asking.prepare(runtime, None, head, self)
        self._attempt = Attempt()
        self._attempt.prepare(runtime, self._asking, self)
        self._attempt.cluster = cluster
        self._attempt.once = True

    def start(self, body: Replay | None, ended: bool) -> None:
        """Go, with what has come of the body and whether it `ended` so."""
        self._attempt.start()
        if self._asking.ended:
            self.whole()
        elif body is not None:
            trailers = body.trailers
            self.request_data(body.first(body.size), ended and trailers is None)
            if trailers is not None:
                self.request_trailers(list(trailers))
        elif ended:
            self.request_data(b"", True)

    def request_data(self, data: bytes, end: bool) -> None:
        """Send a piece of the body along, unless the mirror is behind."""
        if self.over:
            return
        asking, attempt = self._asking, self._attempt
        if attempt.up is not None and attempt.up.congested(attempt.stream, attempt):
            self.give_up()
            return
        asking.data(data, end)
        if asking.kept is not None and asking.kept.size > self._runtime.replay_bytes:
            self.give_up()

    def request_trailers(self, headers: Headers) -> None:
        """The request is whole."""
        if not self.over:
            self._asking.trailers(headers)

    def give_up(self) -> None:
        """End the copy."""
        if not self.over:
            self.over = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._attempt.cancel()
            self._attempt.leave()

    # --- what comes of it ---------------------------------------------------------------------------------------------

    def astray(self, what: str) -> bool:
        """It ends alone; in tests that raises."""
        self.give_up()
        return self._runtime.astray(what)

    def whole(self) -> None:
        """From now on its answer is waited for, and not for ever."""
        if not self.over and self._timer is None:
            self._timer = self._runtime.timers.after(self._seconds, self.give_up)

    def answered(self, head: ResponseHead) -> None:
        """The answer begins; it may be all there is."""
        if head.end:
            self.give_up()

    def data(self, data: bytes, end: bool) -> None:
        """Let the answer run into the void."""
        attempt = self._attempt
        if end:
            self.give_up()
        elif attempt.up is not None:
            attempt.up.consumed(attempt.stream, len(data))

    def trailers(self, headers: Headers) -> None:  # noqa: ARG002 - the face of all
        """The answer is over."""
        self.give_up()

    def broke(self, code: int) -> None:  # noqa: ARG002 - the face of all
        """So is this copy."""
        self.give_up()

    def refuse(self, refusal: Refusal) -> None:  # noqa: ARG002 - the face of all
        """There is nobody to tell."""
        self.give_up()


def give_up(copies: list[Mirror]) -> None:
    """End copies whose request broke off."""
    for copy in copies:
        copy.give_up()


def _shadow(authority: bytes) -> bytes:
    """Name the host as Envoy does; an IPv6 literal stays as it is, since nothing can be added to one (RFC 3986, section 3.2.2)."""
    if authority.startswith(b"["):
        return authority
    host, colon, port = authority.partition(b":")
    return host + b"-shadow" + colon + port


def copies(row: RouteRow, asking: Asking) -> list[Mirror] | None:
    """Start the copies a row asks for, each by its own share of requests; the host gets Envoy's `-shadow`."""
    runtime, head = asking.runtime, asking.head
    made: list[Mirror] = []
    for name, share in row.mirrors:
        cluster = runtime.tables.clusters.get(name)
        if cluster is None or cluster.original or head.protocol or (share < 1.0 and runtime.dice() >= share):
            continue
        copy = RequestHead(
            0, head.method, head.scheme, _shadow(head.authority), head.path, list(head.headers), head.end, head.version
        )
        mirror = Mirror(runtime, cluster, copy, row.timeout or runtime.bounds.copy_seconds)
        mirror.start(asking.kept, asking.ended)
        if not mirror.over:
            made.append(mirror)
    return made or None
