"""The table: what happens to a mesh under load, what of it Kubernetes itself would fail, and what is asserted. Data, one row a happening.

The load runs all the time (`party.py call`): keep-alive HTTP/1.1, HTTP/2, gRPC calls and streams, lines over long TCP connections, pages of the shop. A request that fails
and that no `Loss` of the row covers fails the row; so does an assertion of its event, and a load that is not served again afterwards.

Kubernetes itself, without a mesh, fails:
- what is in hand at a process that is killed, and new connections to it until it is seen unready (the mesh takes another endpoint, where it is HTTP);
- a line under way on a TCP connection that the ending app closes (a keep-alive request and a gRPC stream are told to go elsewhere before);
- new connections to a Service that is not there, for as long as it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos import events
from tests.chaos.losses import Loss
from tests.chaos.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Something that happens."""

    name: str
    event: Callable[[World], None]
    fails: tuple[Loss, ...] = ()
    """What Kubernetes itself would fail."""
    why: str = "nothing"
    """The same in words."""
    asserted: str
    """Beside that no other request fails and all are served afterwards."""
    holds: frozenset[str] = frozenset()
    """What it needs for itself: rows that need different things may happen together."""
    short: bool = True
    """Whether the short draw may have it; the others take a minute and more in any form."""


def in_hand(*kinds: str, times: int = 1) -> tuple[Loss, ...]:
    """What each worker of the load has in hand at a process that is killed so many times."""
    workers = {"http1": 2, "http2": 2, "unary": 1, "stream": 2, "lines": 2, "other": 1, "page": 1}
    return tuple(
        Loss(kinds=frozenset({kind}), hows=frozenset({"cut", "answer"}), most=workers[kind] * times) for kind in kinds
    )


def lines(pods: int) -> tuple[Loss, ...]:
    """A line under way on each of the two TCP connections, for each pod that ends."""
    return (Loss(kinds=frozenset({"lines"}), most=2 * pods),)


ECHO = ("http1", "http2", "unary", "stream", "lines")
ENDING = "a line under way when the ending app closes its TCP connection"
KILLED = "what is in hand at the killed process"
PLANE, APPS, SERVICES, API, ALL = (frozenset({one}) for one in ("plane", "apps", "services", "api", "all"))

TABLE = (
    Row(
        name="each workload rolled",
        event=events.roll_each,
        fails=lines(8),
        why=ENDING,
        asserted="every rollout ends",
        holds=APPS,
    ),
    Row(
        name="control plane rolled",
        event=events.roll_control_plane,
        asserted="every sidecar is connected again",
        holds=PLANE,
    ),
    Row(
        name="control plane killed with no grace",
        event=events.kill_control_plane,
        asserted="every sidecar is connected again",
        holds=PLANE,
    ),
    Row(
        name="control plane away while pods roll",
        event=events.away_while_pods_roll,
        fails=lines(4),
        why=ENDING,
        asserted="opted-in new pods wait (Fail), what runs stays, the rollout ends afterwards and nobody is bare",
        holds=PLANE | APPS,
    ),
    Row(
        name="control plane scaled 1→3→1",
        event=events.scale_control_plane,
        asserted="all serve; the one that is left leads",
        holds=PLANE,
        short=False,
    ),
    Row(
        name="leader killed",
        event=events.kill_leader,
        asserted="another leads and writes",
        holds=PLANE,
        short=False,
    ),
    Row(
        name="API server stopped",
        event=events.stop_api,
        asserted="a change made afterwards is followed",
        holds=API | PLANE,
    ),
    Row(
        name="a service scaled 1→6→1",
        event=events.scale_service,
        asserted="the number of pods, at each step",
        holds=APPS,
    ),
    Row(
        name="a service deleted and recreated",
        event=events.recreate_service,
        fails=(Loss(kinds=frozenset({"other"}), hows=frozenset({"refused"}), most=10_000),),
        why="new connections to it while it is not there",
        asserted="a new connection reaches it at its new address",
        holds=SERVICES,
    ),
    Row(
        name="an endpoint killed while the control plane is away",
        event=events.kill_endpoint_while_away,
        fails=(*in_hand(*ECHO, times=2), Loss(kinds=frozenset({"lines"}), hows=frozenset({"refused"}), most=2)),
        why=f"{KILLED}, once when it is told to end and once when that was not enough, a second later, and new TCP connections in that second",
        asserted="the calls go on to the other endpoint, with the dead one still configured",
        holds=PLANE | APPS,
    ),
    Row(
        name="an idle destination let go, and rolled",
        event=events.roll_what_is_idle,
        asserted="the sidecar had let it go (after 5 s, not 600); the next request is answered by the new pod",
        holds=PLANE | APPS,  # time without a control plane is nobody's idle time
    ),
    Row(
        name="gRPC clients inside ending pods",
        event=events.end_a_grpc_client,
        asserted="every call an ending pod makes until its app ends",
        holds=frozenset(),
    ),
    Row(
        name="appProtocol changed",
        event=events.change_app_protocol,
        asserted="a new connection is served after each change",
        holds=SERVICES | APPS,  # HTTP that is declared opaque loses what opaque bytes lose where an app ends
    ),
    Row(
        name="routes and PERMISSIVE/STRICT flipped each second",
        event=events.flip,
        asserted="the route is accepted at the end",
        holds=SERVICES | PLANE,  # policies are refused while nobody validates them
    ),
    Row(
        name="uninstalled and installed again",
        event=events.reinstall,
        asserted="every sidecar trusts the new control plane and is connected",
        holds=PLANE
        | APPS,  # pods that come meanwhile are bare, and who answers at the address of such a one cannot be proved
        short=False,
    ),
    Row(
        name="sidecar killed",
        event=events.kill_sidecar,
        fails=in_hand(*ECHO),
        why=KILLED,
        asserted="its pod is ready again",
        holds=APPS,
    ),
    Row(
        name="app killed",
        event=events.kill_app,
        fails=(*in_hand(*ECHO), Loss(kinds=frozenset({"lines"}), hows=frozenset({"refused"}), most=60)),
        why=f"{KILLED}, and new TCP connections to it until it is unready or listens again",
        asserted="its pod is ready again",
        holds=APPS,
    ),
    Row(
        name="a pod deleted by force while called",
        event=events.delete_by_force,
        fails=lines(1),
        why=ENDING,
        asserted="its successor is ready",
        holds=APPS,
    ),
    Row(
        name="leaf certificates of the shortest life",
        event=events.shortest_lives,
        fails=lines(4),
        why=ENDING,
        asserted="certificates are renewed under the connections",
        holds=PLANE | APPS,
        short=False,
    ),
    Row(
        name="issuer exchanged",
        event=events.exchange_issuer,
        fails=lines(2),
        why=ENDING,
        asserted="the change goes by its stages until the new root signs; pods of the old and of the new issuer call each other",
        holds=PLANE | APPS,
        short=False,
    ),
    Row(
        name="addresses reused at once",
        event=events.reuse_addresses,
        fails=lines(4),
        why=ENDING,
        asserted="an address went to a pod of another workload; no answer is somebody else's",
        holds=APPS,
    ),
)
