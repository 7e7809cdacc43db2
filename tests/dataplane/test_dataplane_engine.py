"""A worker's engine: what it says of its connections."""

from __future__ import annotations

import socket

from dataplane.engine import Engine
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.settings import Settings


async def test_destinations_of_open_connections_are_named_whatever_became_of_them() -> None:
    """HTTP, opaque bytes or not known yet: as long as the app's connection is open, so is its destination."""
    engine = Engine(Settings(), 0)
    streams = []
    for target in (("10.96.0.2", 80), ("10.96.0.2", 80), ("fd00::1", 443), None):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = Stream(engine.poller, ours.detach(), Receiver(), ("10.0.0.1", 4000))
        stream.target = target
        stream.start()
        streams.append((stream, theirs))
    assert engine.opened() == {"outbound/10.96.0.2:80", "outbound/[fd00::1]:443"}
    for stream, _ in streams[1:]:
        stream.abort()
    engine.poller.turn()

    assert engine.opened() == {"outbound/10.96.0.2:80"}
    engine.close()
    for _, theirs in streams:
        theirs.close()
