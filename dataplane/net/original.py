"""What the kernel knows of a descriptor: its own address, the one its client dialled before the redirect to us, and how much has arrived.

In: a descriptor. Out: an address, or None when there was no redirect; a number of bytes. Refuses nothing.
"""

import fcntl
import socket
import struct
import termios
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


def local_address(fd: int) -> tuple[str, int]:
    """Ask the kernel for the address a socket is bound to."""
    borrowed = socket.socket(fileno=fd)
    try:
        name = borrowed.getsockname()
        return (name[0], name[1]) if isinstance(name, tuple) else ("", 0)
    finally:
        borrowed.detach()


def arrived(fd: int) -> int:
    """Ask the kernel how many bytes wait to be received."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0])
