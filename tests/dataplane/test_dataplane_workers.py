"""Several workers: one port, one configuration, one set of counts, one end."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import dataplane.app
from dataplane.admin import Request
from dataplane.config import Endpoints
from dataplane.finding import Finding, Found
from dataplane.settings import Settings
from dataplane.tables.compile import compile_tables
from dataplane.telemetry import told
from dataplane.telemetry.labels import Peers
from dataplane.telemetry.metrics import OUTCOME_LIMIT, Metrics
from dataplane.telemetry.scrape import Scrape
from dataplane.worker import Worker
from dataplane.workers import Workers
from meshapi.records import replace
from tests.dataplane.proxy.rig import config
from tests.dataplane.test_dataplane_app import App, Sidecar, app  # noqa: F401 - a fixture
from tests.dataplane.test_dataplane_credentials import chain
from tests.support.settings import in_mesh
from tulle.demo.figures import samples


class Wishes:
    """Stands for the discovery."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.more = asyncio.Event()

    def want(self, name: str, callback: Callable[[Finding], None], worker: int) -> None:
        self.touch(name, worker)
        callback(Finding(Found.REFUSED, "a sentence"))

    def touch(self, name: str, worker: int) -> None:
        self.said.append((name, worker))
        self.more.set()

    def report(self, worker: int, names: AbstractSet[str]) -> None:
        self.said.append((worker, names))
        self.more.set()

    async def hear(self, count: int) -> list[tuple[Any, ...]]:
        while len(self.said) < count:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), 10)
        return self.said


async def test_uses_of_another_worker_reach_the_one_owner_and_findings_come_back() -> None:
    """What it wants, uses and has open is told with its number."""
    here, there = socket.socketpair()
    workers, worker = Workers([here]), Worker(Settings(), there)
    wishes = workers.discovery = Wishes()
    running = [asyncio.ensure_future(workers.run()), asyncio.ensure_future(worker._link.run())]
    found: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()
    worker.want("a", found.set_result)
    worker.touch("b")
    workers.survey()

    assert await wishes.hear(3) == [("a", 1), ("b", 1), (1, set())]
    assert (await found).sentence == "a sentence"
    workers._stopping = True
    running[1].cancel()
    await asyncio.gather(*running, return_exceptions=True)
    worker._engine.close()


@asynccontextmanager
async def linked(settings: Settings) -> AsyncIterator[tuple[dataplane.app.Sidecar, Worker]]:
    """Two workers in one process, and the line between them."""
    here, there = socket.socketpair()
    first, worker = dataplane.app.Sidecar(settings, [here]), Worker(settings, there)
    running = [asyncio.ensure_future(first.workers.run()), asyncio.ensure_future(worker._link.run())]
    try:
        yield first, worker
    finally:
        first.workers._stopping = True
        running[1].cancel()
        await asyncio.gather(*running, return_exceptions=True)
        worker._engine.close()
        first.engine.close()


@pytest.fixture
async def two(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[dataplane.app.Sidecar, Worker]]:
    """Two workers whose hooks take no longer than they must."""
    monkeypatch.setattr(dataplane.app, "PRESTOP_SETTLE", 0.0)
    monkeypatch.setattr(dataplane.app, "PRESTOP_FORGET", 0.0)
    async with linked(Settings()) as both:
        yield both


async def test_identity_of_the_first_worker_is_every_workers(tmp_path: Path) -> None:
    """One certificate, renewed by one: without it the others could take and make no connection of the mesh."""
    mesh = in_mesh(tmp_path, roots=b"old")
    async with linked(Settings(mesh=mesh)) as (first, worker):
        source = dataplane.app.MeshSource(first, mesh)
        for roots, key, certificate in ((b"one", b"key 1", chain()), (b"two", b"key 2", chain(2))):
            source.credentials.trust(roots)
            source.credentials.install(key, certificate, 0.0)
            await first.workers.ask("wanted")
            shown = worker._engine.runtime.tls.credentials

            assert (shown.roots_pem, shown.key_pem, shown.certificate_pem) == (roots, key, certificate)


class Guest:
    """A caller's connection with a request under way."""

    guest = True
    busy = 1

    def drain(self) -> None:
        """Be told."""

    def shut_late(self, _: float) -> None:
        """Be ended after a while."""


def asking(path: str, method: str = "GET") -> Request:
    return Request(method=method, path=path, query={}, headers={}, peer="127.0.0.1")


async def test_hook_before_the_apps_end_waits_for_the_callers_of_every_worker(
    two: tuple[dataplane.app.Sidecar, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request under way in another worker would be cut by the app's end as one of the first's."""
    first, worker = two
    guest = Guest()
    worker._engine.runtime.downstreams.add(guest)
    asked, ask = asyncio.Semaphore(0), first.workers.ask

    async def asks(what: str) -> list[Any]:
        answers = await ask(what)
        asked.release()
        return answers

    monkeypatch.setattr(Workers, "ask", lambda _, what: asks(what))
    hook = asyncio.ensure_future(first._prestop(asking("/app-lifecycle/prestop")))
    for _ in range(3):
        await asyncio.wait_for(asked.acquire(), 10)
    assert not hook.done()
    guest.busy = 0

    assert (await asyncio.wait_for(hook, 10)).status == 200
    worker._engine.runtime.downstreams.discard(guest)


@pytest.mark.parametrize("goes", [True, False])
async def test_end_of_the_pod_is_not_forgotten_and_a_restart_of_its_app_is(
    two: tuple[dataplane.app.Sidecar, Worker], *, goes: bool
) -> None:
    """The sidecar's own hook is called for the pod alone; its app may take any time to end after that."""
    first, worker = two
    if goes:
        first._drain(asking("/drain", "POST"))
    await first._prestop(asking("/app-lifecycle/prestop"))
    forgotten = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, forgotten.set)
    await forgotten.wait()
    await first.workers.ask("wanted")

    assert (first.engine.runtime.draining, worker._engine.runtime.draining) == (goes, goes)


@pytest.fixture
def pair(tmp_path: Path, app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:  # noqa: F811
    monkeypatch.setenv("TULLE_CONCURRENCY", "2")
    made = Sidecar(tmp_path, app.server_address[1])
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connect_until_both_serve(sidecar: Sidecar, worker: int) -> int:
    """Ask on fresh connections until the kernel gave the other worker one; returns how often it was asked."""
    for asked in range(1, 201):
        with urllib.request.urlopen(f"http://127.0.0.1:{sidecar.port}/", timeout=10) as answer:
            assert answer.status == 200
        if served(worker):
            return asked
    raise AssertionError("the other worker was given no connection in 200")


def served(worker: int) -> bool:
    """Whether a worker has a connection to the app: it served somebody."""
    for link in Path(f"/proc/{worker}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:") and target[8:-1] in established(worker):
            return True
    return False


def established(worker: int) -> set[str]:
    """Inodes of a process's network namespace's established connections."""
    rows = Path(f"/proc/{worker}/net/tcp").read_text().splitlines()[1:]
    return {row.split()[9] for row in rows if row.split()[3] == "01"}


def test_workers_share_the_port_and_their_counts_are_summed(pair: Sidecar) -> None:
    """Both are given connections, and a scrape tells of all requests."""
    (worker,) = children(pair.process.pid)
    asked = connect_until_both_serve(pair, worker)
    counts = [value for _, value in samples(pair.ask("/metrics", admin=True), "tulle_requests_total")]

    assert sum(counts) == asked
    assert json.loads(pair.ask("/config", admin=True))["listeners"]["in"]
    words = pair.end()
    assert "Traceback" not in words
    assert not Path(f"/proc/{worker}").exists()


def test_worker_that_dies_takes_the_sidecar_with_it(pair: Sidecar) -> None:
    """Half a sidecar is worse than one that is started anew."""
    (worker,) = children(pair.process.pid)
    os.kill(worker, 9)

    words = pair.process.communicate(timeout=10)[1]

    assert pair.process.returncode == 1
    assert "a worker ended" in words
    assert "Traceback" not in words
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", pair.port), 2)


async def test_push_that_changes_one_noun_renews_no_other_in_a_further_worker(
    two: tuple[dataplane.app.Sidecar, Worker],
) -> None:
    """What comes over the line is a copy of everything; open connections and pools hear of what differs alone."""
    first, worker = two
    unbound = {name: replace(one, bind=False) for name, one in config().listeners.items()}
    before = replace(config(), listeners=unbound)
    pushed = replace(before, endpoints={"another": Endpoints(name="another", endpoints=())})
    first.workers.install(before)
    await first.workers.ask("wanted")
    tables = worker._engine.runtime.tables
    first.workers.install(pushed)
    await first.workers.ask("wanted")
    now = worker._engine.runtime.tables

    assert now.config == pushed
    assert now.listeners == tables.listeners
    assert not now.renewed
    assert {*map(id, now.config.listeners.values())} == {*map(id, tables.config.listeners.values())}
    copy = pickle.loads(pickle.dumps(pushed))
    assert {*map(id, copy.listeners.values())}.isdisjoint(
        map(id, pushed.listeners.values())
    )  # else it would show nothing
    assert not compile_tables(copy, tables).renewed  # a file that is read again is another copy


async def test_pair_expires_in_every_worker_or_in_none(two: tuple[dataplane.app.Sidecar, Worker]) -> None:
    """One that is idle in the first and busy in another stays whole, or the sum of both would go back."""
    first, worker = two
    both = [first.engine.runtime.metrics, worker._engine.runtime.metrics]
    busy, idle = Peers(reporter="source", service="busy"), Peers(reporter="source", service="idle")
    for metrics in both:
        for peers in (busy, idle):
            metrics.requests(peers).of(200, -1, False, 0).note(1.0, 0, 0)
            metrics.tcp(peers)
    await first.workers.expire(both[0])
    both[1].requests(busy).of(200, -1, False, 0).note(1.0, 0, 0)
    await first.workers.expire(both[0])
    await first.workers.count()

    (mirror,) = first.workers.mirrors
    assert [list(metrics.groups) for metrics in both] == [[busy], [busy]]
    assert [list(metrics.tcps) for metrics in both] == [[], []]
    shown = told.together(both[0], [], [mirror])
    assert [sum(one.count for one in group.series.values()) for group in shown.groups] == [1]
    assert [sum(one.count for one in group.series.values()) for group in shown.besides[0].values()] == [2]


async def test_nothing_expires_while_a_worker_does_not_say_what_it_counted(
    two: tuple[dataplane.app.Sidecar, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what is busy."""
    first, _ = two
    monkeypatch.setattr("dataplane.workers.ANSWER_SECONDS", 0.0)
    metrics = first.engine.runtime.metrics
    metrics.requests(Peers(reporter="source")).of(200, -1, False, 0).note(1.0, 0, 0)
    for _ in range(3):
        await first.workers.expire(metrics)

    assert len(metrics.groups) == 1


def note(metrics: Metrics, code: int = 200) -> None:
    metrics.requests(Peers(reporter="source")).of(code, -1, False, 0).note(1.0, 0, 0)


def shown(first: dataplane.app.Sidecar) -> int:
    """The sum of all requests a scrape tells."""
    written = Scrape(told.together(first.engine.runtime.metrics, [], first.workers.mirrors), lambda: 0.0)
    return int(sum(value for _, value in samples(b"".join(written).decode(), "tulle_requests_total")))


@pytest.mark.parametrize("which", [0, 1])
async def test_sum_begins_anew_as_a_whole_where_a_pair_is_counted_in_while_it_expires(
    two: tuple[dataplane.app.Sidecar, Worker], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Between what a worker said and its drop: one worker's numbers gone and the other's still there would be a sum that went back."""
    first, worker = two
    both = [first.engine.runtime.metrics, worker._engine.runtime.metrics]
    for metrics in both:
        for _ in range(50):
            note(metrics)
    await first.workers.expire(both[0])
    await first.workers.count()
    assert shown(first) == 100
    ask = first.workers.ask

    async def asks(what: str, *args: float) -> list[Any]:
        answers = await ask(what, *args)
        if what == "touched" and which:
            note(both[1])
        return answers

    monkeypatch.setattr(Workers, "ask", lambda _, *args: asks(*args))
    tell = first.workers._tell

    def tells(*message: Any) -> None:
        if not which:
            note(both[0])
        tell(*message)

    monkeypatch.setattr(Workers, "_tell", lambda _, *message: tells(*message))
    await first.workers.expire(both[0])
    assert shown(first) <= 1, "before the other has said so, too"
    await first.workers.count()
    assert shown(first) <= 1


async def test_outcomes_of_a_pair_that_stays_expire(two: tuple[dataplane.app.Sidecar, Worker]) -> None:
    """Else forty of them that were seen once would have later ones counted together for good. A class is shared by outcomes of both workers."""
    first, worker = two
    both = [first.engine.runtime.metrics, worker._engine.runtime.metrics]
    for code in range(200, 200 + OUTCOME_LIMIT):
        note(both[0], code)
    note(both[1], 404)
    note(both[1], 200)
    await first.workers.expire(both[0])
    note(both[0], 203)
    note(both[1], 203)
    await first.workers.expire(both[0])
    await first.workers.count()
    (group,), (other,) = (list(metrics.groups.values()) for metrics in both)
    note(both[0], 418)

    assert [one.labels.split(b",")[2] for one in group.series.values()] == [
        b'response_code="203"',
        b'response_code="418"',
    ]
    assert [one.count for one in other.series.values()] == [1]
    assert sorted(other.timings) == sorted(one.timing.outcome for one in other.series.values())
    assert sum(other.timings[group.series[next(iter(group.series))].timing.outcome].buckets) == 2, "of 200 and 203"


async def test_gone_worker_is_asked_nothing(
    two: tuple[dataplane.app.Sidecar, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor waited for: a scrape while others end takes no longer than one before."""
    first, worker = two
    first.workers._stopping = True
    monkeypatch.setattr(worker._link, "_take", lambda _: None)  # it hears nothing any more
    asked = asyncio.ensure_future(first.workers.ask("wanted"))
    await asyncio.sleep(0)
    assert worker._link._writer is not None
    worker._link._writer.close()

    assert await asyncio.wait_for(asked, 2.0) == []
    begun = time.monotonic()
    assert await first.workers.ask("wanted") == []
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("told_before", [True, False])
async def test_scrape_waits_longer_for_a_worker_that_has_said_nothing_yet(
    two: tuple[dataplane.app.Sidecar, Worker], monkeypatch: pytest.MonkeyPatch, told_before: bool
) -> None:
    """There is nothing to go by in its place; for others it goes by what they said before."""
    first, worker = two
    monkeypatch.setattr("dataplane.workers.COUNT_SECONDS", 0.01)
    note(worker._engine.runtime.metrics)
    if told_before:
        await first.workers.count()
        assert shown(first) == 1
        monkeypatch.setattr(worker._link, "_take", lambda _: None)
        await asyncio.wait_for(first.workers.count(), 2.0)
    else:
        take = worker._link._take
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(worker._link, "_take", lambda message: loop.call_later(0.1, take, message))
        await first.workers.count()

    assert shown(first) == 1


def test_telling_that_was_cut_is_none_of_the_next() -> None:
    """What had been said of it is forgotten with the beginning of another."""
    metrics, mirror = Metrics(), told.Mirror()
    note(metrics)
    cut = told.parts(metrics, [])
    while (part := next(cut))[0] != "groups":
        mirror.take(part)
    mirror.take(part)
    for part in told.parts(Metrics(), []):
        mirror.take(part)

    assert not mirror.groups
