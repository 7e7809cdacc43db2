"""The tables of an exchange's two sides: every state is reached, ends are ends, and what is not in them ends one exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import AppProtocol
from dataplane.protocol.events import RequestHead, Reset, ResponseHead
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits
from dataplane.proxy.request import life
from dataplane.telemetry import flags
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

MakeRig = Callable[..., Rig]
EVENTS = range(life.EVENTS)


def after(table: bytes, state: int, event: int) -> int:
    return table[state * life.EVENTS + event]


@pytest.mark.parametrize(
    ("table", "last"),
    [(life.REQUEST, life.RAW_OVER), (life.ANSWER, life.DONE), (life.ATTEMPT, life.LEFT)],
    ids=["request", "answer", "attempt"],
)
def test_every_state_is_reached_and_only_the_last_is_left_by_nothing(table: bytes, last: int) -> None:
    """No state is there for nothing, none is a trap."""
    reached = {0}
    for _ in range(6):
        reached |= {after(table, state, event) for state in reached for event in EVENTS} - {life.NEVER}
    stuck = {state for state in reached if all(after(table, state, event) == life.NEVER for event in EVENTS)}

    assert reached == set(range(len(table) // len(EVENTS)))
    assert stuck == {last}


def two_requests(r: Rig) -> tuple[Speaker, Any]:
    """Two streams of one connection, and the exchange of the first."""
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    for path in (b"/1", b"/2"):
        client.do("send_request", RequestHead(0, b"GET", b"http", b"web", path, [], True, 20), True)
    client.events()
    return client, next(iter(next(iter(r.runtime.downstreams)).calls.values()))


def test_exchange_gone_astray_ends_alone_and_is_counted(rig: MakeRig) -> None:
    """In production: the other stream of its connection is answered."""
    r = rig(config(clusters=(cluster("10.1.0.1", "10.1.0.2", protocol=AppProtocol.HTTP1),)))
    r.runtime.strict = False
    client, exchange = two_requests(r)
    assert not exchange.asking.advance(life.END)
    r.turn()

    assert [event.stream for event in client.events(Reset)] == [exchange.stream]
    assert r.runtime.metrics.events.of("exchange_astray").value == 1
    assert r.counted(0, flags.CLIENT_GONE) == 1
    other = next(server for server in r.servers if server.read().startswith(b"GET /2"))
    other.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert [event.status for event in client.events(ResponseHead)] == [204]
    assert r.runtime.active == 0


def test_exchange_gone_astray_raises_in_tests(rig: MakeRig) -> None:
    """So that it is found."""
    r = rig()
    _, exchange = two_requests(r)

    with pytest.raises(life.AstrayError):
        exchange.answering.advance(life.END)
