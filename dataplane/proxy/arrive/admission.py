"""The rules for connections, asked once when it is known who the peer is (network RBAC filters).

In: a chain and a stream. Out: why the stream is refused, or nothing; both are counted. Closing it is the caller's.
"""

from __future__ import annotations

from dataplane.net.stream import Stream
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.authz import ALWAYS_ALLOW, Guard
from dataplane.tables.conditions import Facts
from dataplane.tables.listeners import ChainTable


def refusal(runtime: Runtime, chain: ChainTable, stream: Stream) -> str:
    """Ask the rules and count; empty when they let the connection in."""
    guard = _guard(chain, stream)
    if guard is None:
        return ""
    events = runtime.metrics.events
    if guard.shadow is not None:
        events.of("rbac_shadow_allowed" if guard.shadow.state == ALWAYS_ALLOW else "rbac_shadow_denied").value += 1
    if guard.state == ALWAYS_ALLOW:
        events.of("rbac_allowed").value += 1
        return ""
    events.of("rbac_denied").value += 1
    return f"authorization: {guard.verdict}"


def bars(chain: ChainTable, stream: Stream) -> bool:
    """Tell whether the rules would refuse the connection, were it to take this chain."""
    guard = _guard(chain, stream)
    return guard is not None and guard.state != ALWAYS_ALLOW


def _guard(chain: ChainTable, stream: Stream) -> Guard | None:
    if chain.admission is None:
        return None
    facts = Facts(stream.peer[0], stream.target or stream.local, stream.identity, stream.server_name)
    return chain.admission.bind(facts)
