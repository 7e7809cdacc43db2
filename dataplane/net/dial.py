"""Makes connections: at once a stream to write to, later `opened()` or `lost(reason)`.

In: an address, a receiver, a TLS setup or none, a time-out that covers the handshake too. Out: a stream. Refuses
nothing itself: what cannot work is told by `lost` with a reason that says which part failed (see `stream`).
"""

import errno
import socket

from dataplane.net.alive import keep_alive
from dataplane.net.hairpin import Hairpins
from dataplane.net.poller import Poller
from dataplane.net.reasons import of_connecting
from dataplane.net.receiver import Receiver
from dataplane.net.stream import Stream
from dataplane.net.tls import ClientTls
from dataplane.net.tls_stream import TlsStream


class Dialer:
    """Connects from this poller."""

    __slots__ = ("_hairpins", "_poller")

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._hairpins = Hairpins()

    def dial(
        self, address: str, port: int, receiver: Receiver, *, tls: ClientTls | None = None, timeout: float = 1.0
    ) -> Stream:
        """Begin to connect to a numeric address; returns at once."""
        connecting, error = self._begin(address, port, tls is not None)
        peer = (address, port)
        poller = self._poller
        stream = (
            Stream(poller, connecting, receiver, peer)
            if tls is None
            else TlsStream(poller, connecting, receiver, peer, tls)
        )
        if error in {0, errno.EINPROGRESS}:
            poller.kernel.nodelay(connecting)
            stream.start(connecting=True, timeout=timeout)
        else:
            stream.stillborn(of_connecting(error), f"{address} port {port}: {errno.errorcode.get(error, error)}")
        return stream

    def _begin(self, address: str, port: int, secure: bool) -> tuple[int, int]:
        """Make a socket and connect; returns its descriptor (-1 without one) and the error number."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as failure:
            return -1, failure.errno or errno.EIO
        try:
            if secure:
                self._hairpins.mark(made, address)
            keep_alive(made)
            error = made.connect_ex((address, port))
        except OSError:
            error = errno.EINVAL
        return made.detach(), error
