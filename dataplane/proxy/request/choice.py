"""Which endpoint a request goes to, and in which protocol.

In: its cluster, what was tried already. Out: the pool of an endpoint, or None when there is none to be had. An endpoint that was set
aside and whose time is over is tried by a connection nobody waits for, else by this very request.
"""

from __future__ import annotations

from dataplane.proxy.request.asking import Asking
from dataplane.proxy.server.pool import HTTP1, HTTP2, UPGRADE, Pool, pool_of
from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables import endpoints
from dataplane.tables.endpoints import ClusterTable, EndpointSlot

# Plain C integers when compiled.
_SPEAKS_HTTP1 = endpoints.HTTP1
_SPEAKS_HTTP2 = endpoints.HTTP2
_HTTP1 = HTTP1
_HTTP2 = HTTP2
_UPGRADE = UPGRADE


def choose(asking: Asking, cluster: ClusterTable, tried: list[EndpointSlot] | None) -> Pool | None:
    """Return the pool of the endpoint whose turn it is."""
    slot: EndpointSlot | None
    if cluster.original:
        target = asking.down.stream.target if asking.down is not None else None
        slot = cluster.at(target[0], target[1]) if target is not None else None
    else:
        runtime = asking.runtime
        slot = cluster.due(runtime.poller.now, runtime.set_aside) if tried is None else None
        if slot is None or _pool(asking, cluster, slot).probe():
            slot = cluster.pick(tried)
    return None if slot is None else _pool(asking, cluster, slot)


def another(
    runtime: Runtime, cluster: ClusterTable, tried: list[EndpointSlot] | None, last: EndpointSlot | None, tries: int
) -> bool:
    """Tell whether a request that could not be sent to `last` goes to another endpoint."""
    return last is not None and cluster.another(tried, last, tries, runtime.bounds.connect_tries)


def _pool(asking: Asking, cluster: ClusterTable, slot: EndpointSlot) -> Pool:
    """Return an endpoint's pool for this request's protocol."""
    which = _kind(asking, cluster, slot)
    pool = slot.http2 if which == _HTTP2 else slot.http1 if which == _HTTP1 else slot.upgrade
    return pool if pool is not None else pool_of(asking.runtime, cluster, slot, which)


def _kind(asking: Asking, cluster: ClusterTable, slot: EndpointSlot) -> int:
    protocol = cluster.protocol
    if asking.head.protocol:
        return _HTTP2 if protocol == _SPEAKS_HTTP2 and not slot.mesh else _UPGRADE
    if slot.mesh or protocol == _SPEAKS_HTTP2:
        return _HTTP2
    if protocol == _SPEAKS_HTTP1 or asking.http1_origin:
        return _HTTP1
    return _HTTP2


def look_ahead(asking: Asking, cluster: ClusterTable) -> None:
    """Spare the next request the wait for its connection."""
    slot = cluster.peek()
    if slot is not None:
        _pool(asking, cluster, slot).prepare()
