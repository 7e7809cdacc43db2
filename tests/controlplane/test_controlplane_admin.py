"""The control plane's own port: whoever reaches it may ask, and nobody else waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from unittest import mock

import aiohttp
import pytest

from controlplane import admin
from controlplane.admin import ANSWERS, Report
from controlplane.xds.asking import NotAnsweredError, Told


@dataclass
class Asked:
    """A report that says how often it was made."""

    made: list[str] = field(default_factory=list)
    size: int = 10
    url: str = ""

    def report(self) -> Report:
        def snapshot() -> dict[str, object]:
            self.made.append("snapshot")
            return {"services": "x" * self.size}

        def proxies() -> list[dict[str, object]]:
            self.made.append("proxies")
            return [{"pod": len(self.made)}]

        @asynccontextmanager
        async def ask(namespace: str, pod: str, asked: str) -> AsyncIterator[Told]:
            self.made.append(f"{namespace}/{pod} {asked}")
            if pod == "gone":
                raise NotAnsweredError(421, "it is not here")
            yield Told(status=404, kind="text/plain", body=b"said" * self.size)

        return Report(missing=list, samples=lambda: (), proxies=proxies, snapshot=snapshot, ask=ask)


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    made = Asked()
    runner = await admin.serve(made.report(), host="127.0.0.1", port=0)
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_many_who_ask_at_once_are_told_what_was_made_once(asked: Asked) -> None:
    """A snapshot of ten thousand pods takes 20 ms and a megabyte; five hundred who ask would have ended the leader's term."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(path: str) -> int:
            async with session.get(asked.url + path) as answer:
                await answer.read()
                return answer.status

        statuses = await asyncio.gather(*(ask("/snapshot") for _ in range(ANSWERS)), ask("/proxies"))

    assert set(statuses) == {200}
    assert asked.made.count("snapshot") < ANSWERS / 4
    assert asked.made.count("proxies") == 1


@pytest.mark.parametrize("goes", [True, False])
async def test_those_who_do_not_read_their_answer_are_a_few_and_not_for_long(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, *, goes: bool
) -> None:
    """Each holds a copy. Health is told all the same; there is room again when they go, or when their time is over."""
    monkeypatch.setattr(admin, "READ_SECONDS", 100.0 if goes else 8.0)
    asked.size = 16 * 1024 * 1024
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), read_bufsize=1024) as session:
        held = [await session.get(asked.url + "/snapshot") for _ in range(ANSWERS)]
        async with session.get(asked.url + "/snapshot") as refused:
            words = await refused.text()
        async with session.get(asked.url + "/healthz") as healthy:
            assert healthy.status == 200
        for one in held if goes else ():
            one.close()
        while True:
            async with session.get(asked.url + "/proxies") as again:
                if again.status == 200:
                    break
        for one in held:
            one.close()

    assert (refused.status, "at once" in words) == (503, True)


async def test_sidecar_is_asked_and_what_it_says_is_passed_on(asked: Asked) -> None:
    """With its status; one that cannot be asked is told in a sentence."""
    async with aiohttp.ClientSession() as session:
        found = []
        for path in ("/sidecars/shop/web-1/route?host=a&header=x:%20y", "/sidecars/shop/gone/config"):
            async with session.get(asked.url + path) as answer:
                found.append((answer.status, await answer.text()))

    assert found == [(404, "said" * asked.size), (421, "it is not here\n")]
    assert asked.made == ["shop/web-1 /route?host=a&header=x:%20y", "shop/gone /config"]


async def test_sidecars_are_asked_from_this_pod_alone(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches the port is no reader of every sidecar; a port-forward ends on the loopback, and the API server says who may have one."""
    found = {}
    for address in ("10.0.0.7", "::ffff:10.0.0.7", "127.0.0.1", "::1", "::ffff:127.0.0.1"):
        transport = mock.Mock(get_extra_info=lambda name, at=address: (at, 4711) if name == "peername" else None)
        found[address] = admin._is_local(mock.Mock(transport=transport))
    assert list(found.values()) == [False, False, True, True, True]

    monkeypatch.setattr(admin, "_is_local", lambda _: False)
    async with aiohttp.ClientSession() as session, session.get(asked.url + "/sidecars/shop/web-1/config") as answer:
        assert (answer.status, "kubectl port-forward" in await answer.text()) == (403, True)
    assert not asked.made


async def test_what_a_sidecar_says_is_no_page(asked: Asked) -> None:
    """A browser takes it for what it is."""
    async with aiohttp.ClientSession() as session, session.get(asked.url + "/sidecars/shop/web-1/config") as answer:
        assert answer.headers["x-content-type-options"] == "nosniff"
