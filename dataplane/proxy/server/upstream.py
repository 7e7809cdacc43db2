"""One HTTP connection to a server: requests of calls out, its answers back to them.

In: calls by `start`, bytes from the stream. Out: what the codec writes; events to the calls. Its `Owner` (the pool) is
told when it opens, when it can take another request, and when it ends. Refuses nothing itself: broken answers are the
codec's to refuse and end as `response_reset`.
"""

from __future__ import annotations

import logging
from typing import Any

from dataplane.config import Cluster
from dataplane.net.reasons import ABORTED
from dataplane.protocol import codes
from dataplane.protocol import events as kinds
from dataplane.protocol.events import Event, Failure, RequestHead
from dataplane.protocol.http1.client import Http1Client
from dataplane.protocol.http2.client import Http2Client
from dataplane.proxy.connection import HttpConnection
from dataplane.proxy.request.call import Tried
from dataplane.proxy.server import conduct
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import EndpointSlot
from dataplane.tables.health import CONNECTING, REFUSED, UNANSWERED

_log = logging.getLogger("tulle.proxy")

# Plain C integers when compiled.
_RESPONSE = kinds.RESPONSE
_FAILURE = kinds.FAILURE
_DATA = kinds.DATA
_TRAILERS = kinds.TRAILERS
_RESET = kinds.RESET
_WRITABLE = kinds.WRITABLE
_GOAWAY = kinds.GOAWAY
_SETTINGS = kinds.SETTINGS
_ALL = (1 << 31) - 1
"""The last stream there can be (RFC 9113, section 5.1.1)."""


class Owner:
    """Who keeps connections."""

    __slots__ = ()

    def opened(self, connection: HttpUpstream) -> None:
        """It is connected and may take requests."""

    def told(self, streams: int) -> None:
        """The server takes so many streams on a connection."""

    def released(self, connection: HttpUpstream) -> None:
        """It may be able to take another request."""

    def ended(self, connection: HttpUpstream, reason: str, detail: str) -> None:
        """It is gone, or takes no more requests; before `opened` it means that connecting failed."""


class HttpUpstream(HttpConnection):
    """A dialled connection; `introduced` until the peer was told who we are (between sidecars)."""

    __slots__ = (
        "_c1",
        "_c2",
        "_enough",
        "_last",
        "_retired",
        "answered",
        "born",
        "idle",
        "introduced",
        "life",
        "most_streams",
        "most_uses",
        "owner",
        "ready",
        "slot",
        "uses",
    )

    def __init__(self, runtime: Runtime, owner: Owner, slot: EndpointSlot, http2: bool, streams: int = 0) -> None:
        """Begin; `streams` is what its cluster says when it is dialled, 0 for nothing (HTTP/2)."""
        super().__init__(runtime, None)
        self.owner = owner
        self.slot = slot
        self._c1: Any = None
        self._c2: Any = None
        self._enough = 1
        """Streams its windows were made for."""
        if http2:
            limits = runtime.bounds.of_server(streams)
            self.h2 = self._c2 = Http2Client(limits)
            self._enough = limits.concurrent_streams
        else:
            self.h1 = self._c1 = Http1Client(runtime.bounds.protocol)
        self.ready = False
        self.answered = False
        self.introduced = False
        self.uses = 0
        self.most_streams = 0
        self.most_uses = 0
        self.idle = self.life = 0.0
        self.born = self.used
        self._last = _ALL
        """The last stream the server takes."""
        self._retired = False
        runtime.upstreams.add(self)

    # --- what pools and calls ask -------------------------------------------------------------------------------------

    def expect(self, streams: int) -> None:
        """Open no more streams than that until the server tells its limit."""
        if self._c2 is not None:
            self._c2.expect(streams)

    def obey(self, cluster: Cluster) -> None:
        """Take over what a cluster says about its connections; what it leaves open has our defaults."""
        limits = self.runtime.bounds
        self.most_streams = min(cluster.max_streams or limits.upstream_streams, self._enough)
        self.most_uses = cluster.max_requests
        self.idle = limits.upstream_idle if cluster.idle is None else cluster.idle
        self.life = limits.upstream_life if cluster.life is None else cluster.life
        self.watch_peer(cluster.keepalive or (limits.keepalive if self.slot.mesh else (0.0, 0.0)))
        if self.ready and self._spent() and self.unused():
            self.retire()

    def _spent(self) -> bool:
        return self.most_uses > 0 and self.uses >= self.most_uses

    def usable(self) -> bool:
        """Whether a request can be started now."""
        if self.gone or self._retired or not self.ready or self._spent():
            return False
        if self._c2 is None:
            return not self._c1.active and not self._c1.closing
        free: bool = self._c2.room(self.most_streams)
        return free

    def start(self, call: Tried, head: RequestHead, end: bool) -> int:
        """Send a call's request head; return its stream."""
        self.uses += 1
        self.answered = False
        self.used = self._poller.now
        stream: int
        if self._c2 is None:
            stream = self._c1.send_request(head, end)
            self.call = call
        else:
            stream = self._c2.send_request(head, end)
            self.calls[stream] = call
        self.mark()
        return stream

    def left_out(self, stream: int) -> bool:
        """Whether the server's GOAWAY left a stream out: it has not looked at it (RFC 9113, section 6.8)."""
        return stream > self._last

    def unanswered(self, code: int) -> bool:
        """A request was broken off before its answer: note it; return whether a sidecar says that no app has seen it."""
        if self._retired or (code == codes.CONNECT_ERROR and self._c2 is None and self.uses > 1):
            return False  # told beforehand (GOAWAY), or the race every kept connection is in
        if code == codes.REFUSED_STREAM and self._c2 is not None and self._c2.active >= self._c2.peer_streams:
            return False  # one stream too many, sent before we knew
        if code == codes.REFUSED_STREAM and self.slot.mesh:
            conduct.failed(self.runtime, self.slot, REFUSED, "its sidecar could not reach the app")
            return True
        conduct.failed(self.runtime, self.slot, UNANSWERED, f"requests without an answer ({codes.name(code)})")
        return False

    def retire(self) -> None:
        """Take no more requests; close when those on the way are over."""
        if not self.gone:
            if not self._retired:
                self._retired = True
                self.owner.ended(self, "retired", "")
            if self.h2 is None:
                self.h1.goaway()
            else:
                self.h2.goaway()
            if not self.ready:
                self._ending = True
            self.mark()

    def sweep(self, now: float) -> None:
        """Close what is unused for too long, retire what is too old, ask who is silent."""
        unused = self.unused()
        if self.ready and not unused:
            self.check_peer(now)
        if self.ready and not self._retired:
            if unused and 0 < self.idle < now - self.used:
                self.runtime.metrics.events.of("upstream_idle_closed").value += 1
                self.retire()
            elif 0 < self.life < now - self.born:
                self.runtime.metrics.events.of("upstream_life_ended").value += 1
                self.retire()

    # --- what the stream tells ----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Connected."""
        self.ready = True
        self.born = self.used = self._poller.now
        if self.slot.health.failures:
            conduct.connected(self.runtime, self.slot)
        self.mark()
        self.owner.opened(self)

    def received(self, data: bytes) -> None:
        """Bytes from the server."""
        if self.gone:
            return
        if self._c2 is None:
            self._dispatch(self._c1.receive(data))
            if self._c1.closing:
                self.mark()
        else:
            self._c2.now = self._poller.now
            self._dispatch(self._c2.receive(data))
            self.mark()

    def ended(self) -> None:
        """The server sends no more."""
        if self.gone:
            return
        if self._c2 is None:
            self._dispatch(self._c1.receive_eof())
        else:
            self._dispatch(self._c2.receive_eof())
        codec = self._c1 if self._c2 is None else self._c2
        if codec.active == 0:
            self._ending = True
        self.mark()

    def lost(self, reason: str) -> None:
        """Gone, with every call on it."""
        self._part()
        self.runtime.upstreams.discard(self)
        if reason == ABORTED and self._asked > self.stream.seen:
            conduct.failed(self.runtime, self.slot, CONNECTING, "no answer to a PING")
        self._drop(codes.CONNECT_ERROR, reason)
        if not self._retired:
            self._retired = True
            self.owner.ended(self, reason, self.stream.detail)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _after_call(self) -> None:
        """The connection is free again, or closes once its codec says so."""
        if self._retired or self._spent() or (self._c2 is None and self._c1.closing):
            self.retire()
        else:
            self.owner.released(self)

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            kind = event.kind
            if kind == _FAILURE:
                self._failed(event)  # type: ignore[arg-type]
                return
            if kind == _GOAWAY:
                goaway = event
                self._last = min(self._last, goaway.last_stream)  # type: ignore[attr-defined]
                self.retire()
                continue
            if kind == _SETTINGS:
                self._more()
                continue
            call: Tried | None = self.find(event.stream)  # type: ignore[assignment]
            if call is None:
                continue
            if kind == _DATA:
                data = event
                call.response_data(data.data, data.end)  # type: ignore[attr-defined]
            elif kind == _RESPONSE:
                self.answered = True
                if self.slot.health.failures:
                    conduct.answered(self.runtime, self.slot)
                call.response_head(event)  # type: ignore[arg-type]
            elif kind == _TRAILERS:
                trailers = event
                call.response_trailers(trailers.headers)  # type: ignore[attr-defined]
            elif kind == _RESET:
                reset = event
                call.response_reset(reset.code, reset.reason)  # type: ignore[attr-defined]
            elif kind == _WRITABLE:
                call.ready()

    def _more(self) -> None:
        """The server told how many streams it takes: what waits may go now."""
        self.owner.told(self._c2.peer_streams)
        if not self.gone and not self._retired:
            self.owner.released(self)

    def _failed(self, failure: Failure) -> None:
        """The server broke the protocol: every call on the connection is dead."""
        self.runtime.metrics.refused.of("upstream_" + failure.counter).value += 1
        _log.info("the answer of %s:%d was refused: %s", self.stream.peer[0], self.stream.peer[1], failure.reason)
        self._drop(codes.PROTOCOL_ERROR, failure.reason)
        self._ending = True
        self.mark()

    def _drop(self, code: int, reason: str) -> None:
        for call in self._in_hand():
            call.response_reset(code, reason)
        self.calls.clear()
        self.call = None
