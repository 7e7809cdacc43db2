"""An `HttpConnection`, client's or server's: what the two have in common.

In: bytes from its stream, and commands from the calls on it. Out: commands to the codec, whose bytes are written once at the end of
the poller's batch however many calls wrote. Both HTTP versions
look alike from here on: back-pressure is `congested` and `stop_reading`/`read_on` for sockets, `consumed` for HTTP/2 windows.
"""

from __future__ import annotations

from typing import Any

from dataplane.net.poller import Pollable, Poller
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.protocol.events import Headers, RequestHead
from dataplane.proxy.request.call import Call
from dataplane.proxy.worker.runtime import Runtime

_ALIVE = b"tulle-ok"
"""The eight bytes of our PINGs."""


class Flusher(Pollable):
    """Brings a connection into the poller's round of flushes, under the poller's supervision."""

    __slots__ = ("_connection",)

    def __init__(self, poller: Poller, connection: HttpConnection) -> None:
        super().__init__(poller, -1)
        self._connection: HttpConnection | None = connection

    def flush(self) -> None:
        """Write out what calls have sent since the last batch."""
        if self._connection is not None:
            self._connection.flush()

    def failed(self, error: BaseException) -> None:
        """A defect ends this connection, no other."""
        if self._connection is not None:
            self._connection.stream.failed(error)

    def forget(self) -> None:
        """Let go of a connection that is gone, so that it is freed at once and not by the garbage collector."""
        self._connection = None


class HttpConnection(Receiver):
    """One HTTP connection, of whichever version and side; exactly one of `h1` and `h2` is set."""

    __slots__ = (
        "_ask_after",
        "_ask_within",
        "_asked",
        "_ending",
        "_eof_written",
        "_flusher",
        "_poller",
        "blocked",
        "call",
        "calls",
        "gone",
        "h1",
        "h2",
        "reading",
        "runtime",
        "stream",
        "used",
    )

    h1: Any
    h2: Any
    stream: Any

    def __init__(self, runtime: Runtime, stream: Stream | None) -> None:
        self.runtime = runtime
        self.stream = stream
        self.h1 = None
        self.h2 = None
        self.call: Call | None = None
        """The request in hand on HTTP/1."""
        self.calls: dict[int, Call] = {}
        """Requests in hand by HTTP/2 stream."""
        self.blocked: list[Call] = []
        """Calls to wake when the socket takes more."""
        self.gone = False
        self.reading = True
        self._poller: Poller = runtime.poller
        self.used = self._poller.now
        self._flusher = Flusher(self._poller, self)
        self._eof_written = False
        self._ending = False
        self._ask_after = self._ask_within = 0.0
        self._asked = 0.0
        """When the peer was asked last whether it lives."""

    # --- flushing -----------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Have what the codec holds written at the end of the batch."""
        if not self._flusher.dirty:
            self._poller.mark(self._flusher)

    def flush(self) -> None:
        """Write what the codec holds, and close when it says that is all."""
        if self.gone:
            return
        if self.h2 is None:
            data = self.h1.output()
            closing = self.h1.closing
        else:
            if self.h2.unread(self.stream.waiting):
                # Answers no window bounds pile up for a peer that asks and never reads.
                self.runtime.metrics.refused.of("http2_unread").value += 1
                self.stream.abort()
                return
            data = self.h2.output()
            closing = self.h2.closing
        if data:
            self.stream.write(data)
        if closing or self._ending:
            self._end_if_over()
        self._after_flush()

    def _part(self) -> None:
        """The stream is gone: nothing is written any more."""
        self.gone = True
        self._flusher.forget()

    def _end_if_over(self) -> None:
        codec = self.h1 if self.h2 is None else self.h2
        if codec.write_eof and not self._eof_written:
            self._eof_written = True
            self.stream.write_eof()
        if codec.active == 0 or self._ending:
            self.gone = True
            self.stream.close()

    def _after_flush(self) -> None:
        """What a side does when its bytes are on their way."""

    # --- what calls ask -----------------------------------------------------------------------------------------------

    def send_request(self, head: RequestHead, end: bool) -> int:  # noqa: ARG002 - for the upstream side
        """Send a request head; return its stream."""
        return 0

    def send_response(self, stream: int, status: int, reason: bytes, headers: Headers, end: bool) -> None:
        """Send a response head."""

    def send_data(self, stream: int, data: bytes, end: bool) -> None:
        """Send a piece of a body."""
        if self.h2 is None:
            self.h1.send_data(stream, data, end)
        else:
            self.h2.send_data(stream, data, end)
        self.mark()

    def send_trailers(self, stream: int, headers: Headers) -> None:
        """End a message with fields."""
        if self.h2 is None:
            self.h1.send_trailers(stream, headers)
        else:
            self.h2.send_trailers(stream, headers)
        self.mark()

    def reset(self, stream: int, code: int) -> None:
        """Give a message up."""
        if self.gone:
            return
        if self.h2 is None:
            if self.h1.unframed(stream):
                self.stream.abort()
            self.h1.reset(stream, code)
        else:
            self.h2.reset(stream, code)
        self.mark()

    def consumed(self, stream: int, size: int) -> None:
        """Body bytes were handed on: the peer may send as many again."""
        if self.h2 is not None and not self.gone:
            self.h2.consumed(stream, size)
            self.mark()

    def finished(self, call: Call) -> None:
        """A call is over."""
        if self.blocked and call in self.blocked:
            self.blocked.remove(call)
        # Last, for nothing else may hold it: compiled, an argument is no reference of its own.
        if self.h2 is None:
            if self.call is call:
                self.call = None
        else:
            self.calls.pop(call.stream, None)
        self.used = self._poller.now
        if not self.gone:
            self.read_on()
            self._after_call()

    def _after_call(self) -> None:
        """What a side does when it is free again, or a stream of it."""

    def unused(self) -> bool:
        """Whether no request is in hand."""
        return self.call is None and not self.calls

    def _in_hand(self) -> list[Any]:
        """Return the calls there are now; each may end while one goes through them."""
        return [self.call] if self.call is not None else list(self.calls.values())

    def congested(self, stream: int, call: Call) -> bool:
        """Whether enough waits for the peer; if so the call is told `ready` when less does."""
        if self.h2 is not None and self.h2.full(stream, self.runtime.pending_bytes):
            return True
        if self.stream.high:
            if call not in self.blocked:
                self.blocked.append(call)
            return True
        return False

    def stop_reading(self) -> None:
        """Stop reading (HTTP/1: a connection is one message at a time; HTTP/2 has windows for that)."""
        if self.h2 is None and self.reading:
            self.reading = False
            self.stream.pause()

    def read_on(self) -> None:
        """Read again."""
        if not self.reading:
            self.reading = True
            self.stream.resume()

    def find(self, stream: int) -> Call | None:
        """Return the call of a stream, or None when it is over."""
        if self.h2 is not None:
            return self.calls.get(stream)
        call = self.call
        return call if call is not None and call.stream == stream else None

    # --- whether the peer lives ---------------------------------------------------------------------------------------

    def watch_peer(self, keepalive: tuple[float, float]) -> None:
        """Ask an HTTP/2 peer that is silent for so many seconds, and give it so many to answer; 0 is never."""
        self._ask_after, self._ask_within = keepalive

    def check_peer(self, now: float) -> None:
        """Ask where it is time (RFC 9113, section 6.7), and end a connection whose peer does not answer."""
        if self.h2 is None or self._ask_after <= 0 or self.gone:
            return
        seen = self.stream.seen
        if self._asked > seen:
            if now - self._asked >= self._ask_within:
                self.runtime.metrics.events.of("keepalive_timeouts").value += 1
                self.stream.abort()
        elif now - seen >= self._ask_after:
            self._asked = now
            self.h2.ping(_ALIVE)
            self.mark()

    def drained(self) -> None:
        """The socket takes more."""
        blocked = self.blocked
        if blocked:
            self.blocked = []
            for call in blocked:
                if not call.over:
                    call.ready()
