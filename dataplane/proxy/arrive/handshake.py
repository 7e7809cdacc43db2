"""A connection whose filter chain is known and whose TLS handshake goes on; then what was agreed on says who takes it.

In: a stream whose hello is read, and the chain it led to. Out: handed over, as a connection in plain would be, with its peer's identity.
Refuses, with a reset and a count, where there is no certificate to show yet, and what the tables of the moment when it is through
would not take.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.net.tls import TlsUnavailableError
from dataplane.net.tls_stream import TlsStream
from dataplane.protocol import detect
from dataplane.proxy.arrive import standing
from dataplane.proxy.arrive.carried import Carried, Gate, spoken
from dataplane.proxy.relay.carrier import Carrier
from dataplane.proxy.relay.relay import Relay
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.listeners import ChainTable
from meshapi import names

Http = Callable[[Runtime, Stream, ChainTable, bool, bool], Receiver]
"""`HttpDownstream(runtime, stream, chain, http2, secure)`."""

_HTTP2_ALPN: Final = frozenset((names.ALPN_H2, "h2"))
_log = logging.getLogger("tulle.proxy")


class Door(Gate, Protocol):
    """What the acceptor does beside."""

    http: Http


def secure(door: Door, chain: ChainTable, stream: Stream, first: bytes) -> None:
    """Terminate TLS; the chain decides what comes after the handshake."""
    if chain.tls is None:
        return
    try:
        setup = door.runtime.tls.server(chain.tls, spoken(chain))
    except TlsUnavailableError as error:
        door.refuse(stream, "no_certificate", str(error))
        return
    waiting = Handshake(door, chain, setup.context)
    secured = TlsStream(door.runtime.poller, stream.fd, waiting, stream.peer, setup)
    waiting.stream = secured
    secured.server_name = stream.server_name
    secured.take_over(stream, first)


class Handshake(Receiver):
    """A connection whose chain is known and whose TLS handshake is going on."""

    __slots__ = ("_chain", "_context", "_door", "stream")

    stream: Stream

    def __init__(self, door: Door, chain: ChainTable, context: object) -> None:
        self._door = door
        self._chain = chain
        self._context = context

    def opened(self) -> None:
        """The peer is known; go on with what it agreed to speak."""
        stream, runtime = self.stream, self._door.runtime
        verdict, chain = standing.judge(self._chain, runtime.tables, stream, standing.secured(stream))
        if verdict != standing.FOLLOWS or not self._door.admits(stream, chain):
            if verdict != standing.FOLLOWS:
                self._door.refuse(stream, "no_filter_chain", "its filter chain went during the TLS handshake")
            stream.receiver = Receiver()  # it is counted and told already
            return
        self._chain = chain
        if stream.alpn == names.ALPN_CARRIER:
            keeper = Carried(self._door, chain)
            keeper.relay(Carrier(runtime, stream, keeper, self._context, caller=False))
        elif not chain.http:
            relay = Relay(runtime, chain, stream.target or stream.local)
            relay.seen = standing.secured(stream)
            relay.start(stream, b"")
        elif stream.alpn or chain.codec != "auto":
            http2 = stream.alpn in _HTTP2_ALPN if chain.codec == "auto" else chain.codec == "http2"
            stream.receiver = self._door.http(runtime, stream, chain, http2, True)
        # Else the client offered no ALPN: its first bytes say which HTTP it is.

    def received(self, data: bytes) -> None:
        """Tell HTTP/2 by its preface where ALPN did not."""
        http2 = detect.PREFACE.startswith(data[: len(detect.PREFACE)])
        receiver = self._door.http(self._door.runtime, self.stream, self._chain, http2, True)
        self.stream.receiver = receiver
        receiver.received(data)

    def ended(self) -> None:
        """It said nothing at all."""
        self.stream.close()

    def lost(self, reason: str) -> None:
        """The handshake failed, or the client went away right after it."""
        self._door.runtime.metrics.refused.of(reason).value += 1
        _log.info("TLS with %s port %d: %s %s", *self.stream.peer, reason, self.stream.detail)
