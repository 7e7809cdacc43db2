"""One worker's engine: its poller, its tables, its listening sockets; the same in the first worker and in all others.

In: settings, configurations, sockets' addresses. Out: connections served. Where its configuration comes from is none of its
business (`app`, `worker`).
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable

from dataplane import views
from dataplane.config import SidecarConfig
from dataplane.drain import Drain
from dataplane.net.dial import Dialer
from dataplane.net.listen import ListenLimits, ListenSocket, bind, bind_both
from dataplane.net.poller import IN, Poller
from dataplane.net.stream import Stream
from dataplane.net.tls import TlsContexts
from dataplane.protocol.limits import Limits
from dataplane.proxy.arrive.accept import Acceptor
from dataplane.proxy.client.downstream import HttpDownstream
from dataplane.proxy.worker.bounds import Bounds
from dataplane.proxy.worker.runtime import Runtime
from dataplane.settings import Settings
from dataplane.tables.compile import compile_tables
from dataplane.telemetry import chatter
from dataplane.telemetry.accesslog import AccessLog
from dataplane.telemetry.output import Output
from dataplane.telemetry.recent import Recent
from meshapi import xds

_MANY = 1 << 30
_FOR_CONNECTIONS = 0.9
"""Share of the descriptors; what is left is for what connections need besides."""

ADMIN_CONNECTIONS = 100
"""Of a client address at the admin port. No bound in all, for who fills it would keep the kubelet out."""


def descriptors() -> int:
    """Raise what this process may open to what it may raise it to; return that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else _MANY


class Engine:
    """Everything of a worker that touches traffic."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.poller = Poller(asyncio.get_running_loop())
        self.runtime = runtime = Runtime(self.poller, bounds=_bounds(settings))
        runtime.dialer = Dialer(self.poller)
        runtime.tls = TlsContexts()
        lines = runtime.metrics.events.of("log_lines_dropped")
        chatter.bound(logging.getLogger("tulle.proxy"), runtime.clock, lines)
        runtime.captures = settings.mesh is not None
        self.listeners: list[ListenSocket] = []
        self._essential: list[ListenSocket] = []
        """Of those, the ones that are never closed to anybody: health, metrics."""
        runtime.hold = self._hold
        watch = runtime.overload
        watch.limit = min(filter(None, (watch.limit, settings.memory_limit)), default=0) // settings.concurrency
        self.drain = Drain(
            begin=runtime.drain,
            wanted=lambda: runtime.wanted,
            open=lambda: views.connections(runtime),
            back=self._undrain,
            seconds=settings.drain_seconds,
            shut=self.shut,
        )
        self.recent = Recent(runtime.metrics, runtime.timers)
        self._room = int(descriptors() * _FOR_CONNECTIONS)
        self._seed = seed
        self._bound: set[str] = set()
        self._logging = ""
        self.log_requests(settings.access_log)

    def start(self) -> None:
        """Take captured connections, if this sidecar is one of a mesh; a file's listeners come with it."""
        self.runtime.start()
        self.recent.start()
        settings = self.settings
        if settings.mesh is not None:
            ports = (settings.outbound_port, settings.inbound_port)
            inbound = xds.inbound_listener(settings.mesh.identity.namespace, settings.mesh.pod)
            acceptor = Acceptor(self.runtime, HttpDownstream, inbound, (*ports, settings.admin_port))
            # All of this pod's own connections come from one address.
            self.listen(bind_both(settings.outbound_port), acceptor.outbound, per_source=0)
            self.listen(bind_both(settings.inbound_port), acceptor.inbound)

    def install(self, config: SidecarConfig) -> None:
        """Put a configuration in force, and listen where it (a file's) says so."""
        self.runtime.tls.secrets = config.secrets
        self.runtime.install(compile_tables(config, self.runtime.tables, seed=self._seed))
        if self.settings.mesh is not None:
            return
        acceptor = Acceptor(self.runtime, HttpDownstream)
        for listener in config.listeners.values():
            if listener.bind and listener.name not in self._bound:
                self._bound.add(listener.name)
                self.listen([bind(listener.address, listener.port)], acceptor.bound(listener.name))

    def opened(self) -> set[str]:
        """Name the destinations of all connections open here; of what came in it makes names that are no destination's."""
        streams = (one for one in self.poller.watched() if isinstance(one, Stream))
        return {
            xds.outbound_listener(*target) for target in {stream.target for stream in streams} if target is not None
        }

    def listen(self, sockets: list[socket.socket], take: Callable[..., None], *, per_source: int | None = None) -> None:
        """Accept connections for `take`, as many as the settings allow."""
        bound = self.settings.max_connections_per_source if per_source is None else per_source
        limits = ListenLimits(connections=min(self.settings.max_connections, self._room), per_source=bound)
        self.listeners += [ListenSocket(self.poller, one, take, limits) for one in sockets]

    def listen_always(self, sockets: list[socket.socket], take: Callable[..., None]) -> None:
        """Accept connections for `take` whatever the load: how else would anybody see it. Of one address they are not without end."""
        limits = ListenLimits(connections=0, per_source=ADMIN_CONNECTIONS)
        made = [ListenSocket(self.poller, one, take, limits) for one in sockets]
        self._essential += made
        self.listeners += made

    def shut(self) -> None:
        """Take the connections that wait, and no more; from here on nobody's connection is kept."""
        for listener in self._traffic():
            listener.ready(IN)
            listener.close()
        self.runtime.drain_rest()

    def _traffic(self) -> list[ListenSocket]:
        return [listener for listener in self.listeners if listener not in self._essential]

    def _hold(self, held: bool) -> None:
        for listener in self._traffic():
            listener.pause(held)

    def log_requests(self, form: str) -> None:
        """Write a line for each request (`json`, `text`), or none."""
        if form != self._logging:
            self._logging = form
            if self.runtime.access_log is not None:
                self.runtime.access_log.flush()
            share = self.settings.access_log_share
            write = Output(1).write
            self.runtime.access_log = AccessLog(form, write, self.poller.timers, share=share) if form else None

    def close(self) -> None:
        """Let go of everything at once."""
        if self.runtime.access_log is not None:
            self.runtime.access_log.flush()
        for listener in self.listeners:
            listener.close()
        self.runtime.stop()
        self.poller.close()

    def _undrain(self) -> None:
        self.runtime.draining = False


def _bounds(settings: Settings) -> Bounds:
    """What settings say about single connections."""
    heads = Limits(header_bytes=settings.max_header_bytes, header_count=settings.max_header_count)
    return Bounds(protocol=heads)
