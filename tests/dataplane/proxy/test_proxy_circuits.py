"""What a cluster is given at once: counted over all its endpoints, kept over pushes, told and counted when it is too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol, CircuitLimits, Cluster, RetryPolicy, TlsContext
from dataplane.net.receiver import Receiver
from dataplane.net.tls import TlsUnavailableError
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.connection import HttpConnection
from dataplane.proxy.request.call import Tried
from dataplane.proxy.request.replay import Replay
from dataplane.tables.compile import compile_tables
from dataplane.telemetry import flags
from meshapi.records import replace
from tests.dataplane.proxy.rig import Contexts, Peer, Rig, Speaker, cluster, config, everything, forward

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def bounded(*routes: Any, addresses: tuple[str, ...] = ("10.1.0.1", "10.1.0.2"), **limits: int) -> Any:
    return config(*routes, clusters=(replace(cluster(*addresses), limits=CircuitLimits(**limits)),))


def told(answer: bytes) -> bytes:
    return answer.partition(b"x-tulle-error: ")[2].partition(b"\r\n")[0]


def circuit(r: Rig) -> tuple[int, ...]:
    now = r.runtime.tables.clusters["c"].circuit
    return (now.requests, now.pending, now.connections, now.retries)


def lose(r: Rig, client: Peer) -> None:
    """Reset a client's connection (closing would be a half-close, after which it may still wait for its answer)."""
    at = r.clients.index(client)
    r.accepted[at].abort()
    r.turn()


def test_requests_are_bounded_over_all_endpoints(rig: MakeRig) -> None:
    """The third one is refused although its endpoint has one only."""
    r = rig(bounded(max_requests=2))
    first, _, third = (r.client().send(GET) for _ in range(3))

    assert told(third.read()) == b"requests_overflow"
    r.servers[0].send(OK)
    assert first.read() == OK
    assert told(r.client().send(GET).read()) == b""
    assert r.runtime.metrics.errors.of("requests_overflow").value == 1


def test_waiting_requests_are_bounded_over_all_endpoints(rig: MakeRig) -> None:
    """A request waits from when its connection is asked for until it is there."""
    r = rig(bounded(max_pending=2))
    r.dialer.held = True
    waiting = [r.client().send(GET) for _ in range(3)]

    assert [told(client.read()) for client in waiting] == [b"", b"", b"pending_overflow"]
    assert circuit(r) == (2, 2, 2, 0)
    lose(r, waiting[0])
    assert circuit(r)[1] == 1
    r.dialer.held = False
    r.turn()
    assert circuit(r)[1] == 0


def test_connections_are_bounded_but_every_endpoint_may_have_one(rig: MakeRig) -> None:
    """As in Envoy: a bound used up by one endpoint must not starve the other."""
    r = rig(bounded(max_connections=1))
    clients = [r.client().send(GET) for _ in range(4)]
    assert len(r.dialer.dials) == 2
    assert r.runtime.metrics.events.of("connections_overflow").value == 2
    for _ in range(2):
        for server in r.servers:
            server.send(OK)

    assert [client.read() for client in clients] == [OK] * 4
    assert len(r.dialer.dials) == 2


@pytest.mark.parametrize("protocol", [AppProtocol.HTTP1, AppProtocol.HTTP2])
def test_wait_for_a_connection_ends_when_connecting_would_have(rig: MakeRig, protocol: AppProtocol) -> None:
    """The route has no time-out, and a long answer may take for ever; who came later waits on for its own time."""
    only = replace(cluster("10.1.0.1"), limits=CircuitLimits(max_connections=1), connect_timeout=0.3, protocol=protocol)
    r = rig(config(clusters=(only,)))
    first = r.client().send(GET)
    if protocol is AppProtocol.HTTP2:
        Speaker(r.servers[0], Http2Server(Limits(concurrent_streams=1))).pump()
    second = r.client().send(GET)
    r.run(0.15)
    third = r.client().send(GET)
    r.run(0.2)
    assert (told(second.read()), third.read()) == (b"connection_wait_timeout", b"")
    assert circuit(r) == (2, 1, 1, 0)
    r.run(0.2)

    assert told(third.read()) == b"connection_wait_timeout"
    assert r.runtime.metrics.events.of("connection_wait_timeouts").value == 2
    assert first.read() == b""
    assert circuit(r) == (1, 0, 1, 0)


def test_connection_that_becomes_free_in_time_serves_who_waits(rig: MakeRig) -> None:
    """Also one that gave up before its time is no more than gone."""
    only = replace(cluster("10.1.0.1"), limits=CircuitLimits(max_connections=1), connect_timeout=0.3)
    r = rig(config(clusters=(only,)))
    first = r.client().send(GET)
    gone = r.client().send(GET)
    r.run(0.1)
    second = r.client().send(GET)
    lose(r, gone)
    r.servers[0].send(OK)
    assert first.read() == OK
    r.servers[0].send(OK)
    r.run(0.5)

    assert second.read() == OK
    assert r.runtime.metrics.events.of("connection_wait_timeouts").value == 0


class NoCertificate(Contexts):
    """As when the workload's certificate is over."""

    def client(self, noun: TlsContext, alpn: tuple[str, ...] = (), identity: str = "") -> Any:
        raise TlsUnavailableError("the certificate is over")


@pytest.mark.parametrize("protocol", [AppProtocol.HTTP1, AppProtocol.HTTP2])
def test_wait_ends_in_time_where_no_further_connection_can_be_begun(rig: MakeRig, protocol: AppProtocol) -> None:
    """There is one that may become free, so the request waits as if there were a bound."""
    r = rig(config(clusters=(secured(protocol),)))
    first = r.client().send(GET)
    if protocol is AppProtocol.HTTP2:
        Speaker(r.servers[0], Http2Server(Limits(concurrent_streams=1))).pump()
    r.runtime.tls = NoCertificate()
    second = r.client().send(GET)
    assert second.read() == b""
    r.run(0.4)

    assert told(second.read()) == b"connection_wait_timeout"
    assert (len(r.dialer.dials), first.read()) == (1, b"")
    assert circuit(r) == (1, 0, 1, 0)


def test_busy_connection_serves_all_who_wait_where_no_further_one_can_be_begun(rig: MakeRig) -> None:
    """One after the other; without any connection a request fails at once."""
    r = rig(config(clusters=(secured(AppProtocol.HTTP1),)))
    clients = [r.client().send(GET)]
    r.runtime.tls = NoCertificate()
    clients += [r.client().send(GET) for _ in range(8)]
    for client in clients:
        r.servers[0].send(OK)
        assert client.read() == OK
    r.servers[0].close()

    assert told(r.client().send(GET).read()) == b"upstream_connect_failed"


class Broken(Tried):
    """A request with a defect, whatever it is told."""

    over = False

    def __init__(self) -> None:
        self.ends: list[str] = []

    def connected(self, up: Receiver) -> None:
        raise ValueError(up)

    def unconnected(self, reason: str, detail: str) -> None:
        raise ValueError(detail)

    def failed(self, what: str) -> None:
        self.ends.append(what)
        self.over = True


@pytest.mark.parametrize("how", ["served", "late", "lost"])
def test_defect_in_one_that_waited_ends_no_other(rig: MakeRig, how: str) -> None:
    """Neither the one whose end made room, in whose turn it shows, nor those that wait behind."""
    only = replace(cluster("10.1.0.1"), limits=CircuitLimits(max_connections=1), connect_timeout=0.3)
    r = rig(config(clusters=(only,)))
    first = r.client().send(GET)
    broken = Broken()
    r.runtime.tables.clusters["c"].slots[0].http1.ask(broken)
    other = r.client().send(GET)
    if how == "served":
        r.servers[0].send(OK)
        assert first.read() == OK
        r.servers[0].send(OK)
        assert other.read() == OK
    elif how == "late":
        r.run(0.4)
        assert told(other.read()) == b"connection_wait_timeout"
        assert not first.ended
    else:
        r.dialer.refused.add("10.1.0.1")
        r.servers[0].close()
        assert told(other.read()) == b"upstream_connect_failed"

    assert len(broken.ends) == 1
    assert circuit(r)[1] == 0
    assert r.poller.failures == 1
    r.poller.failures = 0  # the one that was planted


class Torn(Replay):
    """A body with a defect."""

    def send(self, up: HttpConnection, stream: int, whole: bool) -> None:
        raise ValueError(up, stream, whole)


def test_request_with_a_defect_that_shows_in_another_ones_turn_ends(rig: MakeRig) -> None:
    """It alone, with its client; nothing of it is left."""
    r = rig(config(clusters=(replace(cluster("10.1.0.1"), limits=CircuitLimits(max_connections=1)),)))
    first, broken = r.client().send(GET), r.client().send(POST)
    (call,) = r.runtime.tables.clusters["c"].slots[0].http1.pending
    call.asking.kept = Torn()
    r.runtime.strict = False
    r.servers[0].send(OK)

    assert (first.read(), broken.read()) == (OK, b"")
    assert broken.ended
    assert circuit(r)[:2] == (0, 0)
    assert r.runtime.metrics.events.of("exchange_astray").value == 1
    r.poller.failures = 0  # the one that was planted


def secured(protocol: AppProtocol) -> Cluster:
    tls = TlsContext(sni="x", alpn=("http/1.1", "h2"))
    return replace(cluster("10.1.0.1", protocol=protocol), tls=tls, connect_timeout=0.3)


def test_counts_survive_a_push_and_new_bounds_reach_what_is_there(rig: MakeRig) -> None:
    """A push is no way round a bound."""
    r = rig(bounded(max_requests=2, max_connections=1))
    for _ in range(2):
        r.client().send(GET)
    r.runtime.install(compile_tables(bounded(max_requests=3), r.runtime.tables))
    assert circuit(r)[0] == 2
    third, fourth = r.client().send(GET), r.client().send(GET)

    assert (told(third.read()), told(fourth.read())) == (b"", b"requests_overflow")
    assert len(r.dialer.dials) == 3


def test_all_is_given_back(rig: MakeRig) -> None:
    """However requests end."""
    r = rig(bounded(addresses=("10.1.0.1",)))
    answered, given_up, broken = (r.client().send(GET) for _ in range(3))
    r.servers[0].send(OK)
    answered.read()
    lose(r, given_up)
    r.servers[2].close()
    broken.read()
    assert circuit(r) == (0, 0, 1, 0)
    r.servers[0].close()

    assert circuit(r) == (0, 0, 0, 0)


def test_retry_budget_grows_with_the_requests(rig: MakeRig) -> None:
    """Half of four requests may be retries although one may be in any case; what is more is passed on."""
    policy = RetryPolicy(on=frozenset({"5xx"}), attempts=5, backoff=(9.0, 9.0))
    limits: dict[str, Any] = {"max_retries": 1, "retry_percent": 50.0}
    r = rig(bounded(everything(forward(retry=policy)), addresses=("10.1.0.1",), **limits))
    clients = [r.client().send(GET) for _ in range(4)]
    for server in r.servers:
        server.send(BAD)

    assert [client.read() for client in clients] == [b"", b"", BAD, BAD]
    assert r.runtime.metrics.events.of("retries_overflow").value == r.counted(503, flags.OVERFLOW) == 2


def test_retries_at_once_are_bounded(rig: MakeRig) -> None:
    """Beyond the bound the failure is passed on: retries must not be what keeps a service down."""
    policy = RetryPolicy(on=frozenset({"5xx"}), attempts=5, backoff=(0.0, 0.0))
    r = rig(bounded(everything(forward(retry=policy)), addresses=("10.1.0.1",), max_retries=1))
    first, second = r.client().send(GET), r.client().send(GET)
    for server in r.servers:
        server.send(BAD)
    assert second.read() == BAD
    assert r.runtime.metrics.events.of("retries_overflow").value == 1
    assert circuit(r)[3] == 1
    r.run(0.05)
    next(server for server in r.servers if server.read() or not server.over).send(OK)
    for server in r.servers[1:]:
        server.send(OK)

    assert first.read() == OK
    assert circuit(r)[3] == 0
