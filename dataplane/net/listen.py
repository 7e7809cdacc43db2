"""Takes connections from listening sockets, some at a time, up to a limit in all and a limit a source.

In: an address and who gets the connections. Out: a `Stream` each, handed to `accepted`. Refuses connections beyond
the limits by closing them at once, counted by reason. When descriptors run out it stops taking any for a moment
instead of asking the kernel in a loop.
"""

import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

from dataplane.net.alive import keep_alive
from dataplane.net.poller import IN, Pollable, Poller
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from meshapi.records import record

ACCEPTS: Final = 64
"""Connections taken from one socket in a batch."""
BACKLOG: Final = 4096
RETRY_SECONDS: Final = 0.1
"""Pause after the process or the machine ran out of descriptors."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_log = logging.getLogger("tulle.net")


@record
class ListenLimits:
    """Bounds on connections accepted and not gone; zero is no bound."""

    connections: int = 100_000
    """Of the poller, dialled ones included."""
    per_source: int = 0
    """Of one client address."""


class ListenSocket(Pollable):
    """One listening socket."""

    __slots__ = ("_accepted", "_limits", "_paused", "_resting", "_socket", "address", "refused", "sources", "taken")

    def __init__(
        self,
        poller: Poller,
        listening: socket.socket,
        accepted: Callable[[Stream], None],
        limits: ListenLimits | None = None,
    ) -> None:
        super().__init__(poller, listening.fileno())
        self._socket = listening
        self._accepted = accepted
        self._limits = limits or ListenLimits()
        self._resting = False
        self._paused = False
        name = listening.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        self.taken = 0
        self.refused: dict[str, int] = {}
        """Connections closed at once, by reason."""
        self.sources: dict[str, int] = {}
        """Connections by client address, kept only under a limit a source."""
        poller.add(self, IN)

    def ready(self, mask: int) -> None:  # noqa: ARG002 - of Pollable; only IN is watched
        """Take what waits, up to the share of a batch; the kernel reports the rest again."""
        if self._resting or self._paused:
            return
        kernel = self.poller.kernel
        for _ in range(ACCEPTS):
            fd = kernel.accept(self.fd)
            if fd < 0:
                if kernel.error in _EXHAUSTED:
                    self._rest(kernel.error)
                if kernel.error != errno.ECONNABORTED:
                    return
                continue
            self._admit(fd, kernel.address)

    def _admit(self, fd: int, peer: tuple[str, int]) -> None:
        poller, limits = self.poller, self._limits
        reason = ""
        if limits.connections and poller.connections >= limits.connections:
            reason = "connections"
        elif limits.per_source and self.sources.get(peer[0], 0) >= limits.per_source:
            reason = "connections_per_source"
        if reason:
            self.refused[reason] = self.refused.get(reason, 0) + 1
            poller.kernel.close(fd)
            return
        self.taken += 1
        poller.kernel.nodelay(fd)
        stream = Stream(poller, fd, Receiver(), peer)
        if limits.per_source:
            self.sources[peer[0]] = self.sources.get(peer[0], 0) + 1
            stream.at_gone = self._released
        stream.start()
        try:
            self._accepted(stream)
        except Exception:  # noqa: BLE001 - the supervisor of accepting: this connection goes, the listener stays
            poller.failures += 1
            _log.exception("accepting a connection from %s port %d failed", *peer)
            stream.abort()

    def _released(self, peer: tuple[str, int]) -> None:
        left = self.sources.get(peer[0], 0) - 1
        if left > 0:
            self.sources[peer[0]] = left
        else:
            self.sources.pop(peer[0], None)

    def pause(self, paused: bool) -> None:
        """Leave connections to wait in the kernel for now, or take them again."""
        self._paused = paused
        if not self._resting:
            self._watch()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self.poller.kernel.change(self.fd, 0 if self._paused else IN)

    def close(self) -> None:
        """Take no more; what was taken goes on."""
        if self._socket.fileno() >= 0:
            self.poller.remove(self)
            self._socket.detach()

    def _rest(self, error: int) -> None:
        _log.warning("cannot accept connections for a moment: %s", errno.errorcode.get(error, error))
        self.refused["descriptors"] = self.refused.get("descriptors", 0) + 1
        self._resting = True
        self.poller.kernel.change(self.fd, 0)
        self.poller.timers.after(RETRY_SECONDS, self._wake)

    def _wake(self) -> None:
        self._resting = False
        self._watch()


def bind(address: str, port: int, *, backlog: int = BACKLOG, reuse_port: bool = True) -> socket.socket:
    """Open a listening TCP socket; workers share one port by SO_REUSEPORT."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own: mapped addresses would hide the original destination.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        keep_alive(made)
        made.bind((address, port))
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


def bind_both(port: int) -> list[socket.socket]:
    """Listen on all addresses of both families, or of IPv4 alone where there is no IPv6."""
    sockets = [bind("0.0.0.0", port)]
    try:
        sockets.append(bind("::", sockets[0].getsockname()[1]))
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            sockets[0].close()
            raise
    return sockets
