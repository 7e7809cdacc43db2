"""A handshake asked for at the admin port: what it proves of two sidecars, and what it says when it fails."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataplane.admin import Request
from dataplane.reach import Reach
from tests.dataplane.proxy import pair as pairs
from tests.dataplane.proxy.pair import Pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One pair for all tests here."""
    with pairs.pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


def asked(pair: Pair, cluster: str, side: int = 0) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{pair.admins[side]}/reach?cluster={cluster}", timeout=9
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_two_sidecars_greet_each_other_and_no_app_notices(pair: Pair) -> None:
    """The certificate is taken, HTTP/2 is spoken back, and no request is counted anywhere."""
    before = [text.count("tulle_requests_total{") for text in pair.metrics()]
    status, said = asked(pair, "web")

    assert (status, json.loads(said)["failed"]) == (200, "")
    assert [text.count("tulle_requests_total{") for text in pair.metrics()] == before


def test_what_is_not_in_the_mesh_is_not_asked(pair: Pair) -> None:
    """A name nobody knows, and a cluster of the pod's own app."""
    assert asked(pair, "nobody")[0] == 404
    assert asked(pair, "web", side=1)[0] == 404


def test_peer_that_cannot_be_greeted_is_said_with_the_reason(tmp_path: Path) -> None:
    """A server that shows another identity than the one it must have."""
    with pairs.pair(tmp_path, expected="spiffe://t/ns/n/sa/other") as pair:
        failed = json.loads(asked(pair, "web")[1])["failed"]

    assert "certificate" in failed or "identity" in failed, failed


async def test_one_handshake_is_under_way_at_a_time() -> None:
    """Whoever reaches the port may ask: asking often makes no load. Afterwards the next one may."""
    dialled: list[Any] = []

    def dial(_address: str, _port: int, receiver: Any, **_: Any) -> Any:
        dialled.append(receiver)
        return SimpleNamespace(close=lambda: None)

    slot = SimpleNamespace(mesh=True, identity="spiffe://t/ns/n/sa/a", address="10.0.0.1", port=80)
    cluster = SimpleNamespace(mesh_tls=object(), pick=lambda _: slot)
    runtime = SimpleNamespace(
        tables=SimpleNamespace(clusters={"web": cluster}),
        tls=SimpleNamespace(client=lambda *_: None),
        dialer=SimpleNamespace(dial=dial),
    )
    reach = Reach(runtime)  # type: ignore[arg-type]
    question = Request(method="GET", path="/reach", query={"cluster": ["web"]}, headers={}, peer="10.0.0.9")
    first = asyncio.ensure_future(reach.answer(question))
    await asyncio.sleep(0)
    assert (await reach.answer(question)).status == 503
    dialled[0].received(b"x")
    assert json.loads((await first).body)["failed"] == ""
    third = asyncio.ensure_future(reach.answer(question))
    await asyncio.sleep(0)
    dialled[1].lost("gone")

    assert json.loads((await third).body)["failed"] == "gone"
    assert len(dialled) == 2
