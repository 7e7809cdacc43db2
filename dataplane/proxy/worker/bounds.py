"""What traffic may cost the sidecar as a whole, beside the bounds of one connection in `protocol.limits`.

In: values from settings. Out: a frozen `Bounds`. Refuses nothing: zero means no bound where said so.
"""

from __future__ import annotations

from dataplane.protocol.limits import Limits
from meshapi.records import field, record, replace


@record
class Bounds:
    """Bounds over all connections; times in seconds."""

    protocol: Limits = field(default_factory=Limits)
    """Of every downstream and upstream connection."""
    mesh: Limits = field(init=False)
    """Of a connection from another sidecar, which adds lines of its own to what its app may send."""
    active_requests: int = 100_000
    """Requests at once; more are shed with 503 `overloaded`."""
    replay_bytes: int = 64 * 1024
    """Request body bytes kept so a request the server never saw can be sent again."""
    pending_bytes: int = 256 * 1024
    """Bytes waiting for a peer before the other side is no longer read; what is below the `low_watermark` of `protocol` counts as that."""
    interim_responses: int = 100
    """Informational responses (1xx) to one request."""
    copy_seconds: float = 15.0
    """What the answer to a mirrored request may take where its route sets no time-out."""
    connect_tries: int = 3
    """Endpoints tried before giving up on connecting, unless there are others of which nobody has heard ill."""
    set_aside: tuple[float, float] = (1.0, 30.0)
    """How long an endpoint that failed is passed over before it is tried again: at first, and at most."""
    client_streams: int = 1024
    """HTTP/2 streams a client may have open at once, as announced; clients let the next one wait, often without a word. Sidecars are
    told what `protocol` says: they open another connection."""
    upstream_streams: int = 100
    """HTTP/2 streams on one connection to a server before there is another one; with as many a stream's window is whole."""
    upstream_idle: float = 55.0
    """How long an unused connection to a server is kept; below the usual 60 s of servers."""
    upstream_life: float = 3600.0
    """Age at which a connection to a server takes no more requests."""
    keepalive: tuple[float, float] = (10.0, 10.0)
    """Between sidecars: silence with requests open after which a PING asks whether the peer lives, and time for its answer."""
    head_timeout: float = 10.0
    """From the first byte of a request head to its last."""
    drain_seconds: float = 30.0
    """How long the rest of an HTTP/1 request's body is read after its answer."""
    sweep: float = 5.0
    """How often idle limits are looked at."""

    def of_client(self, streams: int, *, mesh: bool) -> Limits:
        """Return the limits of a client's HTTP/2 connection; `streams` is the listener's word, 0 for none."""
        if not streams and mesh:
            return self.mesh
        if mesh:  # requests of many clients: one that is not read must not stall another's
            return replace(self.mesh, concurrent_streams=min(streams, self.mesh.enough))
        return replace(self.protocol, concurrent_streams=streams or self.client_streams)

    def of_server(self, streams: int) -> Limits:
        """Return the limits of an HTTP/2 connection to a server; `streams` is the cluster's word, 0 for none.

        Of less than usual they are the usual ones: the cluster may say more before the connection ends.
        """
        return self.protocol.of_ours(max(streams, self.upstream_streams))

    def __post_init__(self) -> None:
        """Derive what depends on others."""
        object.__setattr__(self, "mesh", self.protocol.between_sidecars())
