"""What is spoken over xDS: the types in push order, and the grammar of resource names.

The messages are Envoy's own v3 ones; only the names are Tulle's. `docs/xds-contract.md` says what each resource holds.
A name is made and taken apart here and nowhere else.
"""

from __future__ import annotations

import enum
from typing import NewType

from meshapi.addresses import canonical

ResourceName = NewType("ResourceName", str)
"""A resource's name, unique within its type."""

_PREFIX = "type.googleapis.com/"


class Type(enum.Enum):
    """Resource types; the order is make-before-break push order (xDS protocol, "Eventual consistency")."""

    SECRET = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
    CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
    ENDPOINTS = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
    ROUTES = _PREFIX + "envoy.config.route.v3.RouteConfiguration"

    __hash__ = object.__hash__  # by identity: enum's own is a call in Python

    @property
    def url(self) -> str:
        """The type URL as it stands in discovery requests."""
        return self.value


PUSH_ORDER: tuple[Type, ...] = tuple(Type)

TRUST_BUNDLE = ResourceName("trust")
"""Secret with the roots peers are checked against (a validation context)."""
IDENTITY = ResourceName("identity")
"""Secret name of the sidecar's own certificate; it never travels, each sidecar resolves it itself."""
PASSTHROUGH = ResourceName("passthrough")
"""Cluster: the connection's original destination, untouched plaintext."""
INVALID = ResourceName("invalid")
"""Cluster that is never there: the weight share of a backendRef that does not resolve answers 500."""

SIDECAR_AGENT = "tulle-proxy"
"""What a sidecar calls itself in its node."""
CONTRACT = 2
"""The level of what is written here: it rises when the control plane begins to write what sidecars of the level before do not read, and a
sidecar is never written more than its own (0 is one that does not say)."""
NODE_CONTRACT = "contract"
NODE_PASSED = "passed_over"
"""Keys of a sidecar's node metadata: the level it reads, and the fields it has passed over, with commas between."""
NODE_ANSWERS = "answers"
"""The same: `true` of a sidecar that answers questions."""
QUESTION = "type.tulle.dev/question"
"""Type URL of a question to one sidecar, on its delta ADS stream. A resource's name is the question's, its value the path and query of one of `ASKABLE`. It is not
acknowledged: the answer is a call of its own, so that no configuration waits for it."""
ASKABLE = ("/config", "/control-plane", "/reach", "/route")
"""Paths of a sidecar's admin port that are the pod's own, and the control plane may ask for."""
ANSWER_TO = "tulle-question"
"""Metadata of a call of `ANSWER`: the question's name."""

UNCHANGEABLE = frozenset(
    (
        *("connection", "content-length", "host", "http2-settings", "keep-alive", "proxy-connection", "te"),
        *("transfer-encoding", "upgrade"),
    )
)
"""Headers no modification changes: how a message is framed, what is between two hops (RFC 9110, section 7.6.1), and the host, which a
rewrite changes. Each hop writes its own."""
METADATA = "tulle.dev"
"""Key of Tulle's own facts in the `metadata` of listeners, clusters and endpoints."""
TRANSPORT_MATCH = "envoy.transport_socket_match"
MESH_MATCH = "tulle.dev/mesh"
"""Endpoint metadata key (in TRANSPORT_MATCH) and value "true" of endpoints that speak mesh TLS."""

_LONGEST_PORT = 5
"""Digits of a port."""

# ADS and CA methods, as gRPC paths.
ADS_DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
ADS_SOTW = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
CA_ISSUE = "/tulle.ca.v1.CertificateAuthority/Issue"
ANSWER = "/tulle.asking.v1.ControlPlane/Answer"
"""A sidecar's answer, client streaming: a JSON object with `status` and `kind` first, then pieces of the body as they are."""


class BadNameError(ValueError):
    """A resource name outside the grammar; the message says what was expected."""


def inbound_listener(namespace: str, pod: str) -> ResourceName:
    """Name the listener that holds everything a pod accepts: `inbound/<namespace>/<pod>`."""
    return ResourceName(f"inbound/{namespace}/{pod}")


def parse_inbound_listener(name: str) -> tuple[str, str]:
    """Return (namespace, pod) of an inbound listener's name; raises BadNameError."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "inbound" or not all(parts):
        raise BadNameError(f"{name!r} is not of the form inbound/<namespace>/<pod>")
    return parts[1], parts[2]


def outbound_listener(ip: str, port: int) -> ResourceName:
    """Name the listener for one destination address: `outbound/<ip>:<port>`, IPv6 in brackets."""
    host = f"[{ip}]" if ":" in ip else ip
    return ResourceName(f"outbound/{host}:{port}")


def parse_outbound_listener(name: str) -> tuple[str, int]:
    """Return (ip, port) of an outbound listener's name, the ip in canonical form; raises BadNameError."""
    head, _, address = name.partition("/")
    host, _, port = address.rpartition(":")
    try:
        if head != "outbound" or not 0 < int(port) < 65536:
            raise ValueError(port)
        return canonical(host.strip("[]")), int(port)
    except ValueError:
        raise BadNameError(f"{name!r} is not of the form outbound/<ip>:<port>") from None


def service_cluster(namespace: str, service: str, port: int) -> ResourceName:
    """Name a service port's cluster, its endpoints and its producer routes: `<namespace>/<service>:<port>`."""
    return ResourceName(f"{namespace}/{service}:{port}")


def port_of(text: str) -> int | None:
    """Read a port as names have it; None for what is none, or is written otherwise (`080`, digits of other scripts)."""
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_PORT or str(int(text)) != text:
        return None
    return int(text)


def parse_service_cluster(name: str) -> tuple[str, str, int]:
    """Return (namespace, service, port) of a service port's name; raises BadNameError."""
    namespace, _, rest = name.partition("/")
    service, _, port = rest.partition(":")
    number = port_of(port)
    if not namespace or not service or number is None or "/" in rest:
        raise BadNameError(f"{name!r} is not of the form <namespace>/<service>:<port>")
    return namespace, service, number


def consumer_routes(namespace: str, service: str, port: int, client_namespace: str) -> ResourceName:
    """Name the routes one client namespace uses instead of the producer's: `<namespace>/<service>:<port>@<client>`."""
    return ResourceName(f"{namespace}/{service}:{port}@{client_namespace}")


def pod_cluster(namespace: str, pod: str, port: int) -> ResourceName:
    """Name the cluster of one pod reached by its own IP: `pod/<namespace>/<pod>:<port>`."""
    return ResourceName(f"pod/{namespace}/{pod}:{port}")


def inbound_cluster(port: int) -> ResourceName:
    """Name the cluster of the pod's own app at one port: `inbound:<port>`."""
    return ResourceName(f"inbound:{port}")
