"""Links, addresses and routes by rtnetlink: a pod's network in a millisecond, without a program run for it.

In: names, indexes and IPv4 addresses. Out: nothing, or the kernel's refusal as OSError with a sentence. A `Netlink` works in the
network namespace it was made in, wherever its thread goes later.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final

RTM_NEWLINK: Final = 16
RTM_NEWADDR: Final = 20
RTM_NEWROUTE: Final = 24
NLM_F_REQUEST: Final = 1
NLM_F_ACK: Final = 4
NLM_F_CREATE: Final = 0x400
NLM_F_EXCL: Final = 0x200
NLM_F_REPLACE: Final = 0x100
IFLA_IFNAME: Final = 3
IFLA_LINKINFO: Final = 18
IFLA_NET_NS_FD: Final = 28
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
VETH_INFO_PEER: Final = 1
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PREFSRC: Final = 7
RT_TABLE_MAIN: Final = 254
RTPROT_STATIC: Final = 4
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RTN_UNICAST: Final = 1
IFF_UP: Final = 1


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


class Netlink:
    """A route socket of one network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def add_veth(self, name: str, peer: str, namespace: int) -> None:
        """Make a pair of links: `name` here, `peer` in the network namespace behind the descriptor."""
        there = _link() + _attribute(IFLA_IFNAME, peer.encode() + b"\0")
        there += _attribute(IFLA_NET_NS_FD, struct.pack("=i", namespace))
        info = _attribute(IFLA_INFO_KIND, b"veth") + _attribute(IFLA_INFO_DATA, _attribute(VETH_INFO_PEER, there))
        body = _link() + _attribute(IFLA_IFNAME, name.encode() + b"\0") + _attribute(IFLA_LINKINFO, info)
        self._do(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"add link {name}")

    def up(self, index: int) -> None:
        """Set a link up."""
        self._do(RTM_NEWLINK, 0, _link(index, IFF_UP), f"set link {index} up")

    def add_address(self, index: int, address: str) -> None:
        """Give a link one address, without a network around it."""
        packed = socket.inet_aton(address)
        body = struct.pack("=BBBBi", socket.AF_INET, 32, 0, RT_SCOPE_UNIVERSE, index)
        body += _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed)
        self._do(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"add address {address}")

    def add_route(
        self, index: int, network: str = "", *, via: str = "", source: str = "", replace: bool = False
    ) -> None:
        """Route a network (`a.b.c.d/n`; the empty word is everything) by a link, directly or by a neighbour on it."""
        address, _, bits = network.partition("/")
        scope = RT_SCOPE_UNIVERSE if via else RT_SCOPE_LINK
        length = int(bits) if address else 0
        body = struct.pack(
            "=BBBBBBBBI", socket.AF_INET, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0
        )
        if address:
            body += _attribute(RTA_DST, socket.inet_aton(address))
        if via:
            body += _attribute(RTA_GATEWAY, socket.inet_aton(via))
        if source:
            body += _attribute(RTA_PREFSRC, socket.inet_aton(source))
        body += _attribute(RTA_OIF, struct.pack("=i", index))
        taken = NLM_F_REPLACE if replace else NLM_F_EXCL
        self._do(RTM_NEWROUTE, NLM_F_CREATE | taken, body, f"add route {network or 'default'}")

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            answer = self._socket.recv(65536)
            sequence, code = struct.unpack_from("=I", answer, 8)[0], struct.unpack_from("=i", answer, 16)[0]
            if sequence != self._sequence:
                continue
            if code:
                raise OSError(-code, f"{what}: {errno.errorcode.get(-code, '')} {os.strerror(-code)}")
            return
