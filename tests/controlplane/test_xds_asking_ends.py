"""Questions to sidecars that do not go well: clients that do not read, streams that end, and what is held meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.xds import asking
from controlplane.xds.asking import Asking, NotAnsweredError
from meshapi.xds import Type
from tests.controlplane.test_xds_asking import HEAD, answered, ask, asked_for, mute
from tests.support.adsserver import DeltaClient, served

STILL = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
"""A client that takes little it does not read."""


async def test_question_that_waits_for_a_client_does_not_cost_it_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is late; what comes after it is not lost, and no second is put behind it."""
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    async with served() as held, grpc.aio.insecure_channel(f"127.0.0.1:{held.port}", options=STILL) as channel:
        client = DeltaClient(channel, answers="true")
        await client.ask(Type.LISTENER, "inbound/shop/web-1")
        for status in (504, 503):
            with pytest.raises(NotAnsweredError) as told:
                await ask(held, "shop", "web-1", "/config?" + "x" * 8000)
            assert told.value.status == status
        await client.send(Type.LISTENER, resource_names_subscribe=["nothing.shop"])
        await asked_for(client)
        assert "nothing.shop" in (await client.receive()).removed_resources
        (stream,) = held.hub.streams
        assert stream.saying is not None
        assert stream.saying.done()


async def test_client_is_told_that_its_stream_broke() -> None:
    """An operation that gRPC refuses ends the stream for the client too, not here alone."""
    async with served() as held, mute(held) as (_, client):
        (stream,) = held.hub.streams

        monkey = stream.conversation
        stream.conversation = SimpleNamespace(  # type: ignore[assignment]
            received=lambda _: _raise(), subscriptions=monkey.subscriptions, close=monkey.close
        )
        await client.send(Type.LISTENER, resource_names_subscribe=["nothing.shop"])
        async with asyncio.timeout(5.0):
            code, words = await client.ended()
    assert (code, "open another" in words) == (grpc.StatusCode.UNAVAILABLE, True)


def _raise() -> None:
    raise grpc._cython.cygrpc.ExecuteBatchError("too many operations")  # type: ignore[attr-defined]


async def test_stream_that_ends_ends_its_question() -> None:
    """At once: nobody is left to answer."""
    async with served() as held, mute(held) as (_, client):
        question = asyncio.ensure_future(ask(held, "shop", "web-1", "/config"))
        await asked_for(client)
        await client.cancel()
        with pytest.raises(NotAnsweredError, match="ended") as told:
            await question
    assert told.value.status == 502


async def test_stream_that_ends_as_it_is_asked_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever comes first."""
    monkeypatch.setattr(asking, "SECONDS", 5.0)
    found: Counter[int] = Counter()
    async with served() as held:
        for _ in range(20):
            async with mute(held) as (_, client):
                cancelled = asyncio.ensure_future(client.cancel())
                with pytest.raises(NotAnsweredError) as told:
                    await ask(held, "shop", "web-1", "/config")
                found[told.value.status] += 1
                await cancelled
    assert set(found) <= {502, 421}


async def test_answers_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody still reads counts as well; afterwards there is room again."""
    monkeypatch.setattr(asking, "HELD", 1500)
    async with served() as held, mute(held) as (channel, client):
        held.asking._questions["another"] = asking._Question(stream=SimpleNamespace(), body=bytearray(1000))  # type: ignore[arg-type]
        question = asyncio.ensure_future(ask(held, "shop", "web-1", "/config"))
        await answered(channel, await asked_for(client), HEAD, b"x" * 1000)
        with pytest.raises(NotAnsweredError, match="at once") as told:
            await question
        del held.asking._questions["another"]
        question = asyncio.ensure_future(ask(held, "shop", "web-1", "/config"))
        await answered(channel, await asked_for(client), HEAD, b"x" * 1000)
        assert (told.value.status, len((await question).body)) == (503, 1000)


async def test_younger_stream_of_the_app_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that speaks xDS itself has a stream beside its sidecar's."""
    monkeypatch.setattr(asking, "SECONDS", 0.05)
    said = []

    def stream(since: float, *, answers: bool) -> Any:
        def say(message: bytes) -> asyncio.Future[None]:
            said.append(since)
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done

        peer = SimpleNamespace(namespace="shop", pod="web-1", answers=answers, version="1")
        return SimpleNamespace(peer=peer, since=since, delta=answers, say=say, saying=None, over=None)

    both = Asking(lambda: [stream(1.0, answers=True), stream(2.0, answers=False)], None)  # type: ignore[arg-type]
    with pytest.raises(NotAnsweredError) as told:
        async with both.ask("shop", "web-1", "/config"):
            pass
    assert (told.value.status, said) == (504, [1.0])
