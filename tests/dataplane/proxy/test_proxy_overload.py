"""Refusing early, and taking up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataplane.proxy import overload
from dataplane.proxy.overload import Overload, memory_limit, resident_bytes
from tests.dataplane.proxy.rig import Rig

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Clock:
    """Time and timers by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float, callback: Callable[[], object]) -> None:
        self.callback = callback

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.callback()


def test_look_that_comes_late_begins_shedding_until_one_is_on_time() -> None:
    """Each change is told once."""
    clock, told = Clock(), []
    watch = Overload(clock, clock, lambda: 0)
    watch.limit = 0
    watch.tell = told.append
    watch.start()
    for seconds in (0.25, 2.0, 2.0, 0.25, 0.25):
        clock.pass_(seconds)

    assert told == [True, False]


def test_memory_near_its_limit_begins_shedding() -> None:
    """Before the kernel kills."""
    clock = Clock()
    size = 80
    watch = Overload(clock, clock, lambda: size)
    watch.limit = 100
    watch.start()
    clock.pass_(overload.LOOK_SECONDS)
    assert watch.reason == ""
    size = 95
    clock.pass_(overload.LOOK_SECONDS)
    assert watch.reason == "memory"


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
