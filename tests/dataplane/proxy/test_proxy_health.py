"""An endpoint that dies costs what was under way to it, not every second request for as long as nobody says that it is dead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataplane.config import AppProtocol, ChainMatch, CircuitLimits, Endpoints, FilterChain, Listener, Target, TcpFilter
from dataplane.protocol import codes
from dataplane.protocol.events import RequestHead
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.relay.relay import Relay
from dataplane.proxy.request.explain import Question, explain
from dataplane.tables.compile import compile_tables
from dataplane.tables.health import IN_A_ROW
from meshapi.records import replace
from tests.dataplane.proxy.exchange_world import Driver
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
DEAD, LIVING = "10.1.0.2", "10.1.0.1"
SOON = (0.05, 0.1)


def ask(r: Rig) -> bytes:
    """One request of a new client; the server it comes to answers."""
    client = r.client().send(GET)
    for server in r.servers:
        if not server.over and server.read():
            server.send(OK)
    return client.read()


def later(r: Rig, seconds: float) -> None:
    """Let the time of a rig pass that has a clock of its own."""
    r.poller.kernel.time += seconds  # type: ignore[attr-defined]
    r.turn()


def dials(r: Rig, address: str = DEAD) -> int:
    return [one[0] for one in r.dialer.dials].count(address)


def event(r: Rig, kind: str) -> int:
    return int(r.runtime.metrics.events.of(kind).value)


def drift(r: Rig) -> list[int]:
    """What is counted as under way, slot by slot, and by the circuit."""
    table = r.runtime.tables.clusters["c"]
    return [*(slot.active for slot in table.slots), table.circuit.requests, table.circuit.pending]


def test_dead_endpoint_costs_one_request_its_wait(rig: MakeRig) -> None:
    """Everybody after it goes to who lives, without a word from the control plane."""
    r = rig()
    r.dialer.refused.add(DEAD)

    assert [ask(r) for _ in range(10)] == [OK] * 10
    assert dials(r) == 1
    assert event(r, "endpoint_set_aside") == 1
    assert drift(r) == [0, 0, 0, 0]


def test_dead_endpoint_is_tried_by_a_connection_nobody_waits_for(rig: MakeRig) -> None:
    """The trial hangs (a node that is off), and requests are answered meanwhile; one trial at a time."""
    r = rig(driver=Driver(), set_aside=SOON)
    r.dialer.refused.add(DEAD)
    ask(r), ask(r)
    later(r, 0.06)
    r.dialer.refused.clear()
    r.dialer.held = True

    assert [ask(r) for _ in range(5)] == [OK] * 5
    assert dials(r) == 2
    r.dialer.held = False
    assert [ask(r) for _ in range(4)] == [OK] * 4
    assert {server.address[0] for server in r.servers} == {LIVING, DEAD}
    assert event(r, "endpoint_back") == 1


def test_endpoint_set_aside_is_tried_at_the_connection_bound_too(rig: MakeRig) -> None:
    """A cluster whose well endpoints hold all its connections still finds out who is back."""
    bounded = replace(cluster(LIVING, DEAD), limits=CircuitLimits(max_connections=1))
    r = rig(config(clusters=(bounded,)), Driver(), set_aside=SOON)
    r.dialer.refused.add(DEAD)
    assert [ask(r) for _ in range(3)] == [OK] * 3
    r.dialer.refused.clear()
    later(r, 0.15)

    assert [ask(r) for _ in range(4)] == [OK] * 4
    assert event(r, "endpoint_back") == 1


def test_trial_that_fails_is_repeated_after_longer(rig: MakeRig) -> None:
    """Doubling: the second pause is not over when the first would have been."""
    r = rig(driver=Driver(), set_aside=(0.08, 10.0))
    r.runtime.dice = lambda: 0.0
    r.dialer.refused.add(DEAD)
    counted = []
    for pause in (0.0, 0.09, 0.09, 0.09):
        later(r, pause)
        ask(r), ask(r)
        counted.append(dials(r))

    assert counted == [1, 2, 2, 3]


@pytest.mark.parametrize("ends", [6, 16])
def test_last_endpoint_of_many_is_found_though_nobody_told_of_the_others_end(rig: MakeRig, ends: int) -> None:
    """As Kubernetes would, which knows of it at once: scaled to one while the control plane is away, nothing is lost, and little dialled."""
    addresses = [f"10.1.0.{number}" for number in range(1, ends + 1)]
    for living in addresses:
        r = rig(config(clusters=(cluster(*addresses),)))
        r.dialer.refused |= {*addresses} - {living}
        clients = [r.client().send(POST) for _ in range(3)]
        for _ in range(ends):
            for server in r.servers:
                if not server.over:
                    server.send(OK if server.read() else b"")
        assert [client.read() for client in clients] == [OK] * 3
        assert max(dials(r, one) for one in addresses) <= 3


def test_service_that_is_down_is_not_dialled_at_all_endpoints_by_each(rig: MakeRig) -> None:
    """Once it is known that all are ill a request tries a few."""
    addresses = [f"10.1.0.{number}" for number in range(1, 11)]
    r = rig(config(clusters=(cluster(*addresses),)))
    r.dialer.refused |= {*addresses}
    ask(r)
    assert len(r.dialer.dials) == 10
    for _ in range(5):
        ask(r)

    assert len(r.dialer.dials) == 10 + 5 * 3


def test_only_endpoint_is_tried_with_every_request(rig: MakeRig) -> None:
    """Where nobody else could serve, nobody is passed over."""
    r = rig(config(clusters=(cluster(DEAD),)))
    r.dialer.refused.add(DEAD)
    assert b"upstream_connect_failed" in ask(r)
    r.dialer.refused.clear()

    assert ask(r) == OK


def test_endpoint_that_breaks_requests_off_is_set_aside_after_some_in_a_row(rig: MakeRig) -> None:
    """It connects well; its trial is a request, and an answer brings it back."""
    r = rig(driver=Driver(), set_aside=SOON)
    broken = 0
    for _ in range(30):
        client = r.client().send(GET)
        for server in r.servers:
            if not server.over and server.read():
                if server.address[0] == DEAD:
                    broken += 1
                    server.close()
                    server.over = True
                else:
                    server.send(OK)
        client.read()
    assert broken == IN_A_ROW
    later(r, 0.06)
    before = len(r.servers)

    assert [ask(r) for _ in range(6)] == [OK] * 6
    assert DEAD in {server.address[0] for server in r.servers[before:]}
    assert event(r, "endpoint_back") == 1
    assert drift(r) == [0, 0, 0, 0]


def test_kept_connections_that_end_say_nothing_about_their_server(rig: MakeRig) -> None:
    """A server may close what is idle, also while a request is on its way."""
    r = rig(config(clusters=(cluster(LIVING),)))
    for _ in range(2 * IN_A_ROW):
        client = r.client().send(GET)
        r.servers[-1].send(OK)
        client.read()
        client.send(GET)
        r.servers[-1].close()
        r.servers[-1].send(OK)
        assert client.read() == OK

    assert r.runtime.tables.clusters["c"].slots[0].health.failures == 0


def test_server_that_answers_no_ping_is_set_aside(rig: MakeRig) -> None:
    """A node that died without a word: the next request need not find out by a time-out of its own."""
    both = cluster(LIVING, DEAD, protocol=AppProtocol.HTTP2)
    r = rig(config(clusters=(replace(both, keepalive=(0.03, 0.03)),)), sweep=0.02)
    r.client().send(GET)
    r.runtime.start()
    r.run(0.2)
    (silent,) = {server.address[0] for server in r.servers}
    before = len(r.dialer.dials)
    for _ in range(4):
        r.client().send(GET)

    assert {one[0] for one in r.dialer.dials[before:]} == {LIVING, DEAD} - {silent}


def test_goaway_is_no_failure(rig: MakeRig) -> None:
    """Whoever drains says so properly."""
    r = rig(config(clusters=(cluster(LIVING, protocol=AppProtocol.HTTP2),)))
    r.client().send(GET)
    server = Speaker(r.servers[0], Http2Server(Limits()))
    assert server.events(RequestHead)
    server.do("shutdown")
    slot = r.runtime.tables.clusters["c"].slots[0]

    assert slot.health.failures == 0


def test_stream_resets_before_an_answer_count(rig: MakeRig) -> None:
    """As connections that end do."""
    r = rig(config(clusters=(cluster(LIVING, DEAD, protocol=AppProtocol.HTTP2),)))
    for _ in range(2):
        r.client().send(GET)
    at = next(server for server in r.servers if server.address[0] == DEAD)
    server = Speaker(at, Http2Server(Limits()))
    for _ in range(3 * IN_A_ROW):
        for head in server.events(RequestHead):
            server.do("reset", head.stream, codes.INTERNAL_ERROR)
        r.client().send(GET)

    assert event(r, "endpoint_set_aside") == 1
    assert server.events(RequestHead) == []


def test_push_that_keeps_the_endpoint_keeps_what_is_known_of_it(rig: MakeRig) -> None:
    """And one that takes it away and brings it back begins anew."""
    r = rig()
    r.dialer.refused.add(DEAD)
    ask(r), ask(r)
    noun = r.runtime.tables.config
    for addresses, more in (((LIVING, DEAD, "10.1.0.3"), 0), ((LIVING,), 0), ((LIVING, DEAD), 1)):
        before = dials(r)
        new = replace(noun.clusters["c"], static=Endpoints(name="c", endpoints=cluster(*addresses).static.endpoints))
        r.runtime.install(compile_tables(replace(noun, clusters={"c": new}), r.runtime.tables))
        for _ in range(6):
            assert ask(r) == OK
        assert dials(r) == before + more


def test_relays_and_requests_share_what_they_learnt(rig: MakeRig) -> None:
    """A port that carries both (detected protocols) has one opinion of its endpoints."""
    noun = config()
    bytes_too = FilterChain(name="tcp", match=ChainMatch(), filter=TcpFilter(targets=(Target(cluster="c"),)))
    opaque = Listener(name="o", address="10.0.0.1", port=81, chains=(bytes_too,))
    r = rig(replace(noun, listeners={**noun.listeners, "o": opaque}))
    r.dialer.refused.add(DEAD)
    ask(r), ask(r)
    chain = r.runtime.tables.listeners["o"].chains[0]
    for _ in range(3):
        Relay(r.runtime, chain, (LIVING, 80)).listen_first(_Nobody())
        r.turn()

    assert dials(r) == 1
    for peer in r.servers:
        peer.close()


class _Nobody:
    """Who does not mind."""

    def server_spoke(self) -> None:
        """It did."""

    def server_failed(self) -> None:
        """It did not."""


def test_explain_tells_who_is_passed_over_and_why(rig: MakeRig) -> None:
    """Words, not numbers, and nothing about who is well; the gauge counts them."""
    r = rig()
    r.dialer.refused.add(DEAD)
    ask(r), ask(r)
    noun, name = r.runtime.tables.config, "outbound/10.0.0.1:80"
    named = replace(noun, listeners={name: replace(noun.listeners["l"], name=name)})
    tables = compile_tables(named, r.runtime.tables)
    told = explain(tables, Question(address="10.0.0.1:80"), r.runtime.clock())
    health = {one["address"]: one.get("health", "") for one in told["targets"][0]["endpoints"]}

    assert health[f"{LIVING}:80"] == ""
    assert health[f"{DEAD}:80"].startswith("set aside after connect_refused, for another ")
    assert r.runtime.metrics.gauges["tulle_endpoints_set_aside"][1]() == 1
