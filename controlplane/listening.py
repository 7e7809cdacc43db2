"""Sockets the control plane listens on: both families, where the kernel has both, so that IPv4-only, IPv6-only and dual-stack clusters all reach it.

In: a host, empty for every address there is, and a port, 0 for one the system chooses. Out: a bound socket, or the address as gRPC wants it. Raises OSError when the port is taken.
"""

from __future__ import annotations

import contextlib
import socket

EVERY = ""
"""Every address of both families."""
BACKLOG = 1024


def bound(host: str, port: int) -> socket.socket:
    """Listen on one socket; for EVERY on one of IPv6 that takes IPv4 as well, or on IPv4 alone where the kernel has no IPv6."""
    if host != EVERY:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # the family may be compiled in and switched off
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


def grpc_address(host: str, port: int) -> str:
    """Name an address for gRPC, which takes both families at `[::]` and falls back to IPv4 by itself."""
    host = host or "::"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
