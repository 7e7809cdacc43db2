"""The sidecar's frozen nouns: what it was told to do, in its own words.

`xds/decode.py` makes them from xDS messages (or `xds/file.py` from a file), `tables/` compiles them into what the hot
path reads. They say nothing about sockets or time and refuse nothing: decoding has checked them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from dataplane.permits import Authorization, Condition, Policy, Rules, StringMatch
from meshapi.records import field, record
from meshapi.table import Table

__all__ = ["Authorization", "Condition", "Policy", "Rules", "StringMatch"]  # also what stands here


class AppProtocol(enum.Enum):
    """How HTTP is spoken towards an endpoint outside mesh TLS; `AS_DOWNSTREAM` is the version the client spoke."""

    HTTP1 = "http/1.1"
    HTTP2 = "h2c"
    AS_DOWNSTREAM = "as downstream"


@record
class RouteMatch:
    """What a request must look like for its route to apply; all parts must hold."""

    path: str | None = None
    """The exact path, without query."""
    separated_prefix: str | None = None
    prefix: str | None = None
    regex: str | None = None
    method: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    """Lower-case header name and what its value must be."""
    query: tuple[tuple[str, StringMatch], ...] = ()


@record
class HeaderChange:
    """Header modifications in the order set, add, remove."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@record
class Target:
    """A cluster with its share of the traffic."""

    cluster: str
    weight: int = 1
    request_headers: HeaderChange | None = None
    response_headers: HeaderChange | None = None


@record
class RetryPolicy:
    """When and how often a request may be tried again."""

    on: frozenset[str] = frozenset()
    """Envoy's words: connect-failure, refused-stream, 5xx, gateway-error, reset, retriable-status-codes, unavailable ..."""
    codes: frozenset[int] = frozenset()
    attempts: int = 1
    """Retries after the first try."""
    per_try_timeout: float = 0.0
    per_try_idle: float = 0.0
    backoff: tuple[float, float] = (0.025, 0.25)
    """Seconds for a try, and for silence within one (0 is no bound); base and highest seconds between tries."""


@record
class Redirect:
    """An answer that sends the client elsewhere; None keeps the request's own part, `prefix` replaces the matched one."""

    status: int = 302
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    path: str | None = None
    prefix: str | None = None


@record
class DirectResponse:
    """An answer the proxy gives itself."""

    status: int
    body: bytes = b""


@record
class Forward:
    """Send the request on to one of the targets by weight."""

    targets: tuple[Target, ...]
    timeout: float = 0.0
    """Seconds from the end of the request to the end of its answer, with all tries; 0 is none."""
    idle: float | None = None
    duration: float | None = None
    """In place of the connection manager's `stream_idle` and `duration`."""
    grpc_duration: tuple[float, float] | None = None
    """A call that says `grpc-timeout` may take that long, but at most so many seconds (0 is no cap), and less so many."""
    upgrades: tuple[tuple[str, bool], ...] = ()
    """Lower-case protocols that may be upgraded to or not, in place of the connection manager's word."""
    retry: RetryPolicy | None = None
    prefix_rewrite: str | None = None
    regex_rewrite: tuple[str, str] | None = None
    host_rewrite: str | None = None
    mirrors: tuple[tuple[str, float], ...] = ()
    """Cluster and the fraction (0 to 1) of requests copied to it."""
    not_found_status: int = 503
    """Answered when the chosen cluster does not exist."""


@record
class Route:
    """One row of a route table."""

    match: RouteMatch
    action: Forward | Redirect | DirectResponse
    name: str = ""
    """Where it comes from, e.g. `HTTPRoute/shop/reviews#0`; shown by `tulle routes`."""
    request_headers: HeaderChange | None = None
    response_headers: HeaderChange | None = None


@record
class VirtualHost:
    """Routes for some authorities, tried in order."""

    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@record
class RouteTable:
    """An xDS RouteConfiguration."""

    name: str
    hosts: tuple[VirtualHost, ...]
    request_headers: HeaderChange | None = None
    response_headers: HeaderChange | None = None


@record
class TlsTrust:
    """Whom to believe: secrets by name or PEM given inline, and the names the peer must carry one of."""

    trust_secret: str = ""
    roots: bytes = b""
    """PEM; used when no secret is named."""
    uris: tuple[StringMatch, ...] = ()
    """Acceptable URI SANs; empty accepts any that the roots vouch for."""
    dns: tuple[StringMatch, ...] = ()


@record
class TlsContext:
    """One side of a TLS connection."""

    identity_secret: str = ""
    certificate: bytes = b""
    """PEM chain when the identity is given inline (file config)."""
    key: bytes = field(default=b"", repr=False)
    trust: TlsTrust | None = None
    alpn: tuple[str, ...] = ()
    sni: str = ""
    require_client_certificate: bool = False


@record
class HttpTimeouts:
    """Seconds; 0 is none. `life` is a connection's, `duration` a request's with its answer, `keepalive` as in `Cluster`."""

    idle: float = 3600.0
    stream_idle: float = 300.0
    request: float = 0.0
    request_headers: float = 0.0
    life: float = 0.0
    duration: float = 0.0
    keepalive: tuple[float, float] | None = None


@record
class PathRule:
    """What is done to a path before anything looks at it; it is forwarded so."""

    normalize: bool = False
    """Dot segments are resolved, backslashes are slashes."""
    merge_slashes: bool = False
    escaped_slashes: str = "keep"
    """`%2F` and `%5C`: `keep`, `reject` with 400, `unescape`, or `redirect` to what that gives."""


@record
class HttpFilter:
    """Treat the connection as HTTP."""

    route_name: str = ""
    """RouteTable by name (pushed), or else `routes` inline."""
    routes: RouteTable | None = None
    timeouts: HttpTimeouts = HttpTimeouts()
    max_requests: int = 0
    max_streams: int = 0
    """Requests of a connection's life, and streams a client's HTTP/2 connection may have open at once; 0 is no word on it."""
    paths: PathRule | None = None
    upgrades: tuple[tuple[str, bool], ...] = ()
    """As in `Forward`; a protocol that is not named is upgraded to."""
    use_remote_address: bool = False
    trusted_hops: int = 0
    codec: str = "auto"
    """`auto`, `http1` or `http2`."""
    authorization: tuple[Authorization, ...] = ()
    """Checked for every request, in order."""


@record
class TcpFilter:
    """Relay bytes."""

    targets: tuple[Target, ...]
    idle_timeout: float = 3600.0
    life: float = 0.0
    """How long a connection may live at most; 0 is no bound."""


@record
class ChainMatch:
    """Which connections a filter chain is for; unset parts match all. The most specific chain wins, in field order."""

    destination_port: int = 0
    transport: str = ""
    """`tls` or `raw_buffer`."""
    alpn: tuple[str, ...] = ()
    """For TLS what the ClientHello offers; for plaintext `http/1.0`, `http/1.1`, `h2c` as detected."""
    sni: tuple[str, ...] = ()


@record
class FilterChain:
    """What to do with the connections that match."""

    name: str
    match: ChainMatch
    filter: HttpFilter | TcpFilter
    tls: TlsContext | None = None
    authorization: tuple[Authorization, ...] = ()
    """Checked once a connection, in order."""


@record
class Listener:
    """An xDS Listener: inbound, one outbound destination, or (file config) a bound address."""

    name: str
    address: str
    port: int
    chains: tuple[FilterChain, ...]
    default_chain: FilterChain | None = None
    bind: bool = True
    detect: bool = False
    """Whether plaintext protocols are detected (http_inspector present)."""
    detect_timeout: float = 10.0
    """Seconds of silence after which a connection goes on without a detected protocol."""
    use_original_dst: bool = False
    inbound: bool = False
    metadata: tuple[tuple[str, object], ...] = ()
    """Tulle's own facts (docs/xds-contract.md), sorted by key."""


@record
class Endpoint:
    """One address of a cluster."""

    address: str
    port: int
    weight: int = 1
    priority: int = 0
    zone: str = ""
    mesh: bool = False
    """Speaks mesh TLS."""
    identity: str = ""
    """The SPIFFE URI it must show, when known."""
    labels: tuple[tuple[str, str], ...] = ()
    """Telemetry facts: pod, workload, app, version, namespace."""


@record
class Endpoints:
    """An xDS ClusterLoadAssignment: the endpoints that may be used."""

    name: str
    endpoints: tuple[Endpoint, ...]


@record
class CircuitLimits:
    """Bounds on what a cluster is given at once; of its requests `retry_percent` may be retries too, if that is more."""

    max_connections: int = 1024
    max_pending: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    retry_percent: float = 0.0


@record
class Cluster:
    """An xDS Cluster."""

    name: str
    kind: str
    """`eds`, `static` or `original_dst`."""
    endpoints_name: str = ""
    static: Endpoints | None = None
    connect_timeout: float = 1.0
    protocol: AppProtocol = AppProtocol.HTTP1
    tls: TlsContext | None = None
    """For every endpoint (file config), or, with `mesh_tls`, for none."""
    mesh_tls: TlsContext | None = None
    """For endpoints with `mesh` set."""
    policy: str = "round_robin"
    limits: CircuitLimits = CircuitLimits()
    max_streams: int = 0
    max_requests: int = 0
    """Streams a connection may carry at once (0 leaves it to the peer's SETTINGS), and in its life (0 is no bound)."""
    idle: float | None = None
    life: float | None = None
    """Seconds unused, or of age, after which a connection ends; 0 is never, None leaves it to the sidecar."""
    keepalive: tuple[float, float] | None = None
    """HTTP/2 PING: seconds of silence before it, and for its answer; None leaves it to the sidecar."""
    ahead: bool = False
    """With each request, connect to the endpoint whose turn is next as well."""
    labels: tuple[tuple[str, str], ...] = ()


@record
class Secret:
    """A trust bundle (roots) or, from a file, an identity (certificate and key), all PEM."""

    name: str
    roots: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


@record
class SidecarConfig:
    """Everything the sidecar holds, by name. A change makes a new one; nothing is edited in place. A `Table` knows what it differs in from the one before."""

    listeners: Mapping[str, Listener] = field(default_factory=Table)
    routes: Mapping[str, RouteTable] = field(default_factory=Table)
    clusters: Mapping[str, Cluster] = field(default_factory=Table)
    endpoints: Mapping[str, Endpoints] = field(default_factory=Table)
    secrets: Mapping[str, Secret] = field(default_factory=Table)
    refused_routes: Mapping[str, str] = field(default_factory=dict)
    """Route tables that came and could not be used, of which there is no form in force: why, as the control plane was told."""
    refused_clusters: Mapping[str, str] = field(default_factory=dict)
    """The same of clusters."""
