"""A pod that calls itself through the mesh: how its sidecar's own connection is led back to its own inbound port.

The sidecar's connections are never captured, or they would loop; but one to the pod's own address that speaks mesh TLS
must reach the sidecar's inbound port and not the app. It carries a DSCP value on the loopback interface, and the capture
rules look for that. In: an address. Out: whether it is our own. Refuses nothing.
"""

import socket
from typing import Final

DSCP: Final = 42
"""Unassigned (RFC 2474); it never leaves the loopback interface."""
_TOS = DSCP << 2
_KEPT = 4096


class Hairpins:
    """Which addresses are our own; asked once each, a pod's do not change."""

    __slots__ = ("_own",)

    def __init__(self) -> None:
        self._own: dict[str, bool] = {}

    def mark(self, connecting: socket.socket, address: str) -> None:
        """Mark a socket that is about to connect to our own address with mesh TLS."""
        own = self._own.get(address)
        if own is None:
            if len(self._own) >= _KEPT:
                self._own.clear()
            own = self._own[address] = is_own(address)
        if own:
            if connecting.family == socket.AF_INET6:
                connecting.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _TOS)
            else:
                connecting.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS)


def is_own(address: str) -> bool:
    """Whether the kernel would talk to itself: it then takes the very address as its source. No packet is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            name: tuple[str, int] = probe.getsockname()
            return name[0] == address
    except OSError:
        return False
