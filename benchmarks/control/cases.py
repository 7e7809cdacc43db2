"""What is measured at one size of a cluster, figure by figure.

In: a `Size` and how long to measure. Out: figures by the names of `FIGURES`. CPU is that of the control plane's whole process, kopf's thread and gRPC's included, less what it uses
when nothing happens; time is from the moment a change is handed to the watches.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import aiohttp

from benchmarks.control import synthetic
from benchmarks.control.api import serving
from benchmarks.control.fleet import SHARERS, Fleet, cluster_of, fleet, places, shared_services
from benchmarks.control.plane import Plane, plane
from benchmarks.control.synthetic import Size
from benchmarks.control.world import World
from benchmarks.measure import percentile

LARGE = 1_000
"""Endpoints of the large Service; it is the last one."""
PACE = 0.05
"""Seconds between changes: each is a pass of its own."""
STORM_PACE = 1 / 60
TOLD_SECONDS = 30.0
BURST = 200
"""Changes that come at once: of the hour, and where they are taken in as fast as they can be."""
HOT = 20
"""So many times more changes are made at once than one by one."""
HURRIED_SECONDS = 240.0
"""What an hour is to the collector then; about as long as its changes take."""
AT_REST = 0.02
"""Share of a core below which nothing happens any more; a start with 10,000 mesh pods takes a while."""
MOST_WINDOWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything."""

    changes: int = 150
    streams: int = 2_000
    concerned: int = 1_000
    """Streams of the measure of latency."""
    rest_seconds: float = 6.0
    storm_seconds: float = 20.0
    hour_changes: int = 216_000
    """Changes of the hour: sixty a second."""


QUICK = Plan(changes=60, streams=400, concerned=400, rest_seconds=3.0, storm_seconds=6.0, hour_changes=20_000)


class Bench:
    """One control plane over one world, and its figures."""

    def __init__(self, world: World, plane: Plane, fleet: Fleet, plan: Plan) -> None:
        self._world = world
        self._plane = plane
        self._fleet = fleet
        self._plan = plan
        self._rest = 0.0
        """CPU seconds a second when nothing happens."""
        self._rest_wakes = 0.0
        """Wake-ups a second then."""
        self.figures: dict[str, float] = {}

    async def run(self) -> dict[str, float]:
        """Measure everything."""
        await self._start()
        await self._changes()
        await self._streams()
        await self._latency()
        await self._storm()
        await self._back()
        await self._follower()
        return self.figures

    async def hour(self) -> dict[str, float]:
        """Measure an hour's changes alone, as fast as they are taken in, by a control plane whose collector takes the time for an hour; and every stream is renewed in it."""
        await self._plane.start(hour=HURRIED_SECONDS)
        await self._connect()
        changes, streams = self._plan.hour_changes, int(self.figures["streams"])
        due, made, renewed = time.monotonic() + HURRIED_SECONDS, 0, 0
        while made < changes or time.monotonic() < due:
            for n in range(made, made + BURST):
                self._happens(n)
            made += BURST
            await self._taken_in()
            last = min(streams, streams * made // changes)
            await self._fleet.renew(renewed, last)
            renewed = last
        await self._fleet.settled()
        self.figures["hour_changes"] = made
        self.figures["hour_gc_longest_ms"] = 1000 * await self._plane.metric("tulle_gc_pause_longest_seconds")
        self.figures["hour_rss_mb"] = self._plane.megabytes()
        return self.figures

    async def _start(self) -> None:
        figures = self.figures
        figures["start_to_ready_s"] = await self._plane.start()
        figures["first_snapshot_s"] = await self._plane.metric("tulle_snapshot_seconds_total")
        self._rest = figures["rest_share"] = await self._quiet(self._plane)
        self._rest_wakes = figures["rest_wakes_s"] = await self._wakes()
        figures["rss_first_mb"] = self._plane.megabytes()

    async def _quiet(self, replica: Plane) -> float:
        """Let it come to rest, and see what share of a core that costs: the least of some windows, for what the start left to do is no rest."""
        shares: list[float] = []
        while len(shares) < 4 or (len(shares) < MOST_WINDOWS and shares[-1] > AT_REST):
            await asyncio.sleep(1)
            before, began = replica.cpu(), time.monotonic()
            await asyncio.sleep(self._plan.rest_seconds / 3)
            shares.append((replica.cpu() - before) / (time.monotonic() - began))
        return min(shares)

    async def _wakes(self) -> float:
        """How often any of its threads is woken in a second, when nothing happens."""
        before, began = self._plane.wakes(), time.monotonic()
        await asyncio.sleep(self._plan.rest_seconds)
        return (self._plane.wakes() - before) / (time.monotonic() - began)

    async def _cost(self, acts: Iterable[Callable[[], float]], pace: float = PACE) -> float:
        """CPU milliseconds a change, without what rest costs.

        Without a pace many come at once: what the work takes when nothing has to be woken, or to come back into the processor's caches, for each of them.
        """
        await asyncio.sleep(0.5)
        before, began = self._plane.cpu(), time.monotonic()
        count = await self._made(acts, pace)
        await asyncio.sleep(0.7)
        return 1000 * (self._plane.cpu() - before - self._rest * (time.monotonic() - began)) / count

    async def _woken(self, acts: Iterable[Callable[[], float]]) -> float:
        """Wake-ups of all its threads a change, without those at rest."""
        await asyncio.sleep(0.5)
        before, began = self._plane.wakes(), time.monotonic()
        count = await self._made(acts, PACE)
        return (self._plane.wakes() - before - self._rest_wakes * (time.monotonic() - began)) / count

    async def _made(self, acts: Iterable[Callable[[], float]], pace: float) -> int:
        """Have changes happen so many seconds apart, or without a pace as fast as they are taken in; gives how many there were."""
        count = 0
        for count, act in enumerate(acts, 1):  # noqa: B007 - counted
            act()
            await (asyncio.sleep(pace) if pace else self._taken_in())
        return count

    async def _taken_in(self) -> None:
        """Wait until no more changes are on their way than a burst."""
        while self._world.waiting > BURST:  # noqa: ASYNC110 - what is waited for is read elsewhere
            await asyncio.sleep(0.01)

    async def _changes(self) -> None:
        world, figures, count = self._world, self.figures, self._plan.changes
        most = world.size.services
        few = max(count // 3, 10)
        figures["flip_ms"] = await self._cost(lambda n=n: world.flip(n % (most // 2)) for n in range(count))
        many = HOT * count
        figures["flip_hot_ms"] = await self._cost((lambda n=n: world.flip(n % (most // 2)) for n in range(many)), 0.0)
        figures["flip_wakes"] = await self._woken(lambda n=n: world.flip(n % (most // 2)) for n in range(count))
        figures["flip_bare_ms"] = await self._cost(lambda n=n: world.flip(n % (most // 2), 1) for n in range(count))
        figures["flip_of_1000_ms"] = await self._cost(lambda n=n: world.flip(most - 1, n % 10) for n in range(few))
        figures["unread_ms"] = await self._cost(lambda n=n: world.unread(n % most, 1) for n in range(count))
        figures["unread_mesh_ms"] = await self._cost(lambda n=n: world.unread(n % most, 0) for n in range(count))
        figures["unread_hot_ms"] = await self._cost((lambda n=n: world.unread(n % most, 0) for n in range(many)), 0.0)
        figures["unrelated_ms"] = await self._cost(lambda n=n: world.beat(n % synthetic.NODES) for n in range(count))
        figures["new_pod_ms"] = await self._cost(lambda n=n: world.new_pod(n % (most // 2)) for n in range(few))
        figures["new_service_ms"] = await self._cost(lambda n=n: world.new_service(most + n) for n in range(few))
        figures["route_edit_ms"] = await self._cost(
            lambda n=n: world.edit_route(n % world.size.routes) for n in range(few)
        )

    def _roots(self) -> str:
        ((_, name),) = [key for key in self._world.keys("configmaps") if "trust" in key[1]]
        found = self._world.get("configmaps", "tulle-system", name)
        assert found is not None
        return next(iter(found["data"].values()))  # type: ignore[no-any-return]

    async def _connect(self) -> None:
        """Open the streams."""
        figures, count = self.figures, min(self._plan.streams, self._world.size.pods // synthetic.MESH_EVERY)
        wanted = list(places(self._world.size, count))
        began = time.monotonic()
        await self._fleet.connect(self._plane.xds, self._roots(), wanted)
        figures["streams"] = count
        figures["connect_s"] = time.monotonic() - began

    async def _streams(self) -> None:
        """Open the streams; then what a change costs for each sidecar told."""
        await self._connect()
        figures, shared = self.figures, shared_services(int(self.figures["streams"]))
        self._rest = figures["rest_share"] = await self._quiet(self._plane)
        figures["rss_streams_mb"] = self._plane.megabytes()
        few = max(self._plan.changes // 3, 10)
        told = await self._cost((lambda n=n: self._world.flip(shared[n % len(shared)]) for n in range(few)), 0.1)
        figures["flip_told_50_ms"] = told
        figures["told_each_ms"] = (told - figures["flip_ms"]) / SHARERS

    async def _latency(self) -> None:
        """From a change to the last sidecar told: twenty changes a second that each concern fifty, and one that concerns all."""
        world, shared = self._world, shared_services(int(self.figures["streams"]))
        await self._fleet.collect()
        sent: dict[str, list[float]] = {}
        for n in range(self._plan.changes):
            service = shared[n % len(shared)]
            sent.setdefault(cluster_of(service), []).append(world.flip(service))
            await asyncio.sleep(0.05)
        last = await self._last_told(sent, SHARERS)
        self.figures["latency_50_p50_ms"] = percentile(last, 0.5)
        self.figures["latency_50_p99_ms"] = percentile(last, 0.99)
        all_ = []
        for _ in range(5):
            began = world.flip(0)
            await asyncio.sleep(2)
            all_ += await self._last_told({cluster_of(0): [began]}, int(self.figures["streams"]))
        self.figures["latency_all_ms"] = percentile(all_, 0.5)

    async def _last_told(self, sent: dict[str, list[float]], sharers: int) -> list[float]:
        """Milliseconds from each change until the last of its subscribers had it; raises AssertionError when one was not told within `TOLD_SECONDS`."""
        came: dict[str, list[float]] = {}
        due = time.monotonic() + TOLD_SECONDS
        while time.monotonic() < due and any(len(came.get(name, ())) < sharers * len(of) for name, of in sent.items()):
            await asyncio.sleep(0.5)
            for name, times in (await self._fleet.collect()).items():
                came.setdefault(name, []).extend(times)
        found = []
        for name, changes in sent.items():
            for at, until in zip(changes, [*changes[1:], float("inf")], strict=True):
                times = [one for one in came.get(name, ()) if at <= one < until]
                if len(times) != sharers:
                    raise AssertionError(f"a change of {name} was told {len(times)} times and not {sharers}")
                found.append(1000 * (max(times) - at))
        return found

    async def _storm(self) -> None:
        """Sixty changes a second, and admission meanwhile."""
        stop = asyncio.Event()
        asking = asyncio.ensure_future(self._admission(stop))
        before = self._plane.cpu()
        changes, seconds = await self._blow()
        self.figures["storm_changes_s"] = changes / seconds
        self.figures["storm_share"] = (self._plane.cpu() - before) / seconds
        stop.set()
        answered = await asking
        self.figures["storm_admission_p99_ms"] = percentile(answered, 0.99)
        self.figures["storm_admissions_s"] = len(answered) / seconds
        self.figures["loop_lag_longest_ms"] = 1000 * await self._plane.metric("tulle_loop_lag_longest_seconds")
        self.figures["gc_longest_ms"] = 1000 * await self._plane.metric("tulle_gc_pause_longest_seconds")

    async def _blow(self) -> tuple[int, float]:
        """Change endpoints for as long as a storm lasts; returns how many, and the seconds it took."""
        shared = shared_services(int(self.figures["streams"]))
        began, n = time.monotonic(), 0
        while (at := time.monotonic()) < began + self._plan.storm_seconds:
            # A third concerns Services that somebody uses, as in a mesh that talks to a third of its cluster.
            further = len(shared) + 1 + n % (self._world.size.services // 3)
            self._world.flip(shared[n % len(shared)] if n % 3 == 0 else further)
            n += 1
            await asyncio.sleep(max(0.0, began + n * STORM_PACE - at))
        return n, time.monotonic() - began

    async def _admission(self, stop: asyncio.Event) -> list[float]:
        """Ask the webhook ten times a second; milliseconds until each answer."""
        found = []
        connector = aiohttp.TCPConnector(ssl=_unchecked())
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://127.0.0.1:{self._plane.webhook}/inject"
            while not stop.is_set():
                began = time.monotonic()
                try:
                    async with session.post(url, data=synthetic.review(len(found)), headers=_JSON) as answer:
                        answer.raise_for_status()
                        await answer.read()
                    found.append(1000 * (time.monotonic() - began))
                except aiohttp.ClientConnectionError:
                    pass  # not serving yet, after a restart
                await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - began)))
        return found

    async def _back(self) -> None:
        """All sidecars back after the control plane was killed, and admission meanwhile."""
        await self._plane.kill()
        self.figures["restart_ready_s"] = await self._plane.start()
        stop = asyncio.Event()
        asking = asyncio.ensure_future(self._admission(stop))
        began = time.monotonic()
        await self._fleet.settled()
        self.figures["back_s"] = time.monotonic() - began
        stop.set()
        self.figures["back_admission_p99_ms"] = percentile(await asking, 0.99)
        await asyncio.sleep(3)
        self.figures["rss_back_mb"] = self._plane.megabytes()

    async def _follower(self) -> None:
        """What a further replica costs that has no sidecars and does not lead: it follows, and serves whoever may come."""
        figures = self.figures
        async with serving(self._world) as api, plane(api.url, "tulle-1") as replica:
            await replica.start()
            await self._quiet(replica)
            figures["follower_read_mb"] = api.sent / 1e6
            figures["follower_rss_mb"] = replica.megabytes()
            before, sent = replica.cpu(), api.sent
            changes, seconds = await self._blow()
            figures["follower_share"] = (replica.cpu() - before) / seconds
            figures["follower_change_kb"] = (api.sent - sent) / changes / 1e3
            if await replica.metric("tulle_controlplane_leader"):
                raise AssertionError("the second replica leads")

    def _happens(self, n: int) -> None:
        """One of many changes: mostly endpoints that flip, and of ten a pod that is replaced, of a hundred a route that is edited."""
        world, most = self._world, self._world.size.services - 1
        if not n % 100:
            world.edit_route(n // 100 % world.size.routes)
        elif not n % 10:
            world.replace(n // 10 % most, n % world.size.each)
        else:
            world.flip(n % most, n % world.size.each)


_JSON = {"content-type": "application/json"}


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


Measure = Callable[[Bench], Awaitable[dict[str, float]]]


async def measured(size: Size, plan: Plan, tell: Callable[[str], None], what: Measure = Bench.run) -> dict[str, float]:
    """Measure one size."""
    world = World(size)
    world.grow(size.services - 1, LARGE)
    async with serving(world) as api, plane(api.url) as process, fleet() as sidecars:
        bench = Bench(world, process, sidecars, plan)
        try:
            return await what(bench)
        finally:
            tell(" ".join(f"{name}={value:.3g}" for name, value in bench.figures.items()))
