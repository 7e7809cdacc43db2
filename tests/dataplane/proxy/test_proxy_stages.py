"""What happens to a request between its head and its server: a list of stages with one face, any of which may wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataplane.config import DirectResponse, Forward, HeaderChange, PathRule, Redirect, Route, RouteMatch, Target
from dataplane.protocol.events import Headers, RequestHead
from dataplane.proxy.stages.answer import Direct, Redirecting
from dataplane.proxy.stages.edits import Edits
from dataplane.proxy.stages.face import ANSWERED, CONTINUE, WAIT, Case, Stage
from dataplane.proxy.stages.order import before_match, explained, of_upgrades, stages_of
from dataplane.proxy.stages.rewrite import Rewriter
from dataplane.proxy.stages.upgrades import Upgrades
from dataplane.tables.compile import compile_tables
from dataplane.tables.conditions import Facts
from dataplane.tables.routes import RouteRow
from dataplane.telemetry.metrics import Counter
from tests.dataplane.proxy.rig import Peer, Rig, config, everything, forward

MakeRig = Callable[..., Rig]
GET = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: web\r\ncontent-length: 3\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Spy(Stage):
    """Says what it is told to say, and remembers whom it saw."""

    def __init__(self, says: int = CONTINUE) -> None:
        super().__init__(answers=True)
        self.says = says
        self.asked: list[Any] = []
        self.answered: list[Headers] = []
        self.gone: list[Any] = []

    def on_request(self, exchange: Any) -> int:
        self.asked.append(exchange)
        if self.says == ANSWERED:
            exchange.answer(418, [(b"content-length", b"0", b"content-length")], b"")
        return self.says

    def on_response(self, exchange: Any, headers: Headers) -> None:
        self.answered.append(headers)

    def cancelled(self, exchange: Any) -> None:
        self.gone.append(exchange)


def staged(r: Rig, *before: Stage) -> Peer:
    """A client whose only route has these stages."""
    row = r.runtime.tables.routes["r"].only.rows[0]
    row.stages = before
    row.answering = tuple(stage for stage in before if stage.answers)
    row.gathering = ()
    return r.client()


def row(action: Any = None, **more: Any) -> RouteRow:
    to = action or Forward(targets=(Target(cluster="c"),))
    return RouteRow(Route(match=RouteMatch(prefix="/a"), action=to, **more), None, None)


def test_route_that_asks_nothing_has_no_stage() -> None:
    """An empty list costs nothing."""
    plain = row()

    assert stages_of(plain) == ()
    assert plain.answering == ()


def test_stages_of_a_route_come_in_the_declared_order() -> None:
    """And only those it needs; they are made once."""
    change = HeaderChange(set=(("x-a", "1"),))
    target = Target(cluster="c", response_headers=change)
    both = row(Forward(targets=(target,), prefix_rewrite="/b"))

    assert [type(stage) for stage in stages_of(both)] == [Rewriter, Edits]
    assert [type(stage) for stage in both.answering] == [Edits]
    assert stages_of(both) is both.stages
    assert [type(stage) for stage in stages_of(row(Redirect()))] == [Redirecting]
    assert [type(stage) for stage in stages_of(row(DirectResponse(status=204)))] == [Direct]


def test_stages_are_asked_in_order_and_see_the_answer(rig: MakeRig) -> None:
    """Each once."""
    r = rig()
    first, second = Spy(), Spy()
    client = staged(r, first, second).send(GET)
    r.servers[0].send(OK)

    assert client.read() == OK
    assert [len(spy.asked) for spy in (first, second)] == [1, 1]
    assert [len(spy.answered) for spy in (first, second)] == [1, 1]
    assert (first.gone, second.gone) == ([], [])


def test_stage_that_answers_is_the_last(rig: MakeRig) -> None:
    """What it said goes through those that see answers; nothing is sent to a server."""
    r = rig()
    first, later = Spy(ANSWERED), Spy()
    client = staged(r, first, later).send(GET)

    assert client.read().startswith(b"HTTP/1.1 418")
    assert (len(first.answered), later.asked, r.servers) == (1, [], [])


def test_request_waits_for_a_stage_and_goes_on_behind_it(rig: MakeRig) -> None:
    """Its body is not read meanwhile, and nothing is asked twice."""
    r = rig()
    first, later = Spy(WAIT), Spy()
    client = staged(r, first, later).send(POST)
    client.send(b"abc")
    assert (later.asked, r.servers) == ([], [])
    first.asked[0].resume()
    r.turn()
    came = r.servers[0].read()
    r.servers[0].send(OK)

    assert came.endswith(b"abc")
    assert client.read() == OK
    assert [len(spy.asked) for spy in (first, later)] == [1, 1]
    assert first.gone == []


def test_request_that_ends_while_it_waits_cancels_the_stage(rig: MakeRig) -> None:
    """Once; the stage must not resume it any more."""
    r = rig()
    first = Spy(WAIT)
    staged(r, first).send(GET)
    r.accepted[0].abort()
    r.turn()

    assert first.gone == first.asked
    assert r.runtime.active == 0


UPGRADE = b"GET /x HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def counts(r: Rig) -> dict[str, int]:
    return {name: counter.value for name, counter in r.runtime.metrics.events.values.items()}


def test_upgrade_that_is_switched_off_is_a_stages_answer(rig: MakeRig) -> None:
    """Before all others, and only for requests that would leave HTTP and be forwarded."""
    r = rig(config(everything(forward(upgrades=(("websocket", False),)))))

    assert r.client().send(UPGRADE).read().startswith(b"HTTP/1.1 403")
    assert counts(r)["upgrade_refused"] == 1
    assert r.servers == []
    only = r.runtime.tables.routes["r"].only.rows[0]
    assert [type(stage) for stage in of_upgrades(only)] == [Upgrades]
    assert stages_of(only) == ()
    assert [type(stage) for stage in of_upgrades(row(Redirect()))] == [Redirecting]


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (Redirect(path="/y"), "redirected"),
        (DirectResponse(status=204), "direct_response"),
        (Forward(targets=(Target(cluster="c"),), prefix_rewrite="/y"), "rewritten"),
        (Forward(targets=(Target(cluster="c", request_headers=HeaderChange(set=(("x-a", "1"),))),)), "edited"),
    ],
)
def test_each_stage_counts_what_it_did(rig: MakeRig, action: Any, word: str) -> None:
    """By a name of its own."""
    r = rig(config(everything(action)))
    r.client().send(GET)

    assert counts(r)[word] == 1


def test_stages_say_what_they_would_do() -> None:
    """In order, up to the one that answers."""
    change = HeaderChange(set=(("x-a", "1"),), remove=("x-b",))
    target = Target(cluster="c", request_headers=change)
    both = row(Forward(targets=(target,), prefix_rewrite="/b", upgrades=(("websocket", False),)))
    listener = compile_tables(config()).listeners["l"]
    head = RequestHead(0, b"GET", b"http", b"web", b"/a/x", [], True)
    case = Case(head, Facts("10.0.0.9", ("10.0.0.1", 80), ""), listener.chains[0])

    assert explained(of_upgrades(both)[1:], case) == {"path": "/b/x", "request_headers": ["x-a", "x-b"]}
    head.protocol = b"websocket"
    assert explained(of_upgrades(both), case) == {"outcome": "403 upgrade_refused: websocket is switched off here"}


def test_form_of_the_path_is_said(rig: MakeRig) -> None:
    """Rules and routes see what comes out."""
    r = rig(config(http={"paths": PathRule(normalize=True, escaped_slashes="reject")}))
    listener = r.runtime.tables.listeners["l"]
    stages = before_match(listener.chains[0], None, Counter())
    said = []
    for path in (b"/a/../b", b"/a%2fb", b"/b"):
        head = RequestHead(0, b"GET", b"http", b"web", path, [], True)
        said.append(explained(stages, Case(head, Facts("", ("10.0.0.1", 80), ""), listener.chains[0])))

    assert said == [{"normal_path": "/b"}, {"outcome": "400 escaped_slash: the path has an escaped slash"}, {}]
    r.client().send(b"GET /a%2fb HTTP/1.1\r\nHost: web\r\n\r\n")
    assert counts(r)["path_rejected"] == 1
