"""One replica leads: whatever the network does, and whoever ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.kube.client import ApiError, Cluster
from controlplane.write.leader import Elector
from tests.support.kubeserver import kube_server
from tests.support.parts import running
from tests.support.virtual import VirtualLoop, virtual_time
from tests.support.waiting import until


class SlowApi:
    """An API server in memory that a client may have trouble to reach."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None

    def seen_by(
        self,
        loop: VirtualLoop,
        trouble: Callable[[float], float | None],
        late: Callable[[float], float] = lambda _: 0.0,
    ) -> Any:
        """Give a client; `trouble` says at a time how long a request takes, or None for a refused connection; `late` how long the answer of a write that was done."""

        async def pass_through() -> None:
            wait = trouble(loop.time() - 1000)
            if wait is None:
                raise OSError("refused")
            await asyncio.sleep(wait)

        async def get(_: str) -> Any:
            if self.lease is None:
                await pass_through()
                raise ApiError(404, "NotFound", "")
            found = dict(self.lease)
            await pass_through()
            return found

        async def write(_: str, body: dict[str, Any]) -> Any:
            await pass_through()
            held, given = self.lease or {}, body.get("metadata", {}).get("resourceVersion")
            if given != held.get("metadata", {}).get("resourceVersion"):
                raise ApiError(409, "Conflict", "modified")
            done = self.lease = body | {"metadata": {"resourceVersion": str(int(given or 0) + 1)}}
            await asyncio.sleep(late(loop.time() - 1000))
            return done

        return SimpleNamespace(get=get, create=write, update=write)


def contend(loop: VirtualLoop, one: Elector, two: Elector, seconds: float) -> None:
    """Have the second come five seconds after the first and both want to lead for so long; asserts that each did, and never at a time."""
    both, led = [], set()
    for elector in (one, two):
        elector.listen(lambda _: both.append(loop.time()) if one.leading and two.leading else None)
        elector.listen(lambda leading, name=elector: led.add(name) if leading else None)  # type: ignore[misc]

    async def scenario() -> None:
        async with running(one):
            await asyncio.sleep(5)
            async with running(two):
                await asyncio.sleep(seconds)

    loop.run_until_complete(scenario())

    assert both == []
    assert led == {one, two}


@pytest.mark.parametrize("seed", range(60))
def test_two_never_lead_whatever_the_network_does(seed: int) -> None:
    """A term counts from before its renewal was sent, and a renewal that hangs does not prolong it."""
    dice = random.Random(seed)
    refuse, hang, back = 20.0, 26 + dice.random() * 4, 60 + dice.random() * 20

    def trouble(now: float) -> float | None:
        if now < refuse or now > back:
            return dice.choice([0.0, 0.1, 1.0])
        return None if now < hang else 1000.0

    with virtual_time() as loop:
        api = SlowApi()
        one = Elector(api.seen_by(loop, trouble), "ns", "l", "one")
        two = Elector(api.seen_by(loop, lambda _: dice.choice([0.0, 0.5, 3.0])), "ns", "l", "two")
        contend(loop, one, two, 120)


@pytest.mark.parametrize("seed", range(30))
def test_term_of_a_renewal_that_is_answered_late_counts_from_before_it_was_sent(seed: int) -> None:
    """The others saw it when it was done, and count from then; the last answer comes seven seconds after that."""
    dice = random.Random(seed)
    last = 20.0 + dice.random()
    with virtual_time() as loop:
        api = SlowApi()
        one = Elector(
            api.seen_by(loop, lambda now: 0.0 if now < last + 2 else None, lambda now: 7.4 if now > last else 0.0),
            *("ns", "l", "one"),
        )
        two = Elector(api.seen_by(loop, lambda _: dice.random() / 10), "ns", "l", "two")
        contend(loop, one, two, 60)


async def test_one_replica_leads_and_the_next_takes_over_when_it_ends() -> None:
    """The Lease is given back on the way out, so nobody waits for it to run out."""
    async with kube_server() as kube:
        cluster = Cluster(kube.connection)
        one, two = (Elector(cluster, "tulle-system", "tulle", name) for name in ("one", "two"))
        async with running(one) as first:
            await until(lambda: one.leading)
            async with running(two):
                await until(lambda: two.holder == "one")
                assert not two.leading
                first.cancel()
                await until(lambda: two.leading, 8)
        await cluster.close()

    assert not one.leading


async def test_leader_that_cannot_renew_steps_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not write when another may hold the Lease already."""
    monkeypatch.setattr("controlplane.write.leader.RENEW_WITHIN", 0.2)
    monkeypatch.setattr("controlplane.write.leader.RETRY_SECONDS", 0.02)
    async with kube_server() as kube:
        cluster = Cluster(kube.connection)
        elector = Elector(cluster, "tulle-system", "tulle", "one")
        seen: list[bool] = []
        elector.listen(seen.append)
        async with running(elector):
            await until(lambda: elector.leading)
            kube.failing["GET", "/apis/coordination.k8s.io/v1/namespaces/tulle-system/leases/tulle"] = 500
            await until(lambda: not elector.leading)
        await cluster.close()

    assert seen == [True, False]
