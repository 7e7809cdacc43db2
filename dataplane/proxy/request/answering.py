"""The answer's side: where it is, and the passing on of what the server says, or of what we say in its place, to the client.

In: what the attempt took, piece by piece; refusals. Out: commands to the client's connection. Once a final head is out, breaking
off is all that is left when something goes wrong. Tells its exchange when both sides are done.
"""

from __future__ import annotations

from dataplane.protocol import codes
from dataplane.protocol.events import Headers, ResponseHead
from dataplane.proxy.client.terms import Terms
from dataplane.proxy.request import errors, life, tunnel
from dataplane.proxy.request.asking import Asking
from dataplane.proxy.request.attempt import Attempt
from dataplane.proxy.request.call import Asked
from dataplane.proxy.request.notes import grpc_status, strip_own
from dataplane.proxy.request.taker import Taker
from dataplane.telemetry import flags

# Plain C integers when compiled.
_TABLE = life.ANSWER
_NONE = life.NONE
_DONE = life.DONE
_RAW = life.RAW
_HEAD = life.HEAD
_SWITCH = life.SWITCH
_END = life.END
_NEVER = life.NEVER
_EVENTS = life.EVENTS
_WELL = flags.NONE


class Answering(Taker):
    """One answer; `exchange` is None when all is over."""

    __slots__ = (
        "_interim",
        "_owed",
        "asking",
        "attempt",
        "client",
        "exchange",
        "grpc_status",
        "size",
        "state",
        "status",
    )

    def prepare(self, exchange: Asked, client: Terms, asking: Asking, attempt: Attempt) -> None:
        """Begin; in place of `__init__`, whose arguments would cost a tuple a request."""
        self.exchange: Asked | None = exchange
        self.client = client
        self.asking = asking
        self.attempt = attempt
        self.flag = _WELL
        self.detail = ""
        self.state = _NONE
        """Where it is (`life.ANSWER`)."""
        self.status = 0
        self.grpc_status = -1
        self.size = 0
        """Body bytes so far."""
        self._owed = 0
        """Body bytes taken from the server's window and not handed on yet."""
        self._interim = 0
        """Informational responses passed on."""

    def advance(self, event: int) -> bool:
        """Go on by an event; False when that ended the exchange."""
        p = _TABLE
        state = p[self.state * _EVENTS + event]
        if state == _NEVER:
            return self.astray(f"answer {self.state}: {event}")
        self.state = state
        return True

    def astray(self, what: str) -> bool:
        """In tests that raises, else it ends this one exchange."""
        exchange, client, asking = self.exchange, self.client, self.asking  # whose end may be the last that holds us
        asking.runtime.astray(what)
        if exchange is not None:
            exchange.request_reset(what)
            client.reset(asking.stream, codes.INTERNAL_ERROR)
        return False

    def whole(self) -> None:
        """All of the request is here."""
        if self.exchange is not None:
            self.exchange.request_whole()

    def passed(self) -> None:
        """All of the request was passed on."""
        if self.state == _DONE:
            self._finish()

    # --- what the server says -----------------------------------------------------------------------------------------

    def answered(self, head: ResponseHead) -> None:
        """Pass the final head on."""
        if self.exchange is None or not self.advance(_HEAD):
            return
        asking = self.asking
        self.status = head.status
        self.exchange.edit_response(head.headers)
        if asking.grpc and head.end:
            self.grpc_status = grpc_status(head.headers)
        if asking.head.protocol and self._consented(head):
            return
        self.client.send_response(asking.stream, head.status, head.reason, head.headers, head.end)
        if head.end:
            self._done()

    def data(self, data: bytes, end: bool) -> None:
        """Pass a piece of the body on."""
        n = len(data)
        self.size += n
        client, asking = self.client, self.asking
        client.send_data(asking.stream, data, end)
        if end:
            self._done()
        elif n:
            self._owed += n
            if client.congested(asking.stream, self.exchange):  # type: ignore[arg-type]
                asking.up.stop_reading()  # type: ignore[union-attr]
            else:
                asking.up.consumed(asking.call.stream, self._owed)  # type: ignore[union-attr]
                self._owed = 0

    def trailers(self, headers: Headers) -> None:
        """Pass the end of the answer on."""
        asking = self.asking
        if asking.grpc:
            self.grpc_status = grpc_status(headers)
        strip_own(headers)
        self.client.send_trailers(asking.stream, headers)
        self._done()

    def hand_back(self) -> None:
        """Let the server send on, unless the client is still behind."""
        asking = self.asking
        up = asking.up
        if self.exchange is None or up is None or self.client.congested(asking.stream, self.exchange):
            return
        if self._owed:
            up.consumed(asking.call.stream, self._owed)
            self._owed = 0
        up.read_on()

    def _done(self) -> None:
        if self.advance(_END) and self.asking.state != _RAW:
            self._finish()

    def _finish(self) -> None:
        if self.exchange is not None:
            self.exchange.finish()

    # --- informational responses and tunnels --------------------------------------------------------------------------

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on, not too many of them; 101 opens a tunnel."""
        self._interim += 1
        if self._interim > self.asking.runtime.bounds.interim_responses:
            # Nothing holds their server back: without a bound they would pile up before a client that does not read.
            self.asking.runtime.metrics.events.of("interim_overflow").value += 1
            self.refuse(errors.BAD_UPSTREAM)
        elif head.status != 101:
            self.client.send_response(self.asking.stream, head.status, head.reason, head.headers, False)
        else:
            self._switched(head)

    def _switched(self, head: ResponseHead) -> None:
        """An HTTP/1 server agreed to an upgrade."""
        if not self._open_tunnel():
            return
        stream, client = self.asking.stream, self.client
        if client.h2 is None:
            client.send_response(stream, 101, head.reason, head.headers, False)
            client.tunnel_opened()
        else:
            client.send_response(stream, 200, b"", tunnel.established(head.headers), False)

    def _consented(self, head: ResponseHead) -> bool:
        """An HTTP/2 server agreed to an extended CONNECT: open the tunnel in the client's version."""
        asking, client = self.asking, self.client
        if asking.up is None or asking.up.h2 is None or not 200 <= head.status < 300 or head.end:
            return False
        if not self._open_tunnel():
            return True
        if client.h2 is None:
            client.send_response(asking.stream, 101, b"", tunnel.switched(asking.head, head.headers), False)
            client.tunnel_opened()
        else:
            client.send_response(asking.stream, head.status, b"", head.headers, False)
        return True

    def _open_tunnel(self) -> bool:
        if self.exchange is None or not self.advance(_SWITCH):
            return False
        self.status = 101
        self.exchange.switched()
        return self.attempt.switch() and self.asking.switch()

    # --- what we say --------------------------------------------------------------------------------------------------

    def broke(self, code: int) -> None:
        """Break off as the server did."""
        self.flag = flags.CONNECTION_ENDED if code == codes.CONNECT_ERROR else flags.RESET
        passed = codes.INTERNAL_ERROR if code in {codes.CONNECT_ERROR, codes.REFUSED_STREAM} else code
        self.client.reset(self.asking.stream, passed)
        self._finish()

    def refuse(self, refusal: errors.Refusal) -> None:
        """Answer in the server's place; after an answer began, breaking it off is all that is left."""
        if self.exchange is None:
            return
        client, asking = self.client, self.asking
        self.attempt.cancel()
        self.flag = refusal.flag
        asking.runtime.metrics.errors.of(refusal.word).value += 1
        if self.state != _NONE:
            client.reset(asking.stream, codes.INTERNAL_ERROR)
            self._finish()
            return
        self.advance(_HEAD)
        if refusal is errors.CONNECT_FAILED and not self.attempt.tries and client.takes_refusals:
            # Nothing of it reached the app; the caller's sidecar asks another endpoint (decision 0013).
            self.status = refusal.status
            client.reset(asking.stream, codes.REFUSED_STREAM)
            self._finish()
            return
        if asking.grpc:
            self.status, self.grpc_status = 200, refusal.grpc_status
            client.send_response(asking.stream, 200, b"", refusal.grpc_headers, True)
        else:
            self.status = refusal.status
            bare = asking.head.method == b"HEAD"
            client.send_response(asking.stream, refusal.status, b"", refusal.headers, bare)
            if not bare:
                client.send_data(asking.stream, refusal.body, True)
        self.advance(_END)
        self._finish()

    def give(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer what a stage says."""
        if self.exchange is None or not self.advance(_HEAD):
            return
        self.status = status
        self.exchange.edit_response(headers)
        stream = self.asking.stream
        alone = not body or self.asking.head.method == b"HEAD"
        self.client.send_response(stream, status, b"", headers, alone)
        if not alone:
            self.client.send_data(stream, body, True)
            self.size = len(body)
        self.advance(_END)
        self._finish()
