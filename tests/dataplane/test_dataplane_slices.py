"""Long answers by turns: whoever reads slowly, goes away or asks at once, scrapes stay whole and bounded, and traffic has its turn."""

from __future__ import annotations

import asyncio
import gc
import gzip
import itertools
import socket
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataplane import slices
from dataplane.admin import Admin, Answer
from dataplane.net.listen import ListenSocket, bind
from dataplane.net.poller import ROUNDS, Poller
from dataplane.net.receiver import NOBODY, Receiver
from dataplane.net.stream import Stream
from dataplane.slices import LongAnswer, Nobody, State, Turns
from dataplane.telemetry import told
from dataplane.telemetry.labels import Peers, Workload
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.packing import Gzip
from dataplane.telemetry.scrape import BYTES, Scrape
from tests.dataplane.telemetry.test_telemetry_scrape import Read, many, parse
from tests.support.machines import bounded, within
from tests.support.virtual import real_time

ROOM = 4 * BYTES
"""Bytes a client has room for before it wants to be asked no more, as a stream has."""


class Client:
    """Who asked, and how much of it was read."""

    def __init__(self, machine: Scrapes, packed: bool, floor: dict[Any, float]) -> None:
        self.machine = machine
        self.packed = packed
        self.floor = floor
        """What counters were when it asked, of samples that are still there."""
        self.got = b""
        self.read = 0
        self.began = self.ended = self.refused = self.was_cut = False
        self.answer: LongAnswer | None = None

    def begin(self) -> None:
        assert not self.began
        self.began = True

    def slice(self, data: bytes) -> bool:
        assert self.began
        assert not self.ended
        assert data
        self.machine.wrote.append(self)
        self.got += data
        return len(self.got) - self.read <= ROOM

    def end(self) -> None:
        self.ended = True

    def refuse(self, sentence: str) -> None:
        assert sentence
        self.refused = True

    def cut(self) -> None:
        self.was_cut = True

    def text(self) -> str:
        return (gzip.decompress(self.got) if self.packed else self.got).decode()


class Scrapes(RuleBasedStateMachine):
    """Clients of every kind, over metrics that change."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        loop = self.stack.enter_context(real_time())
        self.poller = Poller(loop)
        self.stack.callback(self.poller.close)
        self.turns = Turns(self.poller)
        self.metrics = Metrics()
        self.wrote: list[Client] = []
        self.clients: list[Client] = []
        self.last: dict[Any, float] = {}
        self.reset = False

    def teardown(self) -> None:
        self.stack.close()

    @initialize(pairs=st.integers(0, 60))
    def begin(self, pairs: int) -> None:
        for number in range(pairs):
            self.count(number, 200)

    @rule(number=st.integers(0, 80), code=st.sampled_from([200, 404, 503]))
    def count(self, number: int, code: int) -> None:
        """A request, of a pair that is known or is not."""
        peers = Peers(reporter="source", source=Workload(workload=f"w-{number}", principal="x" * 300))
        self.metrics.requests(peers).of(code, -1, False, 0).note(float(number), number, 1)
        self.metrics.tcp(peers).sent += number

    @rule()
    def expire(self) -> None:
        """Series nothing was counted in go."""
        self.metrics.expire()
        self.reset = True

    @rule(packed=st.booleans(), how_many=st.integers(1, 12))
    def ask(self, packed: bool, how_many: int) -> None:
        for _ in range(how_many):
            client = Client(self, packed, {} if self.reset else self.last)
            view = told.together(self.metrics, [], [])
            self.clients.append(client)
            scrape = Scrape(view, time.monotonic, Gzip() if packed else None)
            client.answer = self.turns.answer(scrape, client)

    @rule(turns=st.integers(1, 30))
    def turn(self, turns: int) -> None:
        """Batches of the poller: one slice in each at most."""
        for _ in range(turns):
            self.wrote.clear()
            with_room = [one for one in self.turns.anybody.under_way if one.state is State.WRITING]
            self.poller.turn()
            assert len(self.wrote) <= ROUNDS, "one a batch"
            assert with_room or not self.wrote

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), share=st.sampled_from([0.1, 0.9, 1.0]))
    def read(self, data: st.DataObject, share: float) -> None:
        """A client takes some of what it was sent; below the low mark it has room again."""
        client = data.draw(st.sampled_from(self.clients))
        client.read += int((len(client.got) - client.read) * share)
        if client.answer is not None and len(client.got) - client.read <= BYTES:
            client.answer.room()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients))
        assert client.answer is not None
        client.answer.gone()
        self.clients.remove(client)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def time_is_over(self, data: st.DataObject) -> None:
        """For one that waits, or that reads too slowly."""
        client = data.draw(st.sampled_from(self.clients))
        assert client.answer is not None
        waits, timer = client.answer.state is State.WAITING, client.answer.timer
        if timer is not None and timer.callback is not None:
            timer.callback()
            assert client.refused if waits else client.was_cut
            assert client.answer.state is State.GONE

    @invariant()
    def bounds_hold(self) -> None:
        """Few are under way, what is unread of each is bounded, and nobody waits while there is room."""
        assert len(self.turns.anybody.under_way) <= slices.MOST
        states = [client.answer.state for client in self.clients if client.answer is not None]
        assert states.count(State.WAITING) <= slices.MOST_WAITING
        assert State.WAITING not in states or len(self.turns.anybody.under_way) == slices.MOST
        for client in self.clients:
            assert len(client.got) - client.read <= ROOM + 2 * BYTES

    @invariant()
    def what_was_written_is_whole(self) -> None:
        """Families in one piece, nothing twice, no counter less than when it was last read."""
        for client in [one for one in self.clients if one.ended]:
            self.clients.remove(client)
            assert client.answer is not None
            assert client.answer.state is State.DONE
            text = client.text()
            found = counters(parse(text)) if text else {}
            for key, value in client.floor.items():
                assert found.get(key, value) >= value
            self.last, self.reset = found, False


def counters(families: dict[str, Read]) -> dict[Any, float]:
    """Every sample that may only grow."""
    return {
        key: value for family in families.values() if family.kind != "gauge" for key, value in family.samples.items()
    }


TestScrapes = within(60)(Scrapes.TestCase)
TestScrapes.settings = bounded(30, 30)


class PingPong(Receiver):
    """Says again what it hears: traffic in every batch."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.heard = 0

    def received(self, data: bytes) -> None:
        self.heard += 1
        self.stream.write(data)


async def fetch(port: int, packed: bool, pause: int) -> str:
    """Read a scrape, in small pieces with so many turns between them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    encoding = "accept-encoding: gzip\r\n" if packed else ""
    writer.write(f"GET /metrics HTTP/1.0\r\n{encoding}\r\n".encode())
    got = b""
    while data := await reader.read(1 << 16 if not pause else 1 << 13):
        got += data
        for _ in range(pause):
            await asyncio.sleep(0)
    writer.close()
    body = got.partition(b"\r\n\r\n")[2]
    return (gzip.decompress(body) if packed else body).decode()


async def test_traffic_is_served_between_any_two_slices() -> None:
    """Hundreds of pairs of peers, scraped by quick and slow readers at once, packed and not, over a real port."""
    poller = Poller(asyncio.get_running_loop())
    admin, metrics = Admin(poller), many(300)
    ends = [Stream(poller, end.detach(), NOBODY, ("", 0)) for end in socket_pair()]
    players = [PingPong(), PingPong()]
    for player, stream in zip(players, ends, strict=True):
        player.stream, stream.receiver = stream, player
        stream.start()
    at: list[int] = []

    def noted(written: Iterator[bytes]) -> Iterator[bytes]:
        for one in written:
            at.append(players[0].heard + players[1].heard)
            yield one

    def answer(request: Any) -> Answer:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        pack = Gzip() if packed else None
        return Answer(slices=noted(Scrape(told.together(metrics, [], []), time.monotonic, pack)))

    admin.routes = {("GET", "/metrics"): answer}
    listener = ListenSocket(poller, bind("127.0.0.1", 0), admin.accept)
    players[0].stream.write(b"ping")
    port = listener.address[1]
    texts = await asyncio.gather(*(fetch(port, packed, pause) for packed in (True, False) for pause in (0, 3)))
    listener.close()
    poller.close()

    assert len(at) > 100
    assert all(after > before for before, after in itertools.pairwise(at))
    assert len(set(texts)) == 1
    assert len(parse(texts[0])["tulle_requests_total"].samples) == 300


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that make nobody wait."""
    pair = socket.socketpair()
    for end in pair:
        end.setblocking(False)
    return pair


@pytest.mark.parametrize("ends", ["refused", "gone while it waits", "gone", "cut", "whole"])
async def test_answer_that_is_over_is_freed_at_once(ends: str) -> None:
    """Without the collector: what a refused one would have been made of is large, and anybody may ask."""
    poller = Poller(asyncio.get_running_loop())
    turns = Turns(poller)
    waits = ends in {"refused", "gone while it waits"}
    others = [turns.answer(iter([b"a"]), Knows()) for _ in range(slices.MOST if waits else 0)]
    client = Knows()
    client.answer = turns.answer(iter([b"a"]), client)
    seen = weakref.ref(client)
    if ends in {"refused", "cut"}:
        assert client.answer.timer is not None
        assert client.answer.timer.callback is not None
        client.answer.timer.callback()
    elif ends == "whole":
        while turns.anybody.under_way:
            poller.turn()
    else:
        client.answer.gone()
    gc.disable()
    try:
        del client
        assert seen() is None
    finally:
        gc.enable()
    assert len(others) == len(turns.anybody.under_way)
    poller.close()


class Knows(Nobody):
    """A client that knows its answer, as all do."""

    answer: LongAnswer | None = None

    def slice(self, data: bytes) -> bool:
        return bool(data)
