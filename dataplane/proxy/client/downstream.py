"""One HTTP connection of a client: its bytes into requests, their answers into bytes.

In: bytes of the stream, in whichever HTTP version the chain or detection said. Out: an `Exchange` a request; the codec's
bytes. Refuses what the codec refuses (answered there, counted and logged here), heads that take too long, and, while the
sidecar drains, further requests.
"""

from __future__ import annotations

import logging
from typing import Any

from dataplane.net.stream import Stream
from dataplane.net.timers import Timer
from dataplane.protocol import events as kinds
from dataplane.protocol.events import Event, Failure, Headers, RequestHead
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.server import Http2Server
from dataplane.proxy.arrive import standing
from dataplane.proxy.client.terms import Terms
from dataplane.proxy.request import errors
from dataplane.proxy.request.exchange import Exchange
from dataplane.proxy.worker.runtime import CLOSE_IDLE_AFTER, Runtime
from dataplane.tables.listeners import ChainTable

_log = logging.getLogger("tulle.proxy")

# Plain C integers when compiled.
_REQUEST = kinds.REQUEST
_FAILURE = kinds.FAILURE
_DATA = kinds.DATA
_TRAILERS = kinds.TRAILERS
_RESET = kinds.RESET
_WRITABLE = kinds.WRITABLE

_SLOW_HEAD = errors.HEAD_LATE.as_http1(b"Request Timeout")


class HttpDownstream(Terms):
    """A client's connection; the stream's receiver from the moment it is known to speak HTTP."""

    __slots__ = ("_born", "_drained", "_end_timer", "_head_timer", "_requests", "_s1", "_s2", "_shutting", "_told")

    def __init__(self, runtime: Runtime, stream: Stream, chain: ChainTable, http2: bool, secure: bool) -> None:
        super().__init__(runtime, stream, chain, secure)
        self._s1: Any = None
        self._s2: Any = None
        if http2:
            self.h2 = self._s2 = Http2Server(runtime.bounds.of_client(chain.max_streams, mesh=self.mesh))
        else:
            scheme = b"https" if secure and not self.mesh else b"http"
            self.h1 = self._s1 = Http1Server(runtime.bounds.mesh if self.mesh else runtime.bounds.protocol, scheme)
        self._head_timer: Timer | None = None
        self._end_timer: Timer | None = None
        """When a connection that does not follow the tables ends."""
        self._shutting = False
        self._drained = 0
        """Body bytes dropped since the request they belong to was answered."""
        self._born = self._told = self.used
        """`_told`: when the client was told to go, or came."""
        self._requests = 0
        if chain.keepalive is not None:
            self.watch_peer(chain.keepalive)
        elif self.mesh:
            self.watch_peer(runtime.bounds.keepalive)
        if secure:
            self.seen = standing.secured(stream, "http2" if http2 else "http1")
        elif http2:
            self.seen = standing.HTTP2
        stream.receiver = self
        runtime.downstreams.add(self)
        self.mark()
        self.routes()

    # --- what the stream tells ----------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.gone:
            return
        if self._s2 is not None:
            self._s2.now = self._poller.now
            self._dispatch(self._s2.receive(data))
            if self._head_timer is not None or self._s2.heading():
                self._watch_section()
            self.mark()
            return
        events = self._s1.receive(data)
        if events:
            self._dispatch(events)
            if self._s1.closing:
                self.mark()
        elif self.call is None:
            self._watch_head()
        if self.call is not None and self._s1.held():
            self.stop_reading()

    def ended(self) -> None:
        """The client sends no more; answers may still go to it."""
        if self.gone:
            return
        codec = self._s1 if self._s2 is None else self._s2
        self._dispatch(codec.receive_eof())
        if codec.active == 0:
            self._ending = True
        self.mark()

    def leaving(self) -> None:
        """The client's end waits behind what is not read: a body that cannot become whole is given up now, not when the server takes more."""
        if self._s1 is not None and self.call is not None and self._s1.lacks(self.stream.unread):
            self.ended()

    def lost(self, reason: str) -> None:
        """Gone, with every request on it."""
        self._part()
        self.runtime.downstreams.discard(self)
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._drop(reason)

    # --- what calls ask -----------------------------------------------------------------------------------------------

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:
        """Send a response head."""
        if self.gone:
            return
        if self.runtime.saving and not self._shutting:
            self.drain()
        if self._s2 is None:
            if self._shutting:
                self._s1.goaway()
            self._s1.send_response(stream, status, reason, headers, end)
        else:
            self._s2.send_response(stream, status, reason, headers, end)
        self.mark()

    def tunnel_opened(self) -> None:
        """Read on, first what an HTTP/1 client sent behind its request for an upgrade."""
        if self._s1 is not None and not self.gone:
            self.read_on()
            self._dispatch(self._s1.receive(b""))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _after_call(self) -> None:
        """Let the answer's end out; on HTTP/1 the rest of its request may still have to be read."""
        self.mark()
        if self._s1 is not None and self._s1.active:
            self._drained = 0
            self._head_timer = self.runtime.timers.after(self.runtime.bounds.drain_seconds, self._drain_too_slow)

    def _after_flush(self) -> None:
        """Take up pipelined requests that waited for the answer just written."""
        if self.gone or self._s1 is None:
            return
        while self.call is None and not self.gone and self._s1.held():
            events = self._s1.receive(b"")
            if not events:
                self._watch_head()
                break
            self._dispatch(events)
            self.mark()

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            kind = event.kind
            if kind == _REQUEST:
                self._open(event)  # type: ignore[arg-type]
                continue
            if kind == _FAILURE:
                self._failed(event)  # type: ignore[arg-type]
                return
            call: Exchange | None = self.find(event.stream)  # type: ignore[assignment]
            if call is None:
                if kind == _DATA:
                    data = event
                    self._discard(event.stream, len(data.data))  # type: ignore[attr-defined]
                continue
            if kind == _DATA:
                data = event
                call.request_data(data.data, data.end)  # type: ignore[attr-defined]
            elif kind == _TRAILERS:
                trailers = event
                call.request_trailers(trailers.headers)  # type: ignore[attr-defined]
            elif kind == _RESET:
                reset = event
                call.request_reset(reset.reason)  # type: ignore[attr-defined]
            elif kind == _WRITABLE:
                call.ready()

    def _open(self, head: RequestHead) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self.runtime.draining and self.guest and not self._shutting:
            # Who comes while we drain has not heard yet: with its first request, for before it nothing would get done.
            self.runtime.latecomer = self._poller.now
            self.drain()
        most = self.chain.max_requests
        if most > 0:
            self._requests += 1
            if self._requests >= most and not self._shutting:
                self._end_soon("connection_requests_ended")
        if not head.authority:
            head.authority = self._own_name()
        exchange = Exchange.__new__(Exchange)
        if self.h2 is None:
            self.call = exchange
        else:
            self.calls[head.stream] = exchange
        exchange.begin(self.runtime, self, head)

    def _discard(self, stream: int, size: int) -> None:
        """A piece of a body nobody takes any more: HTTP/2 has told the client to stop, on HTTP/1 the rest has to be read."""
        self.consumed(stream, size)
        self._drained += size
        if self._s1 is not None and self._drained > self.runtime.bounds.protocol.drain_bytes and not self._ending:
            self._stop_draining()

    def _drain_too_slow(self) -> None:
        self._head_timer = None
        if self.gone or self.call is not None:
            return
        if self._s1.active:
            self._stop_draining()
        else:
            self._watch_head()

    def _stop_draining(self) -> None:
        """Enough was read after an answer: end the connection, which lingers while the client still sends."""
        self.runtime.metrics.events.of("drain_given_up").value += 1
        self._ending = True
        self.mark()

    def _own_name(self) -> bytes:
        """Name the host an HTTP/1.0 client left out by where it connected to; servers refuse an empty `Host`."""
        host, port = self.stream.target or self.stream.local
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()

    def _failed(self, failure: Failure) -> None:
        """The client broke the protocol or a limit; the codec has answered if there is a way to."""
        self.runtime.metrics.refused.of(failure.counter).value += 1
        _log.info("refused %s:%d: %s", self.stream.peer[0], self.stream.peer[1], failure.reason)
        self._drop(failure.reason)
        self._ending = True
        self.mark()

    def _drop(self, reason: str) -> None:
        for call in self._in_hand():
            call.request_reset(reason)
        self.calls.clear()
        self.call = None

    def _watch_head(self) -> None:
        """A part of a head is here: the rest has to follow soon."""
        seconds = self.chain.head_timeout or self.runtime.bounds.head_timeout
        if self._head_timer is None and seconds > 0 and self._s1.held():
            self._head_timer = self.runtime.timers.after(seconds, self._head_too_slow)

    def _watch_section(self) -> None:
        """The same on HTTP/2, where the rest may be frames of one field section, or of the preface."""
        seconds = self.chain.head_timeout or self.runtime.bounds.head_timeout
        if self._head_timer is None and seconds > 0:
            self._head_timer = self.runtime.timers.after(seconds, self._head_too_slow)
        elif self._head_timer is not None and not self._s2.heading():
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.gone and self.call is None:
            self.runtime.metrics.refused.of(errors.HEAD_LATE.word).value += 1
            if self._s2 is None:
                self.stream.write(_SLOW_HEAD)
            else:
                self._s2.shutdown()
                self._drop("a field section did not come to its end in time")
            self._ending = True
            self.mark()

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end_soon(self, why: str) -> None:
        """Have the client open another connection, and count."""
        self.runtime.metrics.events.of(why).value += 1
        self.drain()

    def stands(self) -> None:
        """The tables changed: end, now or when this connection's turn comes; where it follows (again), what is under way is not cut."""
        timers = self.runtime.timers
        if self.standing == standing.ENDS_NOW:
            self.runtime.metrics.events.of("connection_refused_anew").value += 1
            if self._guarded is None:
                self.shut()
            else:  # Its requests are refused, and the answer to the next one says that it is the last.
                self.drain()
            if self._end_timer is not None:
                self._end_timer.cancel()
            self._end_timer = timers.after(standing.CUT_SECONDS, self._cut)
        elif self.standing == standing.FOLLOWS and self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        elif self.standing == standing.ENDS_CALMLY and self._end_timer is None:
            self._end_timer = timers.after(self.runtime.dice() * standing.SPREAD_SECONDS, self._leave)

    def _leave(self) -> None:
        """It is this connection's turn, unless what it was for is back."""
        self._end_timer = None
        if self.standing == standing.ENDS_CALMLY and not self.gone:
            self._end_soon("connection_outlived")
            if self.busy or not self.guest:  # the own app may ask in this very moment: it is told with that answer
                self._end_timer = self.runtime.timers.after(CLOSE_IDLE_AFTER, self.shut)
            else:
                self.shut()

    def _cut(self) -> None:
        """What was under way has had its time."""
        if not self.gone:
            self.stream.abort()

    def drain(self) -> None:
        """Tell the client to open nothing more here (HTTP/1 hears it with its next answer)."""
        if not self._shutting:  # who is told again and again has had the time since the first
            self._told = self._poller.now
        self._shutting = True
        if self.h2 is not None:
            self.h2.goaway()
            self.mark()

    def shut_late(self, now: float) -> None:
        """Shut, if the client has had half a second at least since it came or was told."""
        if now - self._told >= CLOSE_IDLE_AFTER / 2:
            self.shut()

    def shut(self) -> None:
        """Refuse what was not opened yet, close when nothing is on the way."""
        self._shutting = True
        if self.gone:
            return
        if self.h2 is not None:
            self.h2.shutdown()
        else:
            self.h1.goaway()
        self.mark()

    @property
    def busy(self) -> int:
        """Requests under way."""
        return len(self.calls) + (self.call is not None)

    def sweep(self, now: float) -> None:
        """Close what is idle for too long."""
        chain = self.chain
        if 0 < chain.life < now - self._born and not self._shutting:
            self._end_soon("connection_life_ended")
        if not self.unused():
            for call in self._in_hand():
                call.look_idle(now)
            self.check_peer(now)
        elif self._shutting and self._end_timer is not None:  # told so a moment ago, maybe
            self.shut_late(now)
        elif self._shutting:
            self.shut()
        elif 0 < chain.idle < now - self.used:
            self.runtime.metrics.events.of("connection_idle_closed").value += 1
            self.shut()
