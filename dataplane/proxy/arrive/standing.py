"""What becomes of an open connection when other tables are put in force.

In: the chain it was on, the tables now, and what is known of the connection. Out: one of three verdicts, and the chain it is
on from here. The question is what a connection like it would meet that came now; `_VERDICTS` says what follows from
the answer. Pure: nothing is told, closed or counted here (`runtime` looks at all connections, each acts on its own verdict).
"""

from __future__ import annotations

from typing import Final

from dataplane.config import TlsContext
from dataplane.net.stream import Stream
from dataplane.proxy.stages.order import bars
from dataplane.tables.compile import Tables
from dataplane.tables.listeners import RAW, TLS, ChainTable, ListenerTable
from meshapi import names, xds
from meshapi.records import record

FOLLOWS: Final = 0
"""Goes on, by the rules and routes that are in force now."""
ENDS_CALMLY: Final = 1
"""Is served by what it had until its time comes, within `SPREAD_SECONDS`; then it ends as in a drain, opaque bytes with a reset."""
ENDS_NOW: Final = 2
"""Is served no more: what is under way has `CUT_SECONDS`, opaque bytes none."""

SPREAD_SECONDS: Final = 10.0
"""Over how long the calm ends of one change are spread, so that clients do not all come anew at once."""
CUT_SECONDS: Final = 10.0
"""How long answers may still take on a connection that would not be let in any more."""

SAME: Final = "a chain of the same kind lets it in"
OTHER: Final = "what is there now speaks otherwise, or leads elsewhere"
REFUSED: Final = "it would not be let in"
UNKNOWN: Final = "the destination is not known any more"
UNREAD: Final = "requests are looked at there now, and nobody looks into its bytes"

_VERDICTS: Final = {
    SAME: FOLLOWS,
    OTHER: ENDS_CALMLY,
    REFUSED: ENDS_NOW,
    UNKNOWN: ENDS_CALMLY,
    # Nobody can be told within them, so that to end them loses what is under way; Kubernetes goes on as well.
    UNREAD: FOLLOWS,
}


@record(kw_only=False)
class Seen:
    """What a connection's first bytes showed."""

    transport: str
    alpn: frozenset[str]
    """What TLS agreed on or offered, or what plaintext was detected to be."""
    http: str = ""
    """The version spoken, `http1` or `http2`; empty for bytes nobody looks into."""
    looked: bool = True
    """Whether anybody looked at all: where one chain takes everything nobody does."""


HTTP1: Final = Seen(RAW, frozenset(("http/1.0", "http/1.1")), "http1")
HTTP2: Final = Seen(RAW, frozenset(("h2c",)), "http2")
BYTES: Final = Seen(RAW, frozenset())
UNSEEN: Final = Seen(RAW, frozenset(), looked=False)
_POSSIBLE: Final = (BYTES, HTTP1, HTTP2, Seen(TLS, frozenset()))
"""What bytes nobody looked at may be."""


def secured(stream: Stream, http: str = "") -> Seen:
    """Say what is known of a connection whose TLS ended here; on a carrier it is what it would be by itself."""
    alpn = names.ALPN_TCP if stream.alpn == names.ALPN_CARRIER else stream.alpn
    return Seen(TLS, frozenset((alpn,)) if alpn else frozenset(), http)


def judge(chain: ChainTable, tables: Tables, stream: Stream, seen: Seen) -> tuple[int, ChainTable]:
    """Return the verdict on a connection, and the chain it is on."""
    what, newer = meets(chain, tables, stream, seen)
    return _VERDICTS[what], newer


def meets(chain: ChainTable, tables: Tables, stream: Stream, seen: Seen) -> tuple[str, ChainTable]:
    """Say what a connection like this one would meet now, and the chain, where there is one that fits."""
    listener = tables.listeners.get(chain.listener.name)
    if listener is chain.listener:
        return SAME, chain
    if listener is None:  # not the inbound one: tables keep that when the pod's object went before its processes
        return REFUSED if tables.unknown_denied else UNKNOWN, chain
    port = (stream.target or stream.local)[1]
    if not seen.looked and listener.undecided(port):
        return UNREAD if _lets_in(listener, port, stream) else REFUSED, chain
    newer = listener.match(port, seen.transport, seen.alpn, stream.server_name)
    if newer is None or bars(newer, stream) or _proof(newer.tls) != _proof(chain.tls):
        return REFUSED, chain
    fits = newer.http == chain.http and (not newer.http or newer.codec in {"auto", seen.http} or not seen.http)
    if fits:
        return SAME, newer
    if newer.authorization is not None:
        return REFUSED, chain  # its requests could not be judged meanwhile
    return OTHER if chain.http else UNREAD, chain


def judge_passed(target: tuple[str, int], tables: Tables, stream: Stream) -> int:
    """Return the verdict on a connection to a destination that was not known when it came, and was not looked at.

    One that is known now is let go on, as Kubernetes does: it was opened while nobody could be asked, say, and nobody can be told
    within bytes that are not looked into, so that to end it loses a request.
    """
    listener = tables.listeners.get(xds.outbound_listener(*target))
    denied = tables.unknown_denied if listener is None else not _lets_in(listener, target[1], stream)
    return ENDS_NOW if denied else FOLLOWS


def _lets_in(listener: ListenerTable, port: int, stream: Stream) -> bool:
    """Whether there is anything that bytes may be for which they are let in, and nobody need look into them."""
    taken = {listener.match(port, one.transport, one.alpn, stream.server_name) for one in _POSSIBLE} - {None}
    guarded = any(chain.authorization is not None for chain in taken if chain is not None)
    return not guarded and any(c.tls is None and not bars(c, stream) for c in taken if c is not None)


def _proof(tls: TlsContext | None) -> object:
    """What a peer had to show; whether it could show something else is not asked of an open connection."""
    return None if tls is None else (tls.require_client_certificate, tls.trust)
