"""Services and their endpoints, as the cluster states them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from controlplane.model.meta import Key


class Protocol(enum.Enum):
    """What is spoken on a port; AUTO when nobody declared it and the sidecar finds out by itself."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TLS = "tls"
    TCP = "tcp"
    AUTO = "auto"

    @property
    def is_http(self) -> bool:
        """Whether connections are taken for HTTP without looking."""
        return self in {Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC}

    @property
    def may_be_http(self) -> bool:
        """Whether HTTP routes can apply."""
        return self.is_http or self is Protocol.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """A TCP port of a Service."""

    port: int
    name: str = ""
    protocol: Protocol = Protocol.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A name for a set of endpoints."""

    key: Key
    ips: tuple[str, ...] = ()
    """ClusterIPs in canonical form; empty for headless and external Services."""
    others: tuple[str, ...] = ()
    """Further addresses at which the cluster reaches it: external IPs, and its load balancer's."""
    external: bool = False
    """An alias of a name outside the cluster (type ExternalName)."""
    local: bool = False
    """Callers reach the endpoints of their own node alone (internalTrafficPolicy)."""
    ports: tuple[ServicePort, ...] = ()
    unsupported: str = ""
    """The sentence of what it asks for and the mesh does not do."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses at which it is reached."""
        return self.ips + self.others

    def port(self, number: int) -> ServicePort | None:
        """Find a port by number."""
        return next((port for port in self.ports if port.port == number), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint:
    """One address of an EndpointSlice."""

    address: str
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    pod: Key | None = None
    node: str = ""
    zone: str = ""
    for_zones: tuple[str, ...] = ()
    """Zones whose callers it is meant for, as the cluster decided (hints); none where it did not."""
    for_nodes: tuple[str, ...] = ()
    """The same by node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    """Some of the endpoints of a Service, all on the same ports."""

    key: Key
    service: Key
    ports: tuple[tuple[str, int], ...] = ()
    """Port name and number; number 0 means the Service's own port."""
    endpoints: tuple[SliceEndpoint, ...] = ()
