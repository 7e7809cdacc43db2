"""Refusing early, and taking up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.protocol.events import Goaway, Header, RequestHead, ResponseHead
from dataplane.protocol.fields import get
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.http2.server import Http2Server
from dataplane.protocol.limits import Limits
from dataplane.proxy.worker import overload
from dataplane.proxy.worker.overload import EASE, HOLD, SAVE, SHED, Overload, memory_limit, resident_bytes
from tests.dataplane.proxy.rig import Rig, Speaker
from tests.dataplane.telemetry.scraped import expose

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def head(*headers: Header) -> RequestHead:
    return RequestHead(0, b"POST", b"http", b"a", b"/s/m", list(headers), True, 20)


class Clock:
    """Time, timers and traffic by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timer: Callable[[], object] | None = None
        self._stirred: Callable[[], object] | None = None

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float, callback: Callable[[], object]) -> None:
        assert self.timer is None, "looks follow one another"
        self.timer = callback

    def when_stirred(self, callback: Callable[[], object]) -> None:
        self._stirred = callback

    def stir(self) -> None:
        """A descriptor is ready; who wants to know again has to say so."""
        callback, self._stirred = self._stirred, None
        if callback is not None:
            callback()

    def pass_(self, seconds: float, *, busy: bool = True) -> None:
        """Let time pass, with traffic at its begin or without."""
        if busy:
            self.stir()
        self.now += seconds
        callback, self.timer = self.timer, None
        if callback is not None:
            callback()


def test_looks_that_come_late_begin_shedding_until_one_is_on_time() -> None:
    """One alone is a hiccup. Each change is told once; one that is a little late does not end what late ones began."""
    clock, told = Clock(), []
    watch = Overload(clock, clock, clock.when_stirred, lambda: 0)
    watch.limit = 0
    watch.tell = lambda *levels: told.append(levels)
    watch.start()
    changes = []
    for seconds in (0.25, 2.0, 0.25, 2.0, 2.0, 1.0, 0.25, 0.25):
        clock.pass_(seconds)
        changes.append(len(told))

    assert changes == [0, 0, 0, 0, 1, 1, 2, 2]
    assert told == [(SHED, EASE), (EASE, SHED)]


@pytest.mark.parametrize(
    ("sizes", "levels"),
    [
        ([79, 80, 90, 95], [EASE, SAVE, SHED, HOLD]),
        ([95, 92, 90, 86, 85, 77, 75], [HOLD, HOLD, SHED, SHED, SAVE, SAVE, EASE]),
        ([90, 84, 85, 90], [SHED, SAVE, SAVE, SHED]),
    ],
    ids=["up", "down", "around"],
)
def test_memory_has_steps_that_end_below_where_they_began(sizes: list[int], levels: list[int]) -> None:
    """Before the kernel kills; and not back and forth with every look."""
    clock = Clock()
    left = [*sizes]
    watch = Overload(clock, clock, clock.when_stirred, lambda: left.pop(0))
    watch.limit = 100
    watch.start()
    seen = []
    for _ in sizes:
        clock.pass_(overload.LOOK_SECONDS)
        seen.append(watch.level)

    assert seen == levels
    assert watch.reason == ("memory" if levels[-1] else "")


def test_nobody_looks_while_nothing_comes_in() -> None:
    """The first look without anything new is the last, until a descriptor is ready; that one is no later than any other."""
    clock, told = Clock(), []
    watch = Overload(clock, clock, clock.when_stirred, lambda: 0)
    watch.limit = 0
    watch.tell = lambda *levels: told.append(levels)
    watch.start()
    clock.pass_(overload.LOOK_SECONDS)
    assert clock.timer is not None
    clock.pass_(overload.LOOK_SECONDS, busy=False)
    assert clock.timer is None

    clock.now += 3600
    clock.stir()
    assert clock.timer is not None
    clock.pass_(overload.LOOK_SECONDS)
    clock.pass_(overload.LOOK_SECONDS)
    assert told == []
    clock.pass_(1.5)
    clock.pass_(1.5)
    assert told == [(SHED, EASE)]


def test_looks_go_on_while_a_level_lasts() -> None:
    """Else nobody would learn that memory is there again: who accepts no connection is not stirred by one."""
    clock = Clock()
    sizes = [99, 99, 99, 10, 10]
    watch = Overload(clock, clock, clock.when_stirred, lambda: sizes.pop(0))
    watch.limit = 100
    watch.start()
    levels = []
    for _ in range(4):
        clock.pass_(overload.LOOK_SECONDS, busy=False)
        levels.append(watch.level)

    assert levels == [HOLD, HOLD, HOLD, EASE]
    assert clock.timer is None


def test_look_that_fails_is_not_the_last() -> None:
    """Without a descriptor left its size cannot be read: it is as large as it was, until it can."""
    clock = Clock()
    sizes = iter([99, None, 99, 10, 10])

    def resident() -> int:
        size = next(sizes)
        if size is None:
            raise OSError(24, "Too many open files")
        return size

    watch = Overload(clock, clock, clock.when_stirred, resident)
    watch.limit = 100
    watch.start()
    levels = []
    for _ in range(5):
        clock.pass_(overload.LOOK_SECONDS, busy=False)
        levels.append(watch.level)

    assert levels == [HOLD, HOLD, HOLD, EASE, EASE]


def test_limit_is_read_from_the_cgroup(tmp_path: Path) -> None:
    """Version 2, then 1, else none."""
    assert memory_limit(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit(tmp_path) == 0
    (tmp_path / "memory.max").write_text("268435456\n")
    assert memory_limit(tmp_path) == 268435456
    assert resident_bytes() > 1_000_000


def test_requests_are_refused_while_shedding(rig: Callable[..., Rig]) -> None:
    """New ones; what is in hand goes on."""
    r = rig()
    busy = r.client().send(GET)
    r.runtime.shedding = True
    assert b"x-tulle-error: overloaded" in r.client().send(GET).read()
    r.servers[0].send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    assert busy.read().startswith(b"HTTP/1.1 200")


def judged(r: Rig, level: int) -> None:
    """Let the watch find a level."""
    watch = r.runtime.overload
    before, watch.level = watch.level, level
    watch.tell(level, before)


def test_connections_end_with_their_answer_when_memory_is_short(rig: Callable[..., Rig]) -> None:
    """Before anything is refused; HTTP/2 clients are told as well."""
    r = rig()
    first, second = r.client().send(GET), Speaker(r.client(http2=True), Http2Client(Limits()))
    second.do("send_request", head(), True)
    judged(r, SAVE)
    r.servers[0].send(OK)
    answer = first.read()
    server = Speaker(r.servers[1], Http2Server(Limits()))
    server.do("send_response", server.events(RequestHead)[0].stream, 200, b"", [], True)

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert first.ended
    assert second.events(Goaway)


def test_levels_are_counted_and_shown(rig: Callable[..., Rig]) -> None:
    """Each time one begins, and the one there is."""
    r = rig()
    held: list[bool] = []
    r.runtime.hold = held.append
    for level in (SHED, HOLD, SAVE, EASE, HOLD):
        judged(r, level)
    shown = expose(r.runtime.metrics)

    assert held == [True, False, True]
    assert 'tulle_proxy_events_total{kind="overload_hold"} 2' in shown
    assert 'tulle_proxy_events_total{kind="overload_shed"} 1' in shown
    assert "tulle_overload_level 3" in shown


def test_shed_grpc_call_is_told_to_come_back(rig: Callable[..., Rig]) -> None:
    """UNAVAILABLE, which gRPC clients try again elsewhere."""
    r = rig()
    judged(r, SHED)
    client = Speaker(r.client(http2=True), Http2Client(Limits()))
    client.do("send_request", head((b"content-type", b"application/grpc", b"content-type")), True)
    (answer,) = client.events(ResponseHead)

    assert (answer.status, get(answer.headers, b"grpc-status")) == (200, b"14")
    judged(r, EASE)
    assert not r.runtime.shedding
