"""Takes note of how endpoints behave: the state is `tables.health`, what is here are the clock, the counters and the log.

In: a connection that failed or came about, a request that was answered or broken off. Out: counters, and a line in the log when an
endpoint is set aside or back (each at most once a back-off). Refuses nothing.
"""

from __future__ import annotations

import logging

from dataplane.proxy.worker.runtime import Runtime
from dataplane.tables.endpoints import EndpointSlot

_log = logging.getLogger("tulle.proxy")


def failed(runtime: Runtime, slot: EndpointSlot, cause: int, why: str) -> None:
    """An endpoint could not be connected to, or left a request without an answer."""
    now = runtime.poller.now
    if not slot.retired and slot.health.failed(now, cause, why, runtime.bounds.set_aside, runtime.dice()):
        runtime.metrics.events.of("endpoint_set_aside").value += 1
        pause = slot.health.until - now
        _log.info("%s port %d is passed over for %.1f s where others are well: %s", slot.address, slot.port, pause, why)


def connected(runtime: Runtime, slot: EndpointSlot) -> None:
    """There is a connection to an endpoint that had failed."""
    if slot.health.connected(runtime.poller.now):
        _back(runtime, slot)


def answered(runtime: Runtime, slot: EndpointSlot) -> None:
    """An endpoint that had failed answers a request."""
    if slot.health.answered():
        _back(runtime, slot)


def _back(runtime: Runtime, slot: EndpointSlot) -> None:
    runtime.metrics.events.of("endpoint_back").value += 1
    _log.info("%s port %d takes its turns again", slot.address, slot.port)
