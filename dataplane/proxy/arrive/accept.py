"""A connection from its first moment until it is known what it speaks and who takes it.

In: accepted streams, captured (inbound, outbound) or of a bound listener. Out: each handed over with its first bytes, to
`HttpDownstream` or a `Relay`. Refuses, with a reset, a count and one log line: what no filter chain is for (STRICT), what
was not redirected here but dialled directly, and unknown destinations where the mesh says so. Looks at bytes only where
the answer depends on them. While a client says nothing, the server is asked: if it speaks first, nobody need wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from dataplane.finding import Finding, Found
from dataplane.net.original import original_destination
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.net.timers import Timer
from dataplane.protocol import client_hello, detect
from dataplane.proxy.arrive import standing
from dataplane.proxy.arrive.handshake import Http, secure
from dataplane.proxy.arrive.standing import Seen
from dataplane.proxy.relay.relay import Relay
from dataplane.proxy.stages.order import bars, of_connections
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.listeners import RAW, TLS, ChainTable, ListenerTable
from meshapi import xds

GREETING_SECONDS: Final = 0.05
"""Silence of a client after which the server is dialled to learn whether it speaks first."""
QUIET_SECONDS: Final = 3600.0
"""Silence of a client after which its connection is closed where only the client can speak first."""

_HTTP = frozenset(("http/1.0", "http/1.1"))
_HTTP2 = frozenset(("h2c",))
_NOTHING: frozenset[str] = frozenset()
_LONGEST_METHOD = 24
_log = logging.getLogger("tulle.proxy")


class Acceptor:
    """Takes accepted streams of one worker; its three methods are what listeners are given."""

    __slots__ = ("_own_ports", "http", "inbound_name", "original", "runtime")

    def __init__(self, runtime: Runtime, http: Http, inbound_name: str = "", own_ports: tuple[int, ...] = ()) -> None:
        self.original: Callable[[Stream], tuple[str, int] | None] = self._ask_kernel
        """Where a redirected connection was going."""
        self.runtime = runtime
        self.http = http
        self.inbound_name = inbound_name
        """The listener of everything this pod accepts."""
        self._own_ports = frozenset(own_ports)
        """The sidecar's capture ports: a connection that was really going there is a loop."""

    def inbound(self, stream: Stream) -> None:
        """Take a connection somebody made to this pod."""
        if self._aim(stream):
            table = self.runtime.tables.listeners.get(self.inbound_name)
            if table is None:
                self.refuse(stream, "no_configuration", "there is no configuration yet")
            else:
                Arrival(self, stream, table).begin()

    def outbound(self, stream: Stream) -> None:
        """Take a connection this pod's app makes."""
        if not self._aim(stream) or stream.target is None:
            return
        name = xds.outbound_listener(*stream.target)
        table = self.runtime.tables.listeners.get(name)
        discovery = self.runtime.discovery
        if table is not None:
            if discovery is not None:
                discovery.touch(name)
            Arrival(self, stream, table).begin()
        elif discovery is None:
            self._unknown(stream)
        else:
            arrival = Arrival(self, stream, None)
            stream.pause()
            discovery.want(name, lambda finding: self._learned(arrival, name, finding))

    def bound(self, name: str) -> Callable[[Stream], None]:
        """Return what takes the connections of a listener that is bound by configuration."""

        def take(stream: Stream) -> None:
            table = self.runtime.tables.listeners.get(name)
            if table is None:
                self.refuse(stream, "no_configuration", f"listener {name!r} is gone")
                return
            stream.target = stream.local
            if table.noun.use_original_dst:
                stream.target = self.original(stream) or stream.target
            Arrival(self, stream, table).begin()

        return take

    def refuse(self, stream: Stream, reason: str, detail: str) -> None:
        """Reset a connection, count it, say so."""
        self.runtime.metrics.refused.of(reason).value += 1
        target = stream.target or ("", 0)
        _log.info("connection from %s port %d to %s port %d refused: %s", *stream.peer, *target, detail)
        stream.abort()

    def admits(self, stream: Stream, chain: ChainTable) -> bool:
        """Have a connection whose peer is known pass the chain's stages; one they do not let in is refused."""
        for stage in of_connections(chain):
            if why := stage.on_connection(self.runtime, stream):
                self.refuse(stream, stage.word, why)
                return False
        return True

    def _learned(self, arrival: Arrival, name: str, finding: Finding) -> None:
        """The control plane has answered, or cannot be asked. What it has rules for that nobody here can read may not pass without."""
        stream = arrival.stream
        arrival.table = self.runtime.tables.listeners.get(name)
        if not stream.open:
            return
        if finding.found is Found.REFUSED:
            self.refuse(stream, "refused_configuration", f"its configuration was refused: {finding.sentence}")
        elif arrival.table is None:
            self._unknown(stream)
        else:
            stream.resume()
            arrival.begin()

    def _unknown(self, stream: Stream) -> None:
        """Pass a connection outside the mesh through as it is, unless the mesh forbids that."""
        if self.runtime.tables.unknown_denied:
            self.refuse(
                stream, "unknown_destination", "the destination is not known and the mesh's outbound policy is deny"
            )
        else:
            Relay(self.runtime, None, stream.target or stream.local).start(stream, b"")

    def _ask_kernel(self, stream: Stream) -> tuple[str, int] | None:
        return original_destination(self.runtime.poller.kernel, stream.fd, ":" in stream.peer[0])

    def _aim(self, stream: Stream) -> bool:
        """Find out where a captured connection was going; False when it was refused."""
        local = stream.local
        stream.target = self.original(stream) or local
        if stream.target == local or stream.target[1] in self._own_ports:
            self.refuse(stream, "not_redirected", "it was made to the sidecar's own port")
            return False
        return True


class Arrival(Receiver):
    """One connection on its way to whoever takes it."""

    __slots__ = (
        "_acceptor",
        "_decided",
        "_first",
        "_needed",
        "_relay",
        "_seen",
        "_silent",
        "_timer",
        "stream",
        "table",
    )

    def __init__(self, acceptor: Acceptor, stream: Stream, table: ListenerTable | None) -> None:
        self._acceptor = acceptor
        self.stream = stream
        self.table = table
        self._first = b""
        self._timer: Timer | None = None
        self._relay: Relay | None = None
        self._decided = False
        self._silent: ChainTable | None = None
        """Of plain TCP: where a client's connection goes that says nothing."""
        self._needed = 0
        self._seen = standing.UNSEEN
        stream.receiver = self

    def begin(self) -> None:
        """Go on at once where the chain does not depend on bytes, else wait for some."""
        table = self.table
        if table is None:
            return
        if not table.undecided(self._port):
            chain = table.match(self._port, RAW, _NOTHING, "")
            if chain is None or not chain.http or chain.codec != "auto":
                self._take(chain)
                return
        silent = table.match(self._port, RAW, _NOTHING, "")
        if silent is None:
            self._wait(table.noun.detect_timeout, self._timed_out)
        elif silent.http or silent.tls is not None:
            self._wait(QUIET_SECONDS, self.stream.close)
        else:
            self._silent = silent
            self._wait(GREETING_SECONDS, self._ask_server)

    @property
    def _port(self) -> int:
        target = self.stream.target
        return target[1] if target is not None else 0

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._acceptor.runtime.timers.after(seconds or QUIET_SECONDS, then)

    # --- bytes or silence ---------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Look whether what has arrived is enough to know."""
        fresh = not self._first
        first = self._first = data if fresh else self._first + data
        if len(first) < self._needed and (self._needed != detect.LONGEST_LINE or b"\n" not in data):
            return
        kind = detect.classify(first)
        if kind == detect.TLS:
            hello = client_hello.parse(first)
            if hello.state == client_hello.COMPLETE:
                offered = frozenset(name.decode("latin-1") for name in hello.alpn)
                self.stream.server_name = hello.server_name.decode("latin-1")
                self._match(TLS, offered, self.stream.server_name)
            elif hello.state == client_hello.NOT_TLS:
                self._match(RAW, _NOTHING, "")
        elif kind == detect.HTTP1:
            self._match(RAW, _HTTP, "")
        elif kind == detect.HTTP2:
            self._match(RAW, _HTTP2, "")
        elif kind == detect.OPAQUE:
            self._match(RAW, _NOTHING, "")
        if not self._decided:
            self._expect(first, kind)
            if fresh and self.table is not None and self._silent is None:
                self._wait(self.table.noun.detect_timeout, self._timed_out)

    def _expect(self, first: bytes, kind: int) -> None:
        """Note how much must be there before looking again is any use, so that single bytes cost little."""
        if kind == detect.TLS and len(first) < detect.LONGEST_LINE:
            self._needed = 5 + int.from_bytes(first[3:5], "big")
        elif kind == detect.NEED_MORE and first[0] != 0x16 and len(first) > _LONGEST_METHOD:
            self._needed = detect.LONGEST_LINE
        if self._needed <= len(first):
            self._needed = len(first) + 1

    def ended(self) -> None:
        """The client ended before it was known: what there is goes where silence goes, nothing at all only where silence is no end."""
        if self._first or self._silent is not None:
            self._match(RAW, _NOTHING, "")
        else:
            self._stop()
            self.stream.close()

    def lost(self, reason: str) -> None:  # noqa: ARG002 - of Receiver; whatever the reason, nobody waits for it any more
        """The client is gone."""
        self._stop()

    def _ask_server(self) -> None:
        """The client is silent: dial the server, so that it can speak first; the client still may until the time-out."""
        if self._silent is not None and self.table is not None:
            self._wait(self.table.noun.detect_timeout, self._timed_out)
            # What the rules refuse reaches no server: the time-out closes it, unless its bytes take it elsewhere.
            if not bars(self._silent, self.stream):
                self._relay = Relay(self._acceptor.runtime, self._silent, self.stream.target or self.stream.local)
                self._relay.seen = standing.BYTES
                self._relay.listen_first(self)

    def server_spoke(self) -> None:
        """The server speaks first: relay."""
        self._match(RAW, _NOTHING, "")

    def server_failed(self) -> None:
        """No server there; the client's first bytes decide, or the time-out."""
        self._relay = None

    def _timed_out(self) -> None:
        self._timer = None
        self._match(RAW, _NOTHING, "")

    # --- the decision -------------------------------------------------------------------------------------------------

    def _match(self, transport: str, alpn: frozenset[str], sni: str) -> None:
        if self.table is None or self._decided:
            return
        # Its first bytes may have taken long to come: what is in force now counts.
        self.table = self._acceptor.runtime.tables.listeners.get(self.table.name, self.table)
        chain = self.table.match(self._port, transport, alpn, sni)
        self._seen = Seen(transport, alpn)
        self._take(chain, http2=alpn is _HTTP2, seen=transport)

    def _take(self, chain: ChainTable | None, *, http2: bool = False, seen: str = "") -> None:
        """Hand the connection to who is to have it."""
        self._decided = True
        relay, self._relay = self._relay, None
        self._stop()
        stream, first, acceptor = self.stream, self._first, self._acceptor
        if chain is None:
            what = "TLS of no mesh" if seen == TLS else "plaintext"
            acceptor.refuse(stream, "no_filter_chain", f"no filter chain takes {what} on port {self._port}")
        elif chain.tls is not None:
            secure(acceptor, chain, stream, first)
        elif not acceptor.admits(stream, chain):
            pass
        elif chain.http:
            if chain.codec != "auto":
                http2 = chain.codec == "http2"
            self._speak_http(chain, stream, http2)
        elif relay is not None and chain is self._silent:
            relay.attach(stream, first)
            relay = None
        else:
            opaque = Relay(acceptor.runtime, chain, stream.target or stream.local)
            opaque.seen = self._seen
            opaque.start(stream, first)
        if relay is not None:
            relay.drop()

    def _speak_http(self, chain: ChainTable, stream: Stream, http2: bool) -> None:
        receiver = self._acceptor.http(self._acceptor.runtime, stream, chain, http2, chain.tls is not None)
        stream.receiver = receiver
        if self._first:
            receiver.received(self._first)
        if stream.at_end:
            receiver.ended()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._relay is not None:
            relay, self._relay = self._relay, None
            relay.drop()
