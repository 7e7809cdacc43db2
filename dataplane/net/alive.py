"""TCP keepalive: notices peers that went away without a word, and keeps idle connections known to what tracks them on their way.

In: a socket, listening (those it accepts inherit it) or about to connect. Out: options set. Refuses nothing. Kept by the kernel
(RFC 9293, section 3.8.4), so that a connection nobody uses costs us nothing; silence with requests open on HTTP/2 is noticed
earlier, by PING (`proxy.flow`).
"""

import socket
from typing import Final

IDLE_SECONDS: Final = 30
"""Silence after which the kernel probes; below the idle limits of NATs and cloud load balancers (350 s and less)."""
INTERVAL_SECONDS: Final = 10
PROBES: Final = 6
"""Unanswered probes after which the connection is dead: 90 s after the last sign of life."""


def keep_alive(one: socket.socket) -> None:
    """Have the kernel probe the peer of an idle connection."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_SECONDS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
