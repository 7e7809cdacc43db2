"""The node's network and each pod's: a namespace without a name, a pair of links, one routed address (decision 0001).

A namespace is held by a descriptor of this process and by the pod's own processes, so when they end the kernel takes it away
with all in it. In: nothing but the order to attach. Out: `PodNetwork`. It must be used from the main thread: making and entering a
namespace is a property of a thread, and each method comes back to the node before it returns.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.runtime import linux
from devcluster.runtime.netlink import Netlink

POD_CIDR: Final = "10.244.0.0/16"
SERVICE_CIDR: Final = "10.96.0.0/16"
NODE_NAME: Final = "devcluster"
"""The name of the one node."""
NODE_ADDRESS: Final = "172.18.0.2"
"""Where programs of the node are found by pods: API server, cluster DNS, host network pods."""
API_PORT: Final = 6443
DNS_ADDRESS: Final = "10.96.0.10"
"""The ClusterIP of cluster DNS."""
API_ADDRESS: Final = "10.96.0.1"
"""The ClusterIP of the API server."""
_GATEWAY: Final = "169.254.1.1"
"""On the node's end of every pair, so a pod has a neighbour to route by; no other address is needed there."""
_THREAD_NAMESPACE: Final = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """A pod's network namespace."""

    address: str
    descriptor: int
    """Holds the namespace; -1 for a pod on the node's network."""


NOWHERE: Final = PodNetwork(address="", descriptor=-1)
"""The network of a pod that has none yet."""


class Network:
    """The node namespace this process lives in, and what hangs on it."""

    def __init__(self) -> None:
        self._free = [str(address) for address in ipaddress.ip_network(POD_CIDR).hosts()][1:]
        self._free.reverse()
        self._returned: list[str] = []
        self._count = 0
        self._netlink: Netlink | None = None
        self._node = -1
        self.reuse_at_once = False
        """Whether the address of the last pod that ended goes to the next."""

    def start(self) -> None:
        """Set the node's own links, addresses and routing; raises OSError with a sentence."""
        self._node = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        self._netlink = netlink = Netlink()
        loopback = socket.if_nametoindex("lo")
        netlink.up(loopback)
        netlink.add_address(loopback, NODE_ADDRESS)
        netlink.add_route(loopback, SERVICE_CIDR, source=NODE_ADDRESS)
        _sysctl("net/ipv4/ip_forward", "1")
        for scope in ("all", "default"):
            _sysctl(f"net/ipv4/conf/{scope}/rp_filter", "0")
        _sysctl("net/ipv4/ip_unprivileged_port_start", "0")

    def stop(self) -> None:
        """Let go of the descriptors."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
            os.close(self._node)

    def attach(self) -> PodNetwork:
        """Make the network of a new pod."""
        assert self._netlink is not None
        linux.unshare(linux.CLONE_NEWNET)
        try:
            namespace = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
            inside = Netlink()
            _sysctl("net/ipv4/ip_unprivileged_port_start", "0")
        finally:
            linux.setns(self._node, linux.CLONE_NEWNET)
        self._count += 1
        name, address = f"pod{self._count}", self._take()
        self._netlink.add_veth(name, "eth0", namespace)
        link = socket.if_nametoindex(name)
        self._netlink.up(link)
        self._netlink.add_address(link, _GATEWAY)
        # Where an address is used again, the kernel may not have taken the former link apart yet.
        self._netlink.add_route(link, f"{address}/32", source=NODE_ADDRESS, replace=True)
        with self._inside(namespace):
            loopback, own = socket.if_nametoindex("lo"), socket.if_nametoindex("eth0")
        inside.up(loopback)
        inside.up(own)
        inside.add_address(own, address)
        inside.add_route(own, f"{_GATEWAY}/32")
        inside.add_route(own, via=_GATEWAY)
        inside.close()
        return PodNetwork(address=address, descriptor=namespace)

    def detach(self, pod: PodNetwork) -> None:
        """Let go of a pod's network: with its last process gone the kernel takes it apart, in its own time."""
        if pod.descriptor < 0:
            return
        os.close(pod.descriptor)
        self._returned.append(pod.address)

    def socket_in(self, pod: PodNetwork) -> socket.socket:
        """Give a TCP socket that lives in the pod's namespace."""
        if pod.descriptor < 0:
            return socket.socket()
        with self._inside(pod.descriptor):
            return socket.socket()

    @staticmethod
    def host() -> PodNetwork:
        """Give the network of a pod with `hostNetwork`."""
        return PodNetwork(address=NODE_ADDRESS, descriptor=-1)

    def _take(self) -> str:
        """An address comes back into use as late as possible, so nobody meets a stranger where a pod just was, unless that is wanted."""
        if self.reuse_at_once and self._returned:
            return self._returned.pop()
        if not self._free:
            self._free, self._returned = self._returned[::-1], []
        return self._free.pop()

    @contextmanager
    def _inside(self, namespace: int) -> Iterator[None]:
        linux.setns(namespace, linux.CLONE_NEWNET)
        try:
            yield
        finally:
            linux.setns(self._node, linux.CLONE_NEWNET)


def _sysctl(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value)
