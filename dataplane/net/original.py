"""Where a connection the kernel redirected to us was going.

In: an accepted descriptor. Out: the address its client dialled, or None when the kernel did not redirect it. Refuses
nothing.
"""

import socket
import struct
from typing import Final

from dataplane.net.system import Kernel

SO_ORIGINAL_DST: Final = 80
"""Of netfilter, for IPv4 (level SOL_IP) and IPv6 (level SOL_IPV6) alike."""
_SOL_IP = 0
_SOL_IPV6 = 41


def original_destination(kernel: Kernel, fd: int, ipv6: bool) -> tuple[str, int] | None:
    """Ask connection tracking for the destination before the redirect."""
    if ipv6:
        raw = kernel.option(fd, _SOL_IPV6, SO_ORIGINAL_DST, 28)
        if raw is None or len(raw) < 24:
            return None
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), int(struct.unpack_from("!H", raw, 2)[0])
    raw = kernel.option(fd, _SOL_IP, SO_ORIGINAL_DST, 16)
    if raw is None or len(raw) < 8:
        return None
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), int(struct.unpack_from("!H", raw, 2)[0])
