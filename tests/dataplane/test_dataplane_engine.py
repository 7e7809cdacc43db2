"""A worker's engine: what it says of its connections."""

from __future__ import annotations

import socket

from dataplane.engine import ADMIN_CONNECTIONS, Engine
from dataplane.net.listen import bind
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


async def test_one_address_takes_not_every_descriptor_by_the_admin_port() -> None:
    """Connections that say nothing cost whoever reaches the pod a packet each; traffic and the kubelet's probes need the descriptors."""
    engine = Engine(Settings(), 0)
    taken: list[str] = []
    listening = bind("127.0.0.1", 0)
    engine.listen_always([listening], lambda stream: taken.append(stream.peer[0]))
    address = listening.getsockname()
    clients = [socket.create_connection(address, 5, ("127.0.0.2", 0)) for _ in range(ADMIN_CONNECTIONS + 20)]
    clients.append(socket.create_connection(address, 5, ("127.0.0.3", 0)))
    for _ in range(ADMIN_CONNECTIONS):
        engine.poller.turn()
        if taken.count("127.0.0.3"):
            break

    assert taken.count("127.0.0.2") == ADMIN_CONNECTIONS
    assert taken.count("127.0.0.3") == 1
    assert engine.listeners[-1].refused == {"connections_per_source": 20}
    engine.close()
    for client in clients:
        client.close()
