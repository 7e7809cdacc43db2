"""One worker's engine: its poller, its tables, its listening sockets; the same in the first worker and in all others.

In: settings, configurations, sockets' addresses. Out: connections served. Where its configuration comes from is none of its
business (`app`, `worker`).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from dataplane import views
from dataplane.config import SidecarConfig
from dataplane.drain import Drain
from dataplane.net.dial import Dialer
from dataplane.net.listen import Listener, bind, bind_both
from dataplane.net.poller import Poller
from dataplane.net.tls import TlsContexts
from dataplane.proxy.accept import Acceptor
from dataplane.proxy.downstream import HttpDownstream
from dataplane.proxy.runtime import Runtime
from dataplane.settings import Settings
from dataplane.tables.compile import compile_tables
from dataplane.telemetry.accesslog import AccessLog
from meshapi import xds


class Engine:
    """Everything of a worker that touches traffic."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.poller = Poller(asyncio.get_running_loop())
        self.runtime = runtime = Runtime(self.poller)
        runtime.dialer = Dialer(self.poller)
        runtime.tls = TlsContexts()
        self.listeners: list[Listener] = []
        self.drain = Drain(
            begin=runtime.drain,
            busy=lambda: runtime.active,
            open=lambda: views.connections(runtime),
            back=self._undrain,
            seconds=settings.drain_seconds,
        )
        self._seed = seed
        self._bound: set[str] = set()
        self._logging = ""
        self.log_requests(settings.access_log)

    def start(self) -> None:
        """Take captured connections, if this sidecar is one of a mesh; a file's listeners come with it."""
        self.runtime.start()
        settings = self.settings
        if settings.mesh is not None:
            ports = (settings.outbound_port, settings.inbound_port)
            inbound = xds.inbound_listener(settings.mesh.identity.namespace, settings.mesh.pod)
            acceptor = Acceptor(self.runtime, HttpDownstream, inbound, (*ports, settings.admin_port))
            self.listen(bind_both(settings.outbound_port), acceptor.outbound)
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

    def listen(self, sockets: list[socket.socket], take: Callable[..., None]) -> None:
        """Accept connections for `take`."""
        self.listeners += [Listener(self.poller, one, take) for one in sockets]

    def log_requests(self, form: str) -> None:
        """Write a line for each request (`json`, `text`), or none."""
        if form != self._logging:
            self._logging = form
            self.runtime.access_log = AccessLog(form, os.write, 1, self.poller.timers) if form else None

    def close(self) -> None:
        """Let go of everything at once."""
        for listener in self.listeners:
            listener.close()
        self.runtime.stop()
        self.poller.close()

    def _undrain(self) -> None:
        self.runtime.draining = False
